"""What an engine of processes needs: a pool that executes command lines, some of them at once."""

import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from noisyjax.config import recipe_files


class Lost(Exception):
  """A command ended because its worker or machine was taken away, such as by preemption: no fault of the command."""


class Pool(Protocol):
  """Executes command lines.

  Attributes:
    width: number of commands that it executes at once.
  """

  width: int

  def open(self, folder: Path) -> None:
    """Gets ready to execute commands; `folder` is for files of the pool."""
    ...

  def submit(self, command: Sequence[str], log: Path) -> 'Future[int]':
    """Executes a command as soon as there is room.

    Args:
      command: the command line.
      log: file to which what it prints is appended.

    Returns:
      The exit code, negative for a signal. The future raises Lost if the worker was taken away.
    """
    ...

  def check(self) -> None:
    """Is called every second: raises UserError if no command can be executed any more."""
    ...

  def close(self) -> None:
    """Ends what is running by SIGTERM and waits for it."""
    ...

  def text(self, commands: Sequence[Sequence[str]]) -> str:
    """Returns what would be started, with the scripts of a scheduler."""
    ...


def program() -> list[str]:
  """Returns the words that start noisyjax in a new process: the checkout's launch.py, or the installed package."""
  checkout = recipe_files.root().parent / 'launch.py'
  return [sys.executable, str(checkout)] if checkout.exists() else [sys.executable, '-m', 'noisyjax']


def shell(command: Sequence[str], environment: dict[str, str]) -> str:
  """Returns a command line for a shell."""
  return ' '.join([*(f'{name}={shlex.quote(value)}' for name, value in environment.items()), shlex.join(command)])
