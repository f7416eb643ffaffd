"""Flags and helpers that the commands of label tables share."""

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags
from absl.flags import FlagValues

from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.tables import refs, store
from noisyjax.tables.decisions import check_author
from noisyjax.tables.versions import SHORT, Version


def define_table(values: FlagValues) -> None:
  flags.DEFINE_string('table', None, 'Folder of the label table; DIR@VERSION for one version.', flag_values=values)


def define_branch(values: FlagValues) -> None:
  flags.DEFINE_string('branch', refs.MAIN, 'Branch to work on.', flag_values=values)


def define_author(values: FlagValues) -> None:
  flags.DEFINE_string(
    'author', '', 'Author of the decisions: a name, or rule:NAME; default: the login name.', flag_values=values
  )


def define_message(values: FlagValues) -> None:
  flags.DEFINE_string('message', '', 'Reason for the change of the labels.', flag_values=values)


def define_images(values: FlagValues) -> None:
  text = 'Folder or zip file of the images; default: that of the source of the table.'
  flags.DEFINE_string('images', '', text, flag_values=values)


def author(values: FlagValues, tell: bool = True) -> str:
  """Returns the author of --author, such as "person:NAME"; the login name if it is empty.

  Args:
    values: parsed flags.
    tell: whether the log says so if it is the login name.

  Raises:
    UserError: --author is empty, and the system knows no name.
  """
  name = values['author'].value
  if not name:
    try:
      name = getpass.getuser()
    except (KeyError, OSError):  # of a container whose user has no entry
      raise UserError('--author: missing, and the system knows no login name; expected a name.') from None
    if tell:
      log.info('author: person:%s (the login name; --author=NAME sets another).', name)
  return check_author(name if ':' in name else f'person:{name}')


def place(values: FlagValues) -> tuple[Path, str]:
  """Returns the folder and the version of --table; '' = no version is given."""
  if not values['table'].value:
    raise UserError('--table: missing; expected the folder of a label table, such as tables/photos.')
  return refs.parsed(values['table'].value)


def folder(values: FlagValues) -> Path:
  """Returns the folder of --table for a command that works on a branch; a version is an error."""
  found, ref = place(values)
  if ref:
    raise UserError(f'--table: found {found}@{ref}; expected {found}, and --branch for another branch than main.')
  return found


def opened(values: FlagValues) -> store.Table:
  """Returns the label table of --table and --branch."""
  return store.Table(folder(values), values.branch)


def version(values: FlagValues) -> Version:
  """Returns the version of --table; by default, the newest one of the branch main."""
  found, ref = place(values)
  return refs.opened(f'{found}@{ref or refs.LATEST}')


def told(manifest: Mapping[str, Any]) -> str:
  """Returns a line about a version: its name, its message and its changes."""
  changes = ', '.join(f'{c["rows"]:,} {c["action"]} {c["from"]} > {c["to"]}' for c in manifest['changes'][:10])
  return f'{manifest["version"][:SHORT]}: {manifest["message"]}' + (f' ({changes})' if changes else '')
