"""References of the official loops, in PyTorch and float64: `test_trajectories` holds the engine against them.

Each class follows the code of one repository, named with its revision, files and lines, and is reimplemented. It has
what `trajectory.compare` calls: `epoch` before the steps of an epoch, and `step` for each of them.
"""
