"""A folder or zip of images, and files of labels.

`path` is a folder that holds `images/` or `images.zip` beside the label files, or the folder or zip of images itself.
A label file is one of

* a CSV without header, or an .npy: one integer a row, in the sorted order of the image names. `labels` (given) and
  `truth` cover all images; `verified` covers the first rows, the rest is unchecked;
* a CSV with header `image,label`: class names or numbers, and `config.unlabeled` for an unlabeled image. `labels` names
  every image; `verified` and `truth` may name some.

Rows follow the sorted image names in both cases.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisyjax.data import dataset, decode, files, label_file
from noisyjax.data.labels import Column, class_names, indices, missing_note
from noisyjax.errors import UserError


def load(config) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the images of `config.path` with `config.labels`, `config.verified` and `config.truth` ('' = none).

  Raises:
    UserError: listing all images that are missing or cannot be read, unless `config.skip_bad`; and for labels that do
      not fit the images or the classes.
  """
  if not config.path:
    raise UserError('data.path is empty; expected a folder or zip of images.')
  root, base = locate(config.path)
  with files.open_images(root) as found:
    columns = {
      field: label_file.read_column(_label_path(field, config[field], base))
      for field in ('labels', 'verified', 'truth')
      if config[field]
    }
    legal = [column for field, column in columns.items() if field != 'truth']  # the truth names no classes
    classes = class_names(legal, config.unlabeled, config.classes)
    names, missing = _expected(found.names, columns)
    unnamed = [column for column in columns.values() if column.images is None]
    if unnamed:
      label_file.check_order(unnamed[0], names)
    labels = {field: _align(field, column, classes, config.unlabeled, names, root) for field, column in columns.items()}
    decoded = found.decoded(config.size, config.fit, config.channels, config.cache)
  left_out = decode.check_bad([*missing, *decoded.bad], config.skip_bad, str(root))
  good_names = [found.names[i] for i in decoded.good]
  position = {name: i for i, name in enumerate(names)}
  rows = np.array([position[name] for name in good_names])  # the label rows of the images that are left
  none = np.full(len(names), -1, np.int32)
  made = dataset.make(
    decoded.images,
    labels.get('labels', none)[rows],
    classes,
    verified=labels.get('verified', none)[rows],
    names=good_names,
    digests=decoded.digests,
    notes=[
      *found.notes,
      *decoded.notes,
      *left_out,
      *(note for column in legal for note in missing_note(column, config.unlabeled)),
    ],
    root=root,
  )
  return made, labels.get('truth', none)[rows]


def locate(path: str | Path) -> tuple[Path, Path]:
  """Returns (folder or zip of images, folder in which label files are looked for first) of a `data.path`."""
  path = Path(path).expanduser()
  if not path.exists():
    raise UserError(f'data.path: there is no folder or zip {str(path)!r}.')
  if path.is_file():
    return path, path.parent
  inner = [p for p in (path / 'images', path / 'images.zip') if p.exists()]
  return (inner[0] if inner else path), path


def _label_path(field: str, value: str, base: Path) -> Path:
  path = Path(value).expanduser()
  for candidate in (base / path, path):
    if candidate.exists():
      return candidate
  raise UserError(
    f"data.{field}: there is no file {value!r}, neither in {base} nor here. Set data.{field}='' if there is none."
  )


def _expected(names: Sequence[str], columns: dict[str, Column]) -> tuple[list[str], list[str]]:
  """Returns the images that the label files speak of, in row order, and a sentence for each that does not exist.

  A file with header names its images. Without one, a gap in numbered names shows which image is missing, so that the
  rows after it keep their labels.
  """
  given = columns.get('labels')
  if given is not None and given.images is not None:
    _, rows = label_file.rows_of(given, names)
    return list(names), [
      f'{given.images[row]}: missing, named in {Path(given.where).name} {given.places[row]}' for row in rows
    ]
  whole = [column for field, column in columns.items() if field != 'verified' and column.images is None]
  count = len(whole[0].labels) if whole else len(names)
  full = _numbered(names, count) if count > len(names) else None
  if full is None:
    return list(names), []
  gone = sorted(set(full) - set(names))
  return full, [f'{name}: missing, {Path(whole[0].where).name} has a row for it' for name in gone]


def _numbered(names: Sequence[str], count: int) -> list[str] | None:
  """Returns the `count` names of a numbered series that `names` has gaps in; None unless there is exactly one such."""
  parts = [re.fullmatch(r'(.*?)(\d+)(\.\w+)', name) for name in names]
  if not all(parts) or len({(p[1], len(p[2]), p[3]) for p in parts}) != 1:
    return None
  prefix, width, suffix = parts[0][1], len(parts[0][2]), parts[0][3]
  numbers = [int(p[2]) for p in parts]
  starts = [start for start in (0, 1) if start <= min(numbers) and max(numbers) < start + count]
  if len(starts) != 1:
    return None
  return [f'{prefix}{i:0{width}d}{suffix}' for i in range(starts[0], starts[0] + count)]


def _align(
  field: str, column: Column, classes: Sequence[str], unlabeled: str, names: Sequence[str], root: Path
) -> np.ndarray:
  """Returns a column's labels in the order of `names`, int32 [N], -1 where it has none."""
  values = indices(column, classes, unlabeled)
  labels = np.full(len(names), -1, np.int32)
  if column.images is None:
    short = len(values) > len(names) if field == 'verified' else len(values) != len(names)
    if short:
      most = 'at most one row' if field == 'verified' else 'one row'
      raise UserError(
        f'{column.where}: has {len(values)} labels for the {len(names)} images in {root}; expected {most} an image.'
      )
    labels[: len(values)] = values
    return labels
  rows, missing = label_file.rows_of(column, names)
  if missing and field != 'labels':  # those of the given labels are listed with the other bad images
    row = missing[0]
    raise UserError(
      f'{column.where}: {column.places[row]} names the image {column.images[row]!r}, which is not in {root}'
      f' ({len(missing)} such rows).'
    )
  labels[rows[rows >= 0]] = values[rows >= 0]
  if field == 'labels' and len(rows) - len(missing) != len(names):
    without = sorted(set(range(len(names))) - set(rows.tolist()))
    lost = (
      f' Its {column.places[missing[0]]} names {column.images[missing[0]]!r}, which is not there.' if missing else ''
    )
    raise UserError(
      f'{column.where}: {len(without)} of {len(names)} images in {root} have no row, the first is '
      f'{names[without[0]]!r}; expected a row for each (label {unlabeled!r} for an unlabeled one).{lost}'
    )
  return labels
