"""Commands in messages, spelled as the user started the program, so that they can be pasted into a shell."""

import shlex
import sys
from pathlib import Path


def program() -> list[str]:
  """Returns the words that the program was started with, such as python launch.py; noisyjax if Python imported it."""
  script, words = Path(sys.argv[0]), sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
  ours = script.name == 'launch.py' or script.parts[-2:] == ('noisyjax', '__main__.py')
  return words if ours and words + sys.argv[1:] == sys.orig_argv else ['noisyjax']


def command(name: str, *flags: str) -> str:
  """Returns a command of the program for a shell, such as `python launch.py table log --table=tables/pets`."""
  return shlex.join([*program(), *name.split(), *flags])
