"""How the versions of a label table are named and follow each other: branches, DIR@VERSION, ancestors."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noisyjax.system import formats, lock
from noisyjax.system.errors import UserError, listed
from noisyjax.tables import journal, versions
from noisyjax.tables.versions import SHORT, Version

MAIN = 'main'
LATEST = 'latest'  # the newest version of MAIN, where it is asked for by this name
WAIT = 10.0  # seconds that a writer waits for another
_BRANCH = re.compile(r'[A-Za-z][A-Za-z0-9_.-]{0,99}')


def facts(folder: Path) -> dict[str, Any]:
  """Returns the content of table.json; raises UserError if the folder is not a table."""
  if not (folder / 'table.json').exists():
    raise UserError(f'{folder}: is no label table; expected a folder made by `table init`.')
  return formats.read_json(formats.LABEL_TABLE, folder / 'table.json')


def branches(folder: Path) -> dict[str, str]:
  """Returns branch → version."""
  paths = sorted((folder / 'branches').glob('*.json'))
  return {path.stem: formats.read_json(formats.LABEL_TABLE, path)['version'] for path in paths}


def read_branch(folder: Path, branch: str) -> dict[str, Any]:
  """Returns version, end and last entry of the journal that a branch includes; raises UserError if there is none."""
  path = folder / 'branches' / f'{branch}.json'
  if not _BRANCH.fullmatch(branch) or not path.exists():
    raise UserError(f'{folder}: has no branch {branch!r}; expected one of {", ".join(branches(folder)) or "none"}.')
  return formats.read_json(formats.LABEL_TABLE, path)


def write_branch(folder: Path, branch: str, ref: Mapping[str, Any]) -> None:
  """Moves a branch, or makes it; the folder is locked. `ref` is what `read_branch` returns."""
  formats.write_json(formats.LABEL_TABLE, folder / 'branches' / f'{branch}.json', ref)
  versions.sync(folder / 'branches')


def make_branch(folder: str | Path, branch: str, at: str) -> None:
  """Creates a branch that starts at a version.

  Raises:
    UserError: the name is taken or invalid, or there is no such version.
  """
  folder = Path(folder)
  if not _BRANCH.fullmatch(branch) or branch == LATEST:
    raise UserError(f'branch: found {branch!r}; expected letters, digits, "_", "-" and ".", and not {LATEST!r}.')
  with lock.waited(folder, seconds=WAIT):
    if (folder / 'branches' / f'{branch}.json').exists():
      raise UserError(f'{folder}: has a branch {branch!r} already; expected another name.')
    version = resolve(folder, at)
    end, last = 0, journal.FIRST
    for entry, end in journal.read(folder / 'journal.jsonl'):  # noqa: B007
      last = entry['hash']
    write_branch(folder, branch, {'version': version, 'journal': end, 'last': last})


def resolve(folder: Path, ref: str) -> str:
  """Returns the name of a version by its first characters (4 or more), "latest", or the name of a branch.

  Raises:
    UserError: no version matches, or several do.
  """
  known = branches(folder)
  if ref == LATEST and MAIN in known:
    return known[MAIN]
  if ref in known:
    return known[ref]
  found = [name for name in versions.names(folder) if name.startswith(ref)] if len(ref) >= 4 else []
  if len(found) != 1:
    what = f'{len(found)} versions begin' if found else 'no version begins'
    recent = listed(f'{branch} ({name[:SHORT]})' for branch, name in known.items())
    raise UserError(
      f'{folder}: {what} with {ref!r}; expected 4 or more characters of a version, or a branch: {recent}.'
    )
  return found[0]


def ancestors(folder: Path, version: str) -> Iterator[str]:
  """Yields a version, its first parent, that one's, and so on; raises UserError if one is missing."""
  while version:
    yield version
    version = next(iter(versions.read_manifest(folder, version)['parents']), '')


def lineage(folder: Path, heads: Iterable[str]) -> list[str]:
  """Returns some versions and all that they come from, merged ones too: each once, parents before their children.

  Raises:
    UserError: a version is missing, or is named as its own ancestor.
  """
  done: dict[str, None] = {}  # a set that keeps the order
  for head in heads:
    path = dict.fromkeys([head] if head not in done else [])  # the versions from the head to the one looked at
    while path:
      name = next(reversed(path))
      parent = next((name for name in versions.read_manifest(folder, name)['parents'] if name not in done), None)
      if parent is None:
        done[name] = path.pop(name)
      elif parent in path:
        raise UserError(f'{folder}: version {parent[:SHORT]} comes from itself; a manifest was changed.')
      else:
        path[parent] = None
  return list(done)


def common(folder: Path, one: str, two: str) -> str | None:
  """Returns the version that two versions come from and from which no other such version comes; None: there is none."""
  known = set(lineage(folder, [two]))
  common = [name for name in reversed(lineage(folder, [one])) if name in known]
  earlier = {parent for name in common for parent in versions.read_manifest(folder, name)['parents']}
  return next((name for name in common if name not in earlier), None)


def parsed(text: str) -> tuple[Path, str]:
  """Returns folder and version of "DIR@VERSION"; '' for "DIR"."""
  folder, _, ref = text.rpartition('@')
  return (Path(folder), ref) if folder and os.path.sep not in ref else (Path(text), '')


def opened(text: str) -> Version:
  """Returns the version that "DIR@VERSION" names; it may also be "latest" or a branch.

  Raises:
    UserError: no version is given, or it cannot be read.
  """
  folder, ref = parsed(text)
  facts(folder)
  if not ref:
    newest = branches(folder).get(MAIN, 'VERSION')[:SHORT]
    raise UserError(f'{text}: names no version; expected {folder}@{newest} or {folder}@{LATEST}.')
  return versions.read(folder, resolve(folder, ref))
