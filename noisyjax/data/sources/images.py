"""A folder or zip of images, and files of labels.

`path` is a folder that holds `images/` or `images.zip` beside the label files, or the folder or zip of images itself.
A label file (see `data.label_file`) is one of

* labels alone, one a row, in the sorted order of the image names. `labels` (given) and `truth` cover all images;
  `verified` covers the first rows, the rest is unchecked;
* a table whose rows name their images. `labels` should name every image (`unlisted` says what becomes of the others);
  `verified` and `truth` may name some.

Classes are decided over given and verified labels together. Rows follow the sorted image names in both cases.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, decode, files, home, label_file, match, origin
from noisyjax.data.column import Column
from noisyjax.data.label_notes import missing_note, position_note
from noisyjax.data.labels import class_names, indices
from noisyjax.system import reading
from noisyjax.system.errors import UserError, check_choice


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the images of `config.path` with `config.labels`, `config.verified` and `config.truth` ('' = none).

  Raises:
    UserError: listing all images that are missing or cannot be read, unless `config.skip_bad`; and for labels that do
      not fit the images or the classes.
  """
  if not config.path:
    raise UserError('data.path is empty; expected a folder or zip of images.')
  root, base = locate(config.path)
  with files.open_images(root) as found:
    read = {
      field: label_file.read_column(
        _label_path(field, config[field], base, root), config.image_column, config.label_column
      )
      for field in ('labels', 'verified', 'truth')
      if config[field]
    }
    names, missing = _expected(found.names, read)
    columns = {field: match.aligned(c, names, root, part=field == 'verified') for field, c in read.items()}
    classes, labels = _labels(columns, config)
    unlisted, notes = _unlisted(columns.get('labels'), config)
    size = config.size or origin.usual_side(found, config.fit)
    decoded = found.decoded(size, config.fit, config.channels, config.cache)
    left_out = decode.check_bad([*missing, *decoded.bad], config.skip_bad, str(root))
  position = {name: i for i, name in enumerate(names)}
  if unlisted:
    kept = [k for k, i in enumerate(decoded.good) if position[found.names[i]] not in unlisted]
    decoded = decoded.take(kept)
  good_names = [found.names[i] for i in decoded.good]
  rows = np.array([position[name] for name in good_names], np.int64)  # the label rows of the images that are left
  none = np.full(len(names), -1, np.int32)
  made = dataset.make(
    decoded.images,
    labels.get('labels', none)[rows],
    classes,
    verified=labels.get('verified', none)[rows],
    names=good_names,
    digests=decoded.digests,
    notes=[*found.notes, *decoded.notes, *left_out, *_notes(columns, classes), *notes],
    root=root,
  )
  return made, labels.get('truth', none)[rows]


def _labels(columns: dict[str, Column], config: ConfigDict) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """Returns the classes, and the labels int32 [N] of each field."""
  legal = [column for field, column in columns.items() if field != 'truth']  # the truth names no classes
  classes = class_names(legal, config.unlabeled, config.classes)
  if 'truth' in columns and not config.classes:
    class_names(columns.values(), config.unlabeled)  # but names in one file and numbers in another are a mistake
  return classes, {field: indices(column, classes, config.unlabeled) for field, column in columns.items()}


def _notes(columns: dict[str, Column], classes: Sequence[str]) -> list[str]:
  """Returns what a person should know of the way given and verified labels were read."""
  legal = [column for field, column in columns.items() if field != 'truth']
  return [note for column in legal for note in (*column.notes, *position_note(column, classes))]


def _unlisted(given: Column | None, config: ConfigDict) -> tuple[set[int], list[str]]:
  """Returns the images to leave out since the given labels have no row for them, and notes on missing labels."""
  check_choice('data.unlisted', config.unlisted, ('unlabeled', 'skip', 'refuse'))
  if given is None:
    return set(), []
  without = match.without_row(given)
  notes = missing_note(given, config.unlabeled, without)
  if not without:
    return set(), notes
  text = (
    f'{given.where}: {len(without)} of {len(given.labels)} images have no row, the first is '
    f'{(given.images or ())[without[0]]!r}'
  )
  if config.unlisted == 'refuse':
    raise UserError(f'{text}; expected a row for each (data.unlisted=refuse).')
  if config.unlisted == 'skip':
    return set(without), [*notes, f'{text}; they are left out (data.unlisted=skip).']
  return set(), [*notes, f'{text}; they count as unlabeled (data.unlisted=skip leaves them out).']


def locate(path: str | Path) -> tuple[Path, Path]:
  """Returns (folder or zip of images, folder in which label files are looked for first) of a `data.path`."""
  path = reading.path_of(path, 'data.path')
  if not reading.kind(path):
    raise UserError(f'data.path: there is no folder or zip {str(path)!r}.{reading.near(path)}{home.hint(path)}')
  if reading.kind(path) == 'file':
    return path, path.parent
  inner = [p for p in (path / 'images', path / 'images.zip') if reading.kind(p)]
  return (inner[0] if inner else path), path


def _label_path(field: str, value: str, base: Path, root: Path) -> Path:
  path = reading.path_of(value, f'data.{field}')
  candidates = (base / path, root / path, path)  # metadata.csv lies among the images
  for candidate in candidates:
    if reading.kind(candidate):
      return candidate
  near = next(filter(None, map(reading.near, candidates)), '')
  where = 'here' if base.resolve() == Path.cwd() else f'in {base} or here'
  raise UserError(
    f"data.{field}: there is no file {value!r} {where}.{near} Set data.{field}='' if there is none.{home.hint(base)}"
  )


def _expected(names: Sequence[str], columns: dict[str, Column]) -> tuple[list[str], list[str]]:
  """Returns the images that the label files speak of, in row order, and a sentence for each that does not exist.

  Where rows name no images, a gap in numbered names shows which image is missing, so that the rows after it keep their
  labels.
  """
  whole = [column for field, column in columns.items() if field != 'verified' and column.images is None]
  count = len(whole[0].labels) if whole else len(names)
  full = _numbered(names, count) if count > len(names) else None
  if full is None:
    return list(names), []
  gone = sorted(set(full) - set(names))
  return full, [f'{name}: missing, {Path(whole[0].where).name} has a row for it' for name in gone]


def _numbered(names: Sequence[str], count: int) -> list[str] | None:
  """Returns the `count` names of a numbered series that `names` has gaps in; None unless there is exactly one such."""
  parts = [part for name in names if (part := re.fullmatch(r'(.*?)(\d+)(\.\w+)', name))]
  if len(parts) < len(names) or len({(p[1], len(p[2]), p[3]) for p in parts}) != 1:
    return None
  prefix, width, suffix = parts[0][1], len(parts[0][2]), parts[0][3]
  numbers = [int(p[2]) for p in parts]
  starts = [start for start in (0, 1) if start <= min(numbers) and max(numbers) < start + count]
  if len(starts) != 1:
    return None
  return [f'{prefix}{i:0{width}d}{suffix}' for i in range(starts[0], starts[0] + count)]
