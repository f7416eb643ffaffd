"""`python -m noisyjax COMMAND --flags`: the entry point of the console script `noisyjax` and of launch.py, too."""

import os
import sys


def main() -> None:
  """Runs a command. Nothing is imported from the current folder, so that a jax.py among downloaded data is not run."""
  try:
    here = os.path.realpath('')  # os is loaded; pathlib might be found in the current folder
    sys.path[:] = [
      folder for folder in sys.path if os.path.realpath(folder) != here
    ]  # '' stands for the current folder
  except FileNotFoundError:  # the current folder was removed
    pass
  from noisyjax.system import huge_pages

  huge_pages.ask()
  from noisyjax.cli.main import run

  run()


if __name__ == '__main__':
  main()
