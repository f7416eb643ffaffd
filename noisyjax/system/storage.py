"""Reads and writes the files of a run, atomically and without loss of precision.

A file is written under a temporary name in the same folder, synced, and renamed, so that readers never see a partial
file, even after a kill. Logs grow by whole lines; readers ignore an incomplete last line, which a kill may leave, and
the next writer removes it. Floats in JSON read back bit for bit; NaN and infinity, which JSON lacks, become null.

Where a run spans several JAX processes, only process 0 writes: in the others, the functions that write, remove or
create do nothing. See `writes`.
"""

import contextlib
import csv
import hashlib
import importlib
import io
import json
import math
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from noisyjax.system import reading
from noisyjax.system.errors import UserError


def writes() -> bool:
  """Returns whether this process writes files: JAX's process 0, or any process that has not imported JAX."""
  jax = sys.modules.get('jax')  # commands that do not need JAX must not wait for its import
  return jax is None or jax.process_index() == 0


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
  """Turns an OSError (full disk, read-only folder) into a UserError that names the file."""
  try:
    yield
  except OSError as error:
    why = error.strerror or error if path.parent.exists() else f'there is no folder {str(path.parent)!r}'
    raise UserError(f'{path}: cannot write this file: {why}.') from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a temporary file that takes the place of `path` when the block ends; if it fails, `path` stays as it was.

  Raises:
    UserError: the folder is missing or read-only, the disk is full, or the path exists and is not a regular file.
  """
  path = Path(path)
  with _writing(path):
    path = Path(os.path.realpath(path))  # writes the target of a link and keeps the link
    if path.exists() and not path.is_file():
      raise UserError(f'{path}: cannot write this file: the path exists and is not a regular file.')
    part = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.part')
    try:
      with part.open('xb') as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
      part.replace(path)
    except BaseException:
      with contextlib.suppress(OSError):
        part.unlink()
      raise


def write_bytes(path: str | os.PathLike, data: bytes | memoryview) -> None:
  """Writes `data` to `path` atomically: if it fails, the file keeps its old content.

  Raises:
    UserError: the folder is missing or read-only, the disk is full, or the path exists and is not a regular file.
  """
  if not writes():
    return
  with replacing(path) as file:
    file.write(data)


def npy(array: np.ndarray) -> memoryview:
  """Returns the content of an .npy file."""
  buffer = io.BytesIO()
  np.save(buffer, array)
  return buffer.getbuffer()


def write_npz(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name as an .npz file atomically; raises like `write_bytes`."""
  if not writes():
    return
  with replacing(path) as file:
    np.savez(file, allow_pickle=False, **arrays)


def make_folder(path: str | os.PathLike) -> None:
  """Creates a folder and its parents if they are missing.

  Raises:
    UserError: the folder cannot be created.
  """
  if not writes():
    return
  try:
    Path(path).mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'{path}: cannot create this folder: {error.strerror or error}.') from error


def remove(path: str | os.PathLike) -> None:
  """Removes a file or folder, if it exists; of a link it removes the link and not its target.

  Raises:
    UserError: the operating system refuses.
  """
  if not writes():
    return
  path = Path(path)
  try:
    if path.is_dir() and not path.is_symlink():
      shutil.rmtree(path)
    else:
      path.unlink(missing_ok=True)
  except OSError as error:
    raise UserError(f'{path}: cannot remove it: {error.strerror or error}.') from error


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes UTF-8 text atomically; raises like `write_bytes`."""
  write_bytes(path, text.encode())


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
  """Returns rows as CSV. Text that a spreadsheet would run as a formula gets a leading quote: "=…" becomes "'=…"."""
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows([_harmless(cell) for cell in row] for row in rows)
  return text.getvalue()


_NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def _harmless(cell: Any) -> Any:
  """Returns a cell that no spreadsheet executes as a formula."""
  if not isinstance(cell, str):
    return cell
  cell = cell.replace('\r', ' ')  # the csv module leaves it unquoted, but other programs end the line there
  return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


_FORMULA = re.compile(r"'*\s*[=+@|%-]")


def csv_original(cell: str) -> str:
  """Returns the original text of a cell that `csv_text` wrote."""
  return cell[1:] if cell.startswith("'") and _harmless(cell[1:]) == cell else cell


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes indented JSON atomically; accepts numpy and jax values, and raises like `write_bytes`."""
  write_text(path, json_text(value))


def json_text(value: Any) -> str:
  """Returns the text that `write_json` writes: indented JSON, NaN and infinity as null."""
  return json.dumps(_plain(value), allow_nan=False, indent=2) + '\n'


def json_line(value: Any) -> str:
  """Returns JSON in one line, otherwise as `json_text`."""
  return json.dumps(_plain(value), allow_nan=False)


def read_text(path: str | os.PathLike) -> str:
  """Reads UTF-8 text; raises UserError if the file is missing or not UTF-8 text."""
  try:
    return read_bytes(path).decode()
  except UnicodeDecodeError as error:
    raise UserError(f'{path}: not UTF-8 text: {error}.') from error


def read_json(path: str | os.PathLike) -> Any:
  """Reads one JSON file.

  Raises:
    UserError: the file is missing or not valid JSON.
  """
  return _parse(read_bytes(path), f'{path}')


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the arrays of an npz file by name.

  Raises:
    UserError: the file is missing or damaged.
  """
  data = read_bytes(path)
  with reading.reading(path, 'npz'), np.load(io.BytesIO(data)) as arrays:
    return dict(arrays)


class JsonLines:
  """A log with one JSON record per line, such as `metrics.jsonl` and `audit.jsonl`.

  Opening a log removes the incomplete last line that a killed process may have left.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    self.path = Path(path)
    if self.path.exists():
      data = read_bytes(self.path)
      if data and not data.endswith(b'\n'):
        write_bytes(self.path, b''.join(_whole_lines(data)))

  def append(self, record: Mapping[str, Any]) -> None:
    """Appends one record and syncs the file, so that a later checkpoint may rely on it. Raises like `write_bytes`."""
    line = json_line(record).encode() + b'\n'
    if not writes():
      return
    with _writing(self.path), self.path.open('ab') as file:
      file.write(line)
      file.flush()
      os.fsync(file.fileno())


def read_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the records of a log. An incomplete last line is ignored but kept: its writer may still be running.

  Raises:
    UserError: the file is missing, or a complete line is not valid JSON.
  """
  lines = _whole_lines(read_bytes(path))
  return [_parse(line, f'{path}, line {i}') for i, line in enumerate(lines, start=1)]


def truncate(path: str | os.PathLike, n_lines: int) -> list[dict[str, Any]]:
  """Cuts a log atomically to its first `n_lines` records; a resumed run thus drops the epochs that it will repeat.

  Returns:
    The remaining records: fewer than `n_lines` if the log is shorter, none if the file is missing.
  """
  path = Path(path)
  if not path.exists():
    return []
  data = read_bytes(path)
  lines = _whole_lines(data)[:n_lines]
  if (kept := b''.join(lines)) != data:
    write_bytes(path, kept)
  return [_parse(line, f'{path}, line {i}') for i, line in enumerate(lines, start=1)]


class TensorBoard:
  """Writes the numbers of each record as TensorBoard scalars, through tensorboardX; other values are skipped.

  Args:
    dir: folder of the event files.

  Raises:
    UserError: tensorboardX is not installed.
  """

  def __init__(self, dir: str | os.PathLike) -> None:
    try:
      self._tensorboard = importlib.import_module('tensorboardX')
    except ImportError as error:
      raise UserError(
        'TensorBoard event files need tensorboardX, which is not installed: pip install tensorboardX.'
      ) from error
    self.dir = Path(dir)
    self._events = None

  def append(self, record: Mapping[str, Any]) -> None:
    """Adds one record at its `step`, or at its `epoch` if it has no step."""
    if not writes():
      return
    record = _plain(record)
    step = record.get('step', record.get('epoch'))
    with _writing(self.dir):
      if self._events is None:  # a resumed run hides the events of the steps that it repeats
        self._events = self._tensorboard.SummaryWriter(str(self.dir), purge_step=step)
      for name, value in record.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and name != 'step':
          self._events.add_scalar(name, value, step)
      self._events.flush()


def _plain(value: Any) -> Any:
  """Converts a value to JSON's types: arrays to lists, non-finite numbers to None, paths to text; floats exactly."""
  if isinstance(value, float):  # also numpy.float64
    return float(value) if math.isfinite(value) else None
  if value is None or isinstance(value, str | bool | int):
    return value
  if isinstance(value, Mapping):
    return {str(k): _plain(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_plain(v) for v in value]
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  if hasattr(value, '__array__'):
    return _plain(np.asarray(value).tolist())
  raise TypeError(f'not a JSON value: {value!r}')


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a file; raises UserError if it cannot be read."""
  with _reading(path), opened(path) as file:
    return file.read()


def opened(path: str | os.PathLike) -> io.BufferedReader:
  """Opens a file to read; raises UserError if it cannot be opened."""
  if reading.kind(path) == 'device':
    raise UserError(f'{path}: is a pipe or device; expected a file.')
  with _reading(path):
    return Path(path).open('rb')


def sha256(path: str | os.PathLike) -> str:
  """Returns the sha256 (hex) of the content of a file; raises like `read_bytes`."""
  with _reading(path), opened(path) as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


@contextlib.contextmanager
def _reading(path: str | os.PathLike) -> Iterator[None]:
  """Turns an OSError into a UserError that names the file."""
  try:
    yield
  except OSError as error:
    raise UserError(f'{path}: cannot read this file: {error.strerror or error}.') from error


def _whole_lines(data: bytes) -> list[bytes]:
  """Returns the complete lines, with their line feeds."""
  return [line for line in data.splitlines(keepends=True) if line.endswith(b'\n')]


def _parse(data: bytes, where: str) -> Any:
  """Parses JSON; raises UserError, naming `where`, if it is not valid."""
  try:
    return json.loads(data)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{where}: not valid JSON: {error}.') from error
