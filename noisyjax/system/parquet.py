"""Reads and writes Parquet tables: columns of a million rows, of which little is in memory at a time.

Tables are written in blocks of rows, and read a column at a time.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError


def write(
  path: str | os.PathLike, columns: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None = None
) -> None:
  """Writes a Parquet table atomically; raises like `storage.write_bytes`.

  Args:
    path: path of the file.
    columns: arrays `[N]` or `[N, K]` by name.
    metadata: values by name, stored as JSON in the schema.
  """
  columns = {name: np.asarray(values) for name, values in columns.items()}
  count = len(next(iter(columns.values())))
  blocks = ({name: values[part] for name, values in columns.items()} for part in blocks_of(count))
  write_blocks(path, blocks, metadata)


def blocks_of(count: int) -> list[slice]:
  """Returns the blocks in which `count` rows are written, at least one: a table without rows has its columns, too."""
  size = 2**14
  return [slice(start, min(start + size, count)) for start in range(0, max(count, 1), size)]


def write_table(path: str | os.PathLike, table: Any, **options: Any) -> None:
  """Writes a table of Arrow, compressed by zstd, atomically; raises like `storage.write_bytes`.

  Args:
    path: path of the file.
    table: the table.
    **options: further arguments of `pyarrow.parquet.write_table`.
  """
  import pyarrow.parquet as pq

  if storage.writes():
    with storage.replacing(path) as file:
      pq.write_table(table, file, compression='zstd', write_page_checksum=True, **options)


def write_blocks(
  path: str | os.PathLike, blocks: Iterable[Mapping[str, np.ndarray]], metadata: Mapping[str, Any] | None = None
) -> None:
  """Writes a Parquet table as `write` does, of which only one block is in memory at a time.

  Args:
    path: path of the file.
    blocks: columns of some rows each, at least one block; all have the same names and types.
    metadata: values by name, stored as JSON in the schema.
  """
  import pyarrow as pa
  import pyarrow.parquet as pq

  def column(values: np.ndarray) -> Any:
    if values.ndim < 2:
      return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])

  if not storage.writes():
    return
  tables = (pa.table({name: column(values) for name, values in block.items()}) for block in blocks)
  first = next(tables)
  texts = {name: storage.json_line(value) for name, value in (metadata or {}).items()}
  schema = first.schema.with_metadata(texts or None)
  with storage.replacing(path) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
    for table in itertools.chain([first], tables):
      writer.write_table(table.cast(schema))


def read(path: str | os.PathLike, names: Container[str] | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns the columns `[N]` or `[N, K]` and the metadata that `write` stored.

  Args:
    path: path of the file.
    names: names of the columns to read, those that the file has; None = all.

  Raises:
    UserError: the file is missing or damaged.
  """
  with opened(path) as file:
    schema = file.schema_arrow
    wanted = [name for name in schema.names if names is None or name in names]
    columns = {name: _column(file.read([name], use_threads=False)[name]) for name in wanted}
    return columns, notes(schema)


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Any]:
  """Opens a table as a `pyarrow.parquet.ParquetFile`, whose content is not read as a whole.

  Read it with `use_threads=False`: a thread of Arrow's that still starts when a short command ends aborts the process.

  Raises:
    UserError: the file is missing, or its content is damaged, whenever within the block that shows.
  """
  import pyarrow as pa
  import pyarrow.parquet as pq

  try:
    with storage.opened(path) as content:
      yield pq.ParquetFile(content, page_checksum_verification=True, pre_buffer=False)
  except (pa.ArrowException, *reading.DAMAGE) as error:
    raise UserError(f'{path}: not a readable Parquet file: {reading.reason(error)}.') from error


def notes(schema: Any) -> dict[str, Any]:
  """Returns the metadata of a schema of Arrow, values by name."""
  return {k.decode(): json.loads(v) for k, v in (schema.metadata or {}).items() if not k.startswith(b'ARROW:')}


def _column(found: Any) -> np.ndarray:
  """Returns a column of a Parquet file as an array `[N]` or `[N, K]`. Texts are converted in parts, to save memory."""
  import pyarrow as pa

  kind = found.type
  if pa.types.is_fixed_size_list(kind):
    return found.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(found), kind.list_size)
  if not pa.types.is_string(kind):
    return found.to_numpy()
  parts = [part.to_numpy(zero_copy_only=False).astype(str) for part in found.chunks]
  return np.concatenate(parts) if parts else np.empty(0, str)
