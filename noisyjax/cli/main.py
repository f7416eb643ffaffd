"""The program: runs the command of the command line. The user's mistakes are one sentence on stderr and exit code 2."""

import os
import sys
import traceback
from types import TracebackType

from absl import app

from noisyjax.cli import (
  analyze,
  cancel,
  features,
  fields,
  find,
  help,
  inspect,
  kfold,
  loop,
  pack,
  predict,
  report,
  review,
  status,
  strategies,
  sweep,
  table,
  train,
  work,
)
from noisyjax.cli.command import in_flags
from noisyjax.cli.parse import Call, parse
from noisyjax.system import version
from noisyjax.system.errors import UserError, of_machine
from noisyjax.system.log import log, plain, say, show

_ONE_EACH = (
  train,
  kfold,
  sweep,
  loop,
  status,
  cancel,
  predict,
  find,
  analyze,
  features,
  pack,
  inspect,
  report,
  review,
  strategies,
  fields,
  work,
)
COMMANDS = (*(m.COMMAND for m in _ONE_EACH), *table.COMMANDS)
HELP = {'--help', '-help', '-h', '-?', '--helpshort', '--helpfull'}
VERSION = {'--version', '-version'}


def run() -> None:
  """Entry point of `noisyjax` and launch.py."""
  show()
  sys.excepthook = _show_defect
  try:
    app.run(guarded, flags_parser=_parse)
  except UserError as error:  # an invalid flag or config file
    _fail(error)
  except KeyboardInterrupt:
    sys.exit(128 + 2)


def _parse(argv: list[str]) -> Call:
  """Returns the parsed command line; --help and --version print their text and exit."""
  if HELP & set(argv):
    say(help.text(argv[1:], COMMANDS))
    sys.exit(0)
  if VERSION & set(argv):
    say(version.text())
    sys.exit(0)
  return parse(argv[1:], COMMANDS)


def start(call: Call) -> None:
  """Runs a command."""
  # A dry run compiles almost nothing and must not write files.
  if call.command.compiles and ('dry_run' not in call.flags or call.flags.dry_run is not True):
    from noisyjax.system import compile_cache

    compile_cache.enable()
  call.command.run(call.flags, *call.words)


def guarded(call: Call) -> None:
  """Runs a command. Errors of the user or the machine are printed as one sentence on stderr, followed by an exit."""
  from noisyjax.system.interrupt import Stopped

  name = call.command.name
  try:
    start(call)
    sys.stdout.flush()
  except UserError as error:
    _fail(UserError(in_flags(str(error), call.flags)))
  except Stopped as error:
    log.info('%s', error)
    sys.exit(128 + error.signal)
  except KeyboardInterrupt:
    kept = 'the same command continues from the last checkpoint.' if call.command.resumes else 'nothing was kept.'
    log.info('Interrupted; %s', kept)
    sys.exit(128 + 2)
  except BrokenPipeError:  # a program that reads the output, such as head or less, has ended
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except (OSError, MemoryError, RuntimeError) as error:
    what = of_machine(error)
    if what is None:
      raise
    if not isinstance(error, OSError):
      less = 'a smaller batch_size or data.size, or fewer images' if 'config' in call.flags else 'fewer images'
      what = UserError(f'{name}: {what} Expected {less}.')
    _fail(what)


def _show_defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
  """Prints a traceback without control characters: the message may hold any text, such as a plug-in's."""
  print(plain(''.join(traceback.format_exception(kind, error, trace))), end='', file=sys.stderr)


def _fail(error: UserError) -> None:
  """Prints an error and exits with code 2."""
  print(f'error: {plain(str(error))}', file=sys.stderr)
  sys.exit(2)
