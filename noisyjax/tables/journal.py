"""The journal of a table: decisions as they were made, one JSON line each, append-only and hash-chained.

A line holds the hash of the line before it and its own. It is on the disk when `append` returns. Half a line, which a
crash may leave, was never acknowledged: readers ignore it and the next writer cuts it off. The caller of `append` holds
the lock of the table.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noisyjax.system.errors import UserError

FIRST = '0' * 64  # what the first line calls the hash of the line before it


def append(path: Path, entry: Mapping[str, Any], size: int = 0, prev: str = FIRST) -> dict[str, Any]:
  """Adds an entry.

  Args:
    path: the journal.
    entry: the entry to add.
    size: byte position of the end of the last complete line, from `read`; an incomplete line after it is cut off.
    prev: hash of that line.

  Returns:
    The entry with the hash of the previous one ("prev") and its own ("hash").

  Raises:
    UserError: the file cannot be written; its content is unchanged.
  """
  full = sealed(entry, prev)
  line = json.dumps(full, sort_keys=True, allow_nan=False).encode() + b'\n'
  try:
    with path.open('a+b', buffering=0) as file:
      file.truncate(size)
      try:
        written = 0
        while written < len(line):  # a full disk may take a part
          written += os.write(file.fileno(), line[written:])
        os.fsync(file.fileno())
      except OSError:
        with contextlib.suppress(OSError):
          file.truncate(size)
        raise
  except OSError as error:
    raise UserError(f'{path}: cannot write this file: {error.strerror or error}. Nothing was recorded.') from error
  return full


def read(path: Path, start: int = 0, prev: str | None = FIRST) -> Iterator[tuple[dict[str, Any], int]]:
  """Yields the entries from a byte position on, each with the position of its end.

  Args:
    path: the journal; a missing file counts as empty.
    start: byte position of the start of a line.
    prev: hash of the previous line; None = unknown.

  Raises:
    UserError: a line was changed, added or removed; the message names it.
  """
  try:
    with path.open('rb') as file:
      number, where = 1, 'line' if not start else f'after byte {start}, line'
      if file.seek(0, os.SEEK_END) < start:
        raise UserError(f'{path}: ends before byte {start}; lines that were committed are missing.')
      file.seek(start)
      for line in file:
        if not line.endswith(b'\n'):
          return
        entry = opened(line, f'{path}, {where} {number}')
        if prev is not None and entry['prev'] != prev:
          raise UserError(
            f'{path}, {where} {number}: does not follow the line before it; a line was changed or removed.'
          )
        prev, start, number = entry['hash'], start + len(line), number + 1
        yield entry, start
  except FileNotFoundError:
    if start:
      raise UserError(f'{path}: is missing; lines that were committed are lost.') from None
  except OSError as error:
    raise UserError(f'{path}: cannot read this file: {error.strerror or error}.') from error


def sealed(entry: Mapping[str, Any], prev: str) -> dict[str, Any]:
  """Returns an entry with the hash of the previous one and its own."""
  content = json.loads(json.dumps({**entry, 'prev': prev}, allow_nan=False))
  return {**content, 'hash': _hash(content)}


def opened(line: bytes, where: str) -> dict[str, Any]:
  """Returns the entry of a line; raises UserError if its hash does not match."""
  try:
    entry = json.loads(line)
    if entry['hash'] != _hash({key: value for key, value in entry.items() if key != 'hash'}):
      raise UserError(f'{where}: was changed: its content does not fit its hash.')
    entry['prev'].encode()
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
    raise UserError(f'{where}: was changed: it is no entry of a journal.') from error
  return entry


def _hash(content: Mapping[str, Any]) -> str:
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
