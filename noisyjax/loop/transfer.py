"""A version of a table for other programs, and back: CSV, Parquet, ImageFolder, Hugging Face `datasets`, cleanlab."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from noisyjax.data import files
from noisyjax.loop import own_csv
from noisyjax.system import parquet, reading, storage
from noisyjax.system.errors import UserError, check_choice
from noisyjax.tables import outside, rows as rows_
from noisyjax.tables.decisions import Decision
from noisyjax.tables.outside import NO_LABEL
from noisyjax.tables.rows import LABELED, SPLITS, TRAIN, UNLABELED
from noisyjax.tables.store import Table
from noisyjax.tables.versions import SHORT, Version

NO_CLASS = 'undefined'  # the folder of unlabeled images, as `data.unlabeled` is by default
# No column of metadata.csv may be empty: the type that `datasets` infers must be one in all splits.
_METADATA = ('id', 'split', 'status', 'label', 'verified', 'weight', 'given_label', 'by', 'version')
_BLANK = (*outside.LABELS, 'version')  # columns of it that say `undefined` for nothing
HF_SPLITS = dict(zip(SPLITS, ('train', 'validation', 'test')))
CLEANLAB = 'rule:cleanlab'  # who edits what comes back from cleanlab


def export(version: Version, to: str, out: Path, root: str) -> str:
  """Writes a version for another program.

  Args:
    version: what to write.
    to: one of FORMATS.
    out: a file for csv, parquet and cleanlab, a new folder for imagefolder and hf.
    root: folder or zip of the images, for the two.

  Returns:
    What was written, in a sentence.

  Raises:
    UserError: an unknown format, a folder that is not empty, images that are gone, a class that names no folder.
  """
  check_choice('--to', to, FORMATS)
  if out.is_dir() and any(out.iterdir()):
    raise UserError(f'--out: {out} is not empty; expected a new file or folder.')
  return FORMATS[to](version, out, root)


def _csv(version: Version, out: Path, root: str) -> str:
  return _write_csv(out, outside.columns(version))


def _cleanlab(version: Version, out: Path, root: str) -> str:
  return _write_csv(out, outside.cleanlab(version))


def _write_csv(out: Path, columns: Mapping[str, Sequence[Any]]) -> str:
  storage.write_text(out, storage.csv_text([list(columns), *zip(*columns.values())]))
  return f'{out}: {len(columns["id"]):,} rows'


def _parquet(version: Version, out: Path, root: str) -> str:
  columns = outside.columns(version)
  arrays = {n: pa.array(v, pa.float32() if n == 'weight' else pa.string()) for n, v in columns.items()}
  rows_.write(out, pa.table(arrays))
  return f'{out}: {len(columns["id"]):,} rows'


def _imagefolder(version: Version, out: Path, root: str) -> str:
  """Writes SPLIT/CLASS/FILE and SPLIT/metadata.csv of the rows that are used; unlabeled ones are in `undefined`."""
  _check_folders(version.classes)
  count = 0
  for split, places, columns in _used(version):
    folders = [label or NO_CLASS for label in columns['label']]
    names = [f'{folder}/{name}' for folder, name in zip(folders, _flat(columns['name']))]
    for name, data in _contents(root, columns['name'], names):
      place = out / split / name
      storage.make_folder(place.parent)
      storage.write_bytes(place, data)
    told = {name: columns[name] for name in _METADATA}
    told |= {name: [value or NO_CLASS for value in columns[name]] for name in _BLANK}
    _write_csv(out / split / 'metadata.csv', {'file_name': names, **told})
    count += len(places)
  return f'{out}: {count:,} images{_left_out(version, count)}'


def _check_folders(classes: Sequence[str]) -> None:
  """Raises UserError for a class without a folder of its own: its name leads elsewhere, or is that of another entry."""
  for name in classes:
    if PurePosixPath(name).parts != (name,) or name in ('..', NO_CLASS, 'metadata.csv') or '\0' in name:
      raise UserError(
        f'--to=imagefolder: the class {name!r} cannot have a folder of its own; expected --to=hf, whose labels are in '
        'a column.'
      )


def _hf(version: Version, out: Path, root: str) -> str:
  """Writes data/SPLIT-00000-of-00001.parquet with the images inside, and README.md, the card."""
  count = 0
  for split, places, columns in _used(version):
    names = columns['name']
    images = [{'bytes': data, 'path': name} for name, data in _contents(root, names, names)]
    number = {name: c for c, name in enumerate(version.classes)} | {NO_LABEL: -1}
    arrays = {'image': pa.array(images, pa.struct([('bytes', pa.binary()), ('path', pa.string())]))}
    arrays['label'] = pa.array([number[label] for label in columns.pop('label')], pa.int64())
    arrays |= {n: pa.array(v, pa.float32() if n == 'weight' else pa.string()) for n, v in columns.items()}
    features = {n: {'dtype': 'float32' if n == 'weight' else 'string', '_type': 'Value'} for n in columns}
    features |= {'image': {'_type': 'Image'}, 'label': {'names': version.classes, '_type': 'ClassLabel'}}
    info = {'info': {'features': {name: features[name] for name in arrays}}}
    table = pa.table(arrays).replace_schema_metadata({'huggingface': json.dumps(info)})
    storage.make_folder(out / 'data')
    rows_.write(out / 'data' / f'{HF_SPLITS[split]}-00000-of-00001.parquet', table)
    count += len(places)
  storage.write_text(out / 'README.md', _card(version))
  return f'{out}: {count:,} images{_left_out(version, count)}'


FORMATS: dict[str, Callable[[Version, Path, str], str]] = {
  'csv': _csv,
  'parquet': _parquet,
  'imagefolder': _imagefolder,
  'hf': _hf,
  'cleanlab': _cleanlab,
}


def _used(version: Version) -> Iterator[tuple[str, np.ndarray, dict[str, list[Any]]]]:
  """Yields split, places and columns of the rows that are neither dropped nor held."""
  rows = version.rows
  for code, split in enumerate(SPLITS):
    places = np.flatnonzero((rows.split == code) & (rows.status <= UNLABELED))
    if len(places):
      yield split, places, outside.columns(version, places)


def _left_out(version: Version, count: int) -> str:
  out = len(version.rows) - count
  return f'; {out:,} dropped or held rows are left out' if out else ''


def _contents(root: str, names: Sequence[str], to: Sequence[str]) -> Iterator[tuple[str, bytes]]:
  """Yields the new name and the bytes of each image."""
  if not root:
    raise UserError('--images: missing; this table is of images that are no files. Expected a folder or zip of them.')
  with files.open_images(root) as found:
    if missing := sorted(set(names) - set(found.names)):
      raise UserError(f'{root}: has no image {missing[0]!r} ({len(missing)} of {len(names)} are gone); expected all.')
    for name, new in zip(names, to):
      yield new, found.read(name)


def _flat(names: Sequence[str]) -> list[str]:
  """Returns distinct names without folders, which classes replace.

  The folders come before a name that occurs twice, and `_` before a name that another image has already.
  """
  last = [PurePosixPath(name).name for name in names]
  count = Counter(last)
  taken = {short for short in last if count[short] == 1}
  out = []
  for short, name in zip(last, names):
    new = short
    if count[short] > 1:
      new = name.replace('/', '__')
      while new in taken:
        new = f'_{new}'
      taken.add(new)
    out.append(new)
  return out


def _card(version: Version) -> str:
  status = ', '.join(f'{count:,} {word}' for word, count in version.manifest['status'].items() if count)
  splits = [
    f'  - split: {HF_SPLITS[split]}\n    path: data/{HF_SPLITS[split]}-*'
    for code, split in enumerate(SPLITS)
    if ((version.rows.split == code) & (version.rows.status <= UNLABELED)).any()
  ]
  return (
    '---\ntask_categories:\n- image-classification\nconfigs:\n- config_name: default\n  data_files:\n'
    + '\n'.join(splits)
    + f'\n---\n\n# Label table {version.name[:SHORT]}\n\n{len(version.rows):,} rows: {status}. '
    'Dropped and held rows are not in the files.\n\n'
    f'* version: `{version.name}`\n* made: {version.manifest["time"]} by {version.manifest["author"]}: '
    f'{version.manifest["message"]}\n* classes: {", ".join(version.classes)}\n\n'
    '`label` is -1 where a row is unlabeled. `given_label` is the label as first delivered, `verified` the one that a '
    'person or the source checked; `by`, `reason`, `evidence` and `version` say who changed a label last, and why.\n'
  )


def bring(table: Table, of: str, path: str, message: str, author: str) -> Version:
  """Makes a version of what comes back from another program.

  Args:
    table: the branch to commit to.
    of: one of FORMATS: what `path` is.
    path: a file or folder that `export` wrote and another program changed.
    message: why, for the version.
    author: "person:NAME"; what comes from cleanlab is by rule:cleanlab.

  Raises:
    UserError: another kind of file, another table, or a change that is not allowed; nothing is applied.
  """
  check_choice('--of', of, FORMATS)
  place = reading.path_of(path, '--from')
  if of == 'cleanlab':
    return _bring_cleanlab(table, _read_csv(reading.file_of(place, '--from')), message, author)
  parts = {
    'csv': lambda: [_read_csv(reading.file_of(place, '--from'))],
    'parquet': lambda: [_read_parquet(reading.file_of(place, '--from'), table.classes)],
    'imagefolder': lambda: [_read_metadata(file) for file in _several(place, '*/metadata.csv')],
    'hf': lambda: [_read_parquet(file, table.classes) for file in _several(place, 'data/*.parquet')],
  }[of]()
  names = [name for name in parts[0] if all(name in part for part in parts)]
  found = {name: [value for part in parts for value in part[name]] for name in names}
  rows = outside.imported(table.version, found, str(place))
  return table.replace(rows, 'import', message, author, source=str(place))


def _several(folder: Path, pattern: str) -> list[Path]:
  if not (found := sorted(folder.glob(pattern))):
    raise UserError(f'{folder}: has no {pattern}; expected a folder that `table export` wrote.')
  return found


def _read_csv(path: Path) -> dict[str, list[Any]]:
  found = own_csv.read(path, ('id',), 'table export')
  return {name: [row[name] for row in found] for name in (found[0] if found else ['id'])}


def _read_metadata(path: Path) -> dict[str, list[Any]]:
  """Reads a metadata.csv, in which `undefined` is no label, or the first version."""
  found = _read_csv(path)
  blank = {n: ['' if v == NO_CLASS else v for v in found[n]] for n in _BLANK if n in found}
  return found | blank


def _read_parquet(path: Path, classes: Sequence[str]) -> dict[str, list[Any]]:
  """Reads all columns but images; labels that are numbers, as `datasets` stores them, are class names again."""
  with parquet.opened(path) as file:
    schema = file.schema_arrow
    wanted = [name for name in schema.names if name in rows_.COLUMNS]
    found = {name: file.read([name], use_threads=False)[name].to_pylist() for name in wanted}
  if pa.types.is_integer(schema.field('label').type if 'label' in wanted else pa.string()):
    names = [*classes, NO_LABEL]
    found['label'] = [
      names[label] if label is not None and -1 <= label < len(classes) else label for label in found['label']
    ]
  return found


def _bring_cleanlab(table: Table, found: Mapping[str, Sequence[str]], message: str, author: str) -> Version:
  """Gives issues their predicted label, by rule:cleanlab, where the row trains by a label that nobody checked."""
  if missing := {'id', 'is_label_issue', 'predicted_label'} - set(found):
    raise UserError(f"--from: has no column {sorted(missing)[0]!r}; expected cleanlab's columns, and the id of rows.")
  rows, names, decisions = table.rows, [*table.classes, NO_LABEL], []
  quality = found.get('label_quality', [''] * len(found['id']))
  columns = (found['id'], rows.places(found['id']).tolist(), found['is_label_issue'], found['predicted_label'], quality)
  for id, place, issue, predicted, score in zip(*columns):
    if place < 0:
      raise UserError(f'--from: the id {id!r} is not in this table. It is of another table.')
    label = _predicted(predicted, table.classes)
    free = rows.split[place] == TRAIN and rows.status[place] == LABELED and rows.verified[place] < 0
    if issue.strip().lower() in ('true', '1') and label != names[rows.label[place]] and free:
      action = 'label' if label else 'unlabel'
      decisions.append(Decision(id, action, label, reason='label issue by cleanlab', evidence=score))
  if decisions:
    table.decide(CLEANLAB, decisions)
  return table.commit(message, author)


def _predicted(text: str, classes: Sequence[str]) -> str:
  """Returns the class that cleanlab's number means, '' for -1."""
  numbers = {str(number): name for number, name in enumerate(classes)} | {'-1': NO_LABEL}
  number = text.strip().removesuffix('.0')  # pandas writes so
  if number not in numbers:
    expected = f'0 to {len(classes) - 1}, or -1'
    raise UserError(f'--from: predicted_label: found {text!r}; expected the number of a class, {expected}.')
  return numbers[number]
