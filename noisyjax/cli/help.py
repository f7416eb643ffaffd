"""The output of --help: all commands, or one command with its flags."""

import shlex
import textwrap
from collections.abc import Sequence

from absl.flags import Flag

from noisyjax.cli.command import Command
from noisyjax.cli.parse import listed
from noisyjax.system.commands import program

WIDTH = 100  # characters


def text(arguments: Sequence[str], commands: Sequence[Command]) -> str:
  """Returns the help for a command line with --help: on the command that it names, or on several."""
  words = ' '.join(argument for argument in arguments if not argument.startswith('-'))
  asked = [command for command in commands if f'{words} '.startswith(f'{command.name} ')]
  if not asked:
    commands = [command for command in commands if words and command.name.startswith(f'{words} ')] or commands
    return f'{listed(commands)}\nFlags of a command: {shlex.join(program())} COMMAND --help'
  command = max(asked, key=lambda command: len(command.name))
  flags = command.flags()
  lines = [str(command), *(['Flags:'] if len(flags) else []), *(_flag(flags[n]) for n in flags)]
  return '\n'.join(lines)


def _flag(flag: Flag) -> str:
  """Returns the name, description and default of a flag."""
  name = f'--[no]{flag.name}' if flag.boolean else f'--{flag.name}'
  said = [flag.help]
  if flag.default not in (None, '', [], False):
    said.append(f'Default: {flag.default}.')
  return textwrap.fill(f'{name}: {" ".join(said)}', WIDTH, initial_indent='  ', subsequent_indent='      ')
