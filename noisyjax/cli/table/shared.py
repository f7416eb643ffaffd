"""Flags that the commands of label tables share."""

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from noisyjax.system.errors import UserError
from noisyjax.tables import store
from noisyjax.tables.versions import SHORT, Version


def define_table(values: FlagValues) -> None:
  flags.DEFINE_string('table', None, 'Folder of the label table; DIR@VERSION for one version.', flag_values=values)


def define_branch(values: FlagValues) -> None:
  flags.DEFINE_string('branch', store.MAIN, 'Branch to work on.', flag_values=values)


def define_author(values: FlagValues) -> None:
  flags.DEFINE_string('author', '', 'Who decides: a name, or rule:NAME. The login name if empty.', flag_values=values)


def define_message(values: FlagValues) -> None:
  flags.DEFINE_string('message', '', 'Why the labels change, in words.', flag_values=values)


def define_images(values: FlagValues) -> None:
  text = 'Folder or zip of the images; the one that the table was made of if empty.'
  flags.DEFINE_string('images', '', text, flag_values=values)


def author(values: FlagValues) -> str:
  """Returns the author that --author names, "person:NAME"."""
  name = values['author'].value or getpass.getuser()
  return name if ':' in name else f'person:{name}'


def place(values: FlagValues) -> tuple[Path, str]:
  """Returns folder and version of --table."""
  if not values['table'].value:
    raise UserError('--table: missing; expected the folder of a label table, such as tables/photos.')
  return store.parsed(values['table'].value)


def folder(values: FlagValues) -> Path:
  """Returns the folder of --table, of a command that works on a branch."""
  found, ref = place(values)
  if ref:
    raise UserError(f'--table: found {found}@{ref}; expected {found}, and --branch for another branch than main.')
  return found


def opened(values: FlagValues) -> store.Table:
  return store.Table(folder(values), values.branch)


def version(values: FlagValues) -> Version:
  """Returns the version that --table names, the newest of main where it names none."""
  found, ref = place(values)
  return store.opened(f'{found}@{ref or store.LATEST}')


def told(manifest: Mapping[str, Any]) -> str:
  """Returns a version in a line, with what changed."""
  changes = ', '.join(f'{c["rows"]:,} {c["action"]} {c["from"]} > {c["to"]}' for c in manifest['changes'][:10])
  return f'{manifest["version"][:SHORT]}: {manifest["message"]}' + (f' ({changes})' if changes else '')
