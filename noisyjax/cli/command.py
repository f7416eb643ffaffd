"""The definition of a command: name, usage, flags and function; and flags that several commands share."""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from noisyjax.config import recipe_files
from noisyjax.system import reading
from noisyjax.system.errors import UserError


@dataclass(frozen=True)
class Command:
  """A command of the program.

  Attributes:
    name: one or more words, separated by spaces.
    usage: arguments after the name, as the help shows them.
    summary: what the command does, in one line.
    declare: function that defines the flags of the command in a `FlagValues`.
    run: function that runs the command, given the parsed flags and, if `word` is set, the word after the name.
    word: whether a word may follow the name.
    resumes: whether the same command continues its work after an interruption.
    compiles: whether it uses JAX, whose import takes a second.
    recipe: function that returns the recipe whose fields --config.field=value sets where there is no --config, given
      the parsed flags; None: --config is needed.
  """

  name: str
  usage: str
  summary: str
  declare: Callable[[FlagValues], None]
  run: Callable[..., None]
  word: bool = False
  resumes: bool = False
  compiles: bool = True
  recipe: Callable[[FlagValues], Any] | None = None

  def __str__(self) -> str:
    return f'{self.name} {self.usage}'.rstrip() + f': {self.summary}'

  def flags(self) -> FlagValues:
    """Returns the flags of this command, unparsed."""
    values = FlagValues()
    self.declare(values)
    return values


class Recipe(flags.ArgumentParser):
  """Parses the value of --config into a ConfigDict.

  Attributes:
    folder: folder of the recipe that was read last; None before the first.
  """

  folder: Path | None = None

  def parse(self, argument: Any) -> Any:
    from noisyjax.config import recipe

    if not isinstance(argument, str):
      return argument
    self.folder = recipe_files.located(argument.partition(':')[0], '--config').parent
    return recipe.load(argument)


def define_config(values: FlagValues) -> None:
  """Defines --config, the recipe of a command."""
  text = 'Recipe: a file, or a name such as digits; --config.field=value changes a field.'
  flags.DEFINE(Recipe(), 'config', None, text, flag_values=values)


def define_workdir(values: FlagValues, text: str) -> None:
  """Defines --workdir, the folder of a command, with its description."""
  flags.DEFINE_string('workdir', None, text, flag_values=values)


def define_rerun(values: FlagValues) -> None:
  """Defines --rerun, which replaces outdated results."""
  text = 'Replaces results of other data, another config or other code.'
  flags.DEFINE_bool('rerun', False, text, flag_values=values)


class _Timed(flags.BooleanParser):
  """Parses a boolean flag that also accepts the value "timed"."""

  syntactic_help = 'true, false or timed'

  def parse(self, argument: Any) -> Any:
    return argument if argument == 'timed' else super().parse(argument)


def define_dry_run(values: FlagValues) -> None:
  """Defines --dry_run, which is False, True or "timed"."""
  text = 'Prints the plan and writes nothing; =timed also runs a few steps to measure their time.'
  flags.DEFINE_bool('dry_run', False, text, flag_values=values)
  values['dry_run'].parser = _Timed()


def define_engine(values: FlagValues) -> None:
  """Defines --engine, where the runs of a command are executed."""
  text = 'Where runs are executed: a file, or a name such as processes:at_once=4; default: in this process.'
  flags.DEFINE_string('engine', '', text, flag_values=values)


def define_replicas(values: FlagValues) -> None:
  """Defines --replicas, how many runs train side by side."""
  text = (
    'Trains up to this many runs side by side in this process; on GPUs and TPUs in one program if shapes are equal.'
  )
  flags.DEFINE_integer('replicas', 1, text, lower_bound=1, flag_values=values)


def define_images(values: FlagValues, text: str = 'Folder or zip file of images.') -> None:
  """Defines the flags of a command that reads images."""
  flags.DEFINE_string('images', None, text, flag_values=values)
  flags.DEFINE_bool('skip_bad', False, 'Skips unreadable images.', flag_values=values)


def define_image_files(values: FlagValues, text: str = 'Folder or zip file of images.') -> None:
  """Defines the flags of a command that reads images and a label file."""
  define_images(values, text)
  flags.DEFINE_string('image_column', '', 'Column of the label file with the image names.', flag_values=values)
  flags.DEFINE_string('label_column', '', 'Column of the label file with the labels.', flag_values=values)


_FLAGS = {  # field of the data → the flag of a command that reads images, by which the user sets it
  'path': 'images',
  'labels': 'labels',
  'truth': 'truth',
  'skip_bad': 'skip_bad',
  'image_column': 'image_column',
  'label_column': 'label_column',
  'features': 'features',
}


def in_flags(text: str, values: FlagValues) -> str:
  """Returns a message in which the fields that the user set by other flags are called by these."""
  if 'images' not in values or not values['images'].value:
    return text
  fields = '|'.join(field for field, flag in _FLAGS.items() if flag in values)
  return re.sub(rf'(?:--config\.|\b)data\.({fields})\b', lambda found: f'--{_FLAGS[found[1]]}', text)


EXPECTED = {'config': 'a recipe such as configs/digits.py', 'images': 'a folder or zip of images'}


def needed(values: FlagValues, name: str) -> Any:
  """Returns the value of a required flag.

  Raises:
    UserError: the flag is missing or empty.
  """
  if not values[name].value:
    raise UserError(f'--{name}: missing; expected {EXPECTED.get(name, "a folder such as runs/digits")}.')
  return values[name].value


def folders(text: str) -> list[str]:
  """Splits a list of folders at commas, except at commas within the name of a folder such as "lr=0.1,seed=1"."""

  def exists(name: str) -> bool:
    with contextlib.suppress(UserError):  # several names together may be too long for a path
      return bool(reading.kind(name))
    return False

  out, parts = [], [part for part in text.split(',') if part]
  while parts:
    there = (n for n in range(len(parts), 0, -1) if exists(','.join(parts[:n])))  # tries the longest name first
    n = next(there, 1)
    out.append(','.join(parts[:n]))
    parts = parts[n:]
  return out
