"""Versions of a table on disk: `versions/NAME/` holds rows.parquet, edits.parquet and manifest.json.

Where images joined the table, added.parquet has their rows.

A version exists completely or not at all. It is named by the sha256 of its rows (`rows.NAMED`), its classes and its
parents. Time, author, message and the bytes of files are not part of the name: the same edits of the same version
give the same name.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError
from noisyjax.tables import edits as edits_, rows as rows_
from noisyjax.tables.edits import Edits
from noisyjax.tables.rows import Rows

FOLDER = 'versions'
SHORT = 12  # characters of a name in messages


class Version(NamedTuple):
  """One version of a label table.

  Attributes:
    name: sha256, hexadecimal.
    rows: the rows.
    manifest: content of manifest.json.
  """

  name: str
  rows: Rows
  manifest: dict[str, Any]

  @property
  def classes(self) -> list[str]:
    return self.manifest['classes']


def name_of(rows: Rows, classes: Sequence[str], parents: Sequence[str]) -> str:
  """Returns the name of a version, the sha256 (hex) of its classes, parents and rows."""
  content = {'classes': list(classes), 'parents': list(parents), 'rows': rows_.digest(rows)}
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write(
  table: Path,
  rows: Rows,
  edits: Edits | None,
  old: Version | None,
  classes: Sequence[str],
  facts: Mapping[str, Any],
  added: Rows | None = None,
  other: str = '',
) -> Version:
  """Writes a version to a temporary folder and renames it to its final name.

  Args:
    table: folder of the table.
    rows: rows of the new version, without the version of the edited rows.
    edits: the edits of the parent; None for the first version.
    old: the parent; None for the first version.
    classes: names of the classes.
    facts: message, author, time and such, for the manifest.
    added: rows that the parent lacks; None: there are none.
    other: second parent, of a merge; '': none.

  Raises:
    UserError: a file cannot be written; nothing is left where a reader looks.
  """
  parents = ([old.name] if old else []) + ([other] if other else [])
  name = name_of(rows, classes, parents)
  places = np.zeros(0, np.int64) if edits is None else rows.places(edits.id)
  if added is not None:
    added.version[:] = name
    places = np.union1d(places, rows.places(added.id))
  if edits is not None:
    rows.version[places] = name
  status = {word: int((rows.status == code).sum()) for code, word in enumerate(rows_.STATUSES)}
  manifest = {
    'version': name,
    'parents': parents,
    'classes': list(classes),
    **facts,
    'rows': len(rows),
    'status': status,
    'edits': 0 if edits is None else len(edits),
    **({} if added is None else {'added': len(added)}),
    'changes': edits_.counts(old.rows, rows, places, classes) if old else [],
    'content': rows_.digest(rows, rows_.COLUMNS),
  }
  place = table / FOLDER / name
  part = place.with_name(f'.{name}.{uuid.uuid4().hex}.part')
  try:
    storage.make_folder(part)
    rows_.write(part / 'rows.parquet', rows_.to_arrow(rows))
    if added is not None:
      rows_.write(part / 'added.parquet', rows_.to_arrow(added))
    if edits is not None:
      rows_.write(part / 'edits.parquet', rows_.to_arrow(edits, edits_.COLUMNS))
    formats.write_json(formats.LABEL_TABLE, part / 'manifest.json', manifest)
    sync(part)
    if place.exists():  # left by a commit that was interrupted before its branch named it
      storage.remove(place)
    part.rename(place)
    sync(place.parent)
  except OSError as error:
    raise UserError(f'{place}: cannot write this version: {error.strerror or error}.') from error
  finally:
    if part.exists():
      storage.remove(part)
  return Version(name, rows, read_manifest(table, name))


def sync(folder: Path) -> None:
  """Syncs the entries of a folder to the disk; raises UserError if the system cannot."""
  try:
    file = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(file)
    finally:
      os.close(file)
  except OSError as error:
    raise UserError(f'{folder}: cannot write this folder: {error.strerror or error}.') from error


def sweep(table: Path) -> None:
  """Removes the remains of interrupted commits; the caller holds the lock."""
  for part in (table / FOLDER).glob('.*.part'):
    storage.remove(part)


def names(table: Path) -> list[str]:
  """Returns the names of all versions on disk, sorted."""
  return sorted(path.name for path in (table / FOLDER).glob('[0-9a-f]*') if path.is_dir())


def read_manifest(table: Path, name: str) -> dict[str, Any]:
  """Reads the manifest of a version.

  Raises:
    UserError: there is no such version, or its manifest was changed.
  """
  path = table / FOLDER / name / 'manifest.json'
  if not path.exists():
    raise UserError(f'{table}: the version {name[:SHORT]} is missing; expected the folder {path.parent}.')
  found = formats.read_json(formats.LABEL_TABLE, path)
  if found['version'] != name:
    raise UserError(f'{path}: is of the version {found["version"][:SHORT]}; expected {name[:SHORT]}.')
  return found


def read(table: Path, name: str) -> Version:
  """Reads a version and checks that its rows match its name.

  Raises:
    UserError: the version is missing, damaged or changed.
  """
  manifest = read_manifest(table, name)
  path = table / FOLDER / name / 'rows.parquet'
  rows = Rows(**rows_.read(path))
  if name_of(rows, manifest['classes'], manifest['parents']) != name:
    raise UserError(f'{path}: was changed: its rows are not those of the version {name[:SHORT]}.')
  if rows_.digest(rows, rows_.COLUMNS) != manifest['content']:
    raise UserError(f'{path}: was changed: who changed its rows, or why, is not what was written.')
  return Version(name, rows, manifest)


def read_added(table: Path, version: Version) -> Rows | None:
  """Reads the rows that joined the table in a version, or None; raises UserError if they are missing or damaged."""
  if 'added' not in version.manifest:
    return None
  return Rows(**rows_.read(table / FOLDER / version.name / 'added.parquet'))


def read_edits(table: Path, name: str) -> Edits:
  """Reads the edits that lead from the parent to a version; raises UserError if they are missing or damaged."""
  return Edits(**rows_.read(table / FOLDER / name / 'edits.parquet', edits_.COLUMNS))
