"""`python -m noisyjax COMMAND --flags`; also what the console script `noisyjax` and launch.py run."""

import os
import sys


def main() -> None:
  """Runs a command. Nothing is imported from the current folder: a jax.py among downloaded data must not run."""
  try:
    here = os.path.realpath('')  # only modules that are loaded already: pathlib might be a file of the current folder
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != here]  # '' is one
  except FileNotFoundError:  # it was removed
    pass
  from noisyjax.system import huge_pages

  huge_pages.ask()
  from noisyjax.cli.main import run

  run()


if __name__ == '__main__':
  main()
