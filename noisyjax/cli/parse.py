"""Parses a command line: the command, its flags, and the config with the fields that `--config.field=value` sets."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, needed
from noisyjax.config.fields import shown
from noisyjax.system import reading
from noisyjax.system.errors import UserError


class Call(NamedTuple):
  """A parsed command line.

  Attributes:
    command: the command.
    flags: parsed flags of the command and of absl.
    words: arguments after the name that are not flags.
  """

  command: Command
  flags: FlagValues
  words: list[str]


def parse(arguments: Sequence[str], commands: Sequence[Command]) -> Call:
  """Parses a command line.

  Args:
    arguments: arguments after the name of the program.
    commands: all commands.

  Returns:
    The parsed command line; the recipe of --config is loaded and its fields are set.

  Raises:
    UserError: a command, flag or field is unknown, or a value is invalid.
  """
  from noisyjax.config import recipe
  from noisyjax.config.override import override

  for argument in arguments:
    if any(c == '\0' or '\ud800' <= c <= '\udfff' for c in argument):
      raise UserError(f'{argument}: is not UTF-8 text; expected flags and paths in UTF-8.')
  command, rest = named([_home(argument) for argument in arguments], commands)
  own = command.flags()
  values = FlagValues()
  values.append_flag_values(flags.FLAGS)  # flags of absl, such as --verbosity
  values.append_flag_values(own)
  try:
    rest, fields = recipe.take_fields(values.read_flags_from_files(rest))
    if fields and 'config' not in own:
      raise UserError(_refusal(command, f'config.{next(iter(fields))}', own, next(iter(fields.values()))))
    words = values(['', *rest])[1:]
  except flags.UnrecognizedFlagError as error:
    raise UserError(_refusal(command, error.flagname, own)) from error
  except flags.IllegalFlagValueError as error:
    raise UserError(_illegal(str(error), values)) from error
  except (flags.Error, ValueError) as error:  # ValueError: a value after --noflag
    raise UserError(f'{error}'.strip().splitlines()[-1]) from error
  if len(words) > command.word:
    expected = 'one word and flags' if command.word else 'only flags, such as --workdir=W'
    raise UserError(f'{command.name}: found {words[-1]!r} beside the command; expected {expected}.')
  if fields:
    parser: Any = values['config'].parser  # a `Recipe`, which knows the folder of the file
    if values['config'].value is None and command.recipe is not None:
      values['config'].value = command.recipe(values)
    override(needed(values, 'config'), fields, '--config', beside=parser.folder)
  flags.FLAGS.mark_as_parsed()
  return Call(command, values, words)


def _home(argument: str) -> str:
  """Returns an argument with `~/` at the start of a path replaced, which the shell does only at the start of a word."""
  home = str(reading.path_of('~')) if '~/' in argument else ''
  return re.sub(r'(?<=[=,@:])~(?=/)', lambda _: home, argument)


def named(arguments: Sequence[str], commands: Sequence[Command]) -> tuple[Command, list[str]]:
  """Finds the command that a command line names, by its first words or, after flags, by the first matching words.

  Args:
    arguments: arguments after the name of the program.
    commands: all commands.

  Returns:
    The command with the longest matching name, and the arguments without that name.

  Raises:
    UserError: no command matches; the message names the most similar one.
  """
  known = {tuple(command.name.split()): command for command in commands}
  longest = max(map(len, known))
  places = range(len(arguments)) if arguments and arguments[0].startswith('-') else (0,)
  for start in places:
    for end in range(start + longest, start, -1):
      if command := known.get(tuple(arguments[start:end])):
        return command, [*arguments[:start], *arguments[end:]]
  words = [argument for argument in arguments if not argument.startswith('-')]
  of_several = words and any(len(name) > 1 and name[0] == words[0] for name in known)
  found = ' '.join(words[: longest if of_several else 1]) or 'nothing'
  raise UserError(f'command: found {found!r}.{_near(found, (c.name for c in commands))} {listed(commands)}')


def listed(commands: Iterable[Command]) -> str:
  """Returns the usage of each command."""
  return 'Commands:\n' + '\n'.join(f'  {command}' for command in commands)


def _near(word: str, known: Iterable[str], dashes: str = '') -> str:
  """Returns a question that suggests the most similar known word, or ''."""
  near = difflib.get_close_matches(word, list(known), n=1)
  return f' Did you mean {dashes}{near[0]}?' if near and dashes else f' Did you mean {near[0]!r}?' if near else ''


def _refusal(command: Command, flag: str, own: FlagValues, value: Any = '') -> str:
  """Returns the error message for a flag that the command does not have.

  Args:
    command: the command.
    flag: name of the flag.
    own: flags of the command.
    value: value of a field of the config, which the command may take under a flag that is a part of the field's name.
  """
  names = sorted(own)
  expected = f'its flags are {", ".join(f"--{name}" for name in names)}' if names else 'it takes no flag'
  data = ' Set its data with --config.data.path and --config.data.labels.' if flag in ('images', 'labels') else ''
  hint = data if 'config' in own else ''
  same = [name for name in names if name in flag.split('.')]
  near = f' Write --{same[0]}={value}.' if same else _near(flag, names, '--')
  return f'{command.name}: found --{flag}, which it does not take; {expected}.{near}{hint}'


def _illegal(text: str, values: FlagValues) -> str:
  """Returns the error message for an invalid value of a flag, from that of absl."""
  found = re.match(r'flag --(\w+)=(.*?): (.*)', text, re.DOTALL)
  if not found:
    return text
  flag = values[found[1]]
  switch = flag.parser.syntactic_help or 'true or false'
  expected = {'int': 'a whole number such as 5', 'float': 'a number such as 0.5', 'bool': switch}
  said = f'expected {expected[flag.flag_type()]}' if flag.flag_type() in expected else found[3]
  if flag.flag_type() == 'int' and re.fullmatch(r'[+-]?\d+', found[2]):  # out of its range
    said = f'expected {flag.parser.syntactic_help}'
  return f'--{found[1]}: found {shown(found[2])}, {said}.'
