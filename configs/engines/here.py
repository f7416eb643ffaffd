"""This process, one run after another: what every command does without --engine.

Runs that differ in traced numbers alone compile once.
"""

from noisyjax.runs.launch import Here


def get_engine():
  return Here()
