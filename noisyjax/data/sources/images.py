"""A folder or zip of images, and files of labels.

`path` is a folder that contains `images/` or `images.zip` and the label files, or the folder or zip of images itself.
A label file (see `data.label_file`) is one of

* labels alone, one per row, in the sorted order of the image names. `labels` (given) and `truth` cover all images;
  `verified` covers the first rows, and the others are not verified;
* a table whose rows name their images. `labels` should name every image (`unlisted` determines how others are handled);
  `verified` and `truth` may name a part of the images.

Given and verified labels together determine the classes. In both cases rows follow the sorted image names.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import archive, dataset, decode, files, home, label_file, match, origin
from noisyjax.data.column import Column
from noisyjax.data.label_notes import position_note
from noisyjax.data.labels import class_names, indices
from noisyjax.data.sources import folders
from noisyjax.data.unlisted import left_out
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log

TABLES = ('.csv', '.tsv', '.json', '.jsonl', '.parquet', '.npy')  # suffixes of what may be a label file


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the images of `config.path` with `config.labels`, `config.verified` and `config.truth` ('' = none).

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: images are missing or unreadable and `config.skip_bad` is off, or labels do not fit the images or the
      classes.
  """
  if not config.path:
    raise UserError('data.path is empty; expected a folder or zip of images.')
  root, base = locate(config.path)
  with files.open_images(root) as found:
    paths = {f: _label_path(f, config[f], base, found) for f in ('labels', 'verified', 'truth') if config[f]}
    read = {
      field: _below(label_file.read_column(path, config.image_column, config.label_column, field), path, found)
      for field, path in paths.items()
    }
    _check_header(read, config)
    names, missing = _expected(found.names, read)
    columns = {field: match.aligned(c, names, root, part=field == 'verified') for field, c in read.items()}
    classes, labels = _labels(columns, config)
    unlisted, notes = left_out(columns.get('labels'), config)
    size = config.size or origin.usual_side(found.read, found.names, config.fit)
    decoded = found.decoded(size, config.fit, config.channels, config.cache)
    bad = decode.check_bad([*missing, *decoded.bad], config.skip_bad, str(root))
  position = {name: i for i, name in enumerate(names)}
  if unlisted:
    kept = [k for k, i in enumerate(decoded.good) if position[found.names[i]] not in unlisted]
    decoded = decoded.take(kept)
  good_names = [found.names[i] for i in decoded.good]
  rows = np.array([position[name] for name in good_names], np.int64)  # label rows of the remaining images
  none = np.full(len(names), -1, np.int32)
  for note in _notes({'truth': columns['truth']} if 'truth' in columns else {}, classes):
    log.warning('%s', note)  # logged only, because no output of a run may depend on the truth
  legal = {field: column for field, column in columns.items() if field != 'truth'}
  made = dataset.make(
    decoded.images,
    labels.get('labels', none)[rows],
    classes,
    verified=labels.get('verified', none)[rows],
    names=good_names,
    digests=decoded.digests,
    notes=[*found.notes, *decoded.notes, *bad, *_notes(legal, classes), *notes],
    root=root,
  )
  return made, labels.get('truth', none)[rows]


def _check_header(columns: dict[str, Column], config: ConfigDict) -> None:
  """Refuses verified labels in the order of the images whose first is probably a header: all others are given, too.

  The other columns cover all images, so that a header in them makes one label too many.

  Raises:
    UserError: the first verified label occurs nowhere else.
  """
  if not {'labels', 'verified'} <= columns.keys() or columns['verified'].images is not None or config.classes:
    return
  verified = columns['verified']
  parts = columns['labels'], verified.take([0]), verified.take(range(1, len(verified.labels)))
  given, first, rest = ({*class_names([column], config.unlabeled)} for column in parts)
  if first and rest and rest <= given and not first & given:
    raise verified.error(
      [0], "a label as in the other rows. If it is a header, change it to 'label'; if a class, list all in data.classes"
    )


def _labels(columns: dict[str, Column], config: ConfigDict) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """Returns the classes, and the labels of each field, int32 [N]."""
  legal = [column for field, column in columns.items() if field != 'truth']  # true labels do not define the classes
  classes = class_names(legal, config.unlabeled, config.classes)
  if 'truth' in columns and not config.classes:
    class_names(columns.values(), config.unlabeled)  # raises if one file has names and another has numbers
  return classes, {field: indices(column, classes, config.unlabeled) for field, column in columns.items()}


def _notes(columns: dict[str, Column], classes: Sequence[str]) -> list[str]:
  """Returns notes for the user on how labels were read."""
  return [note for column in columns.values() for note in (*column.notes, *position_note(column, classes))]


def locate(path: str | Path) -> tuple[Path, Path]:
  """Returns the folder or zip of images that a `data.path` leads to, and the folder to search first for label files."""
  path = reading.path_of(path, 'data.path')
  if not reading.kind(path):
    raise UserError(f'data.path: there is no folder or zip {str(path)!r}.{reading.near(path)}{home.hint(path)}')
  if reading.kind(path) == 'file':
    return path, path.parent
  inner = [p for p in (path / 'images', path / 'images.zip') if reading.kind(p)]
  return (inner[0] if inner else path), path


def _below(column: Column, path: Path, found: files.ImageFiles) -> Column:
  """Returns a column whose file lies beside images in a folder of the data with the path of that folder in the names.

  So Hugging Face has it, `train/metadata.csv`. A row there is of no image of that name in another folder.
  """
  if not path.parent.resolve().is_relative_to(found.root.resolve()):
    return column
  folder = path.parent.resolve().relative_to(found.root.resolve())
  below = [(folder / image).as_posix() for image in column.images or ()]
  return column._replace(images=below) if not {*found.names}.isdisjoint(below) else column


def _label_path(field: str, value: str, base: Path, found: files.ImageFiles) -> Path:
  """Returns the path of a label file; raises UserError if there is none."""
  root = found.root
  path = reading.path_of(value, f'data.{field}')
  candidates = (base / path, root / path, path)  # root: some data sets keep metadata.csv among the images
  for candidate in candidates:
    if reading.kind(candidate):
      return candidate
  if reading.kind(root) == 'file':
    with archive.open_archive(root) as packed:
      if inside := [name for name in packed.files if f'/{name}'.endswith(f'/{path.name}')]:
        raise UserError(
          f'data.{field}: {value!r} lies in the archive {root} as {inside[0]!r}; only images are read from it. Take '
          'the file out and put it beside the archive.'
        )
  near = next(filter(None, map(reading.near, candidates)), '')
  where = 'here' if base.resolve() == Path.cwd() else f'in {base} or here'
  cure = f"Set data.{field}='' if there is none."
  if field == 'labels':
    if tables := sorted({path.name for path in base.iterdir() if path.suffix.lower() in TABLES}):
      cure = f'The folder holds {listed(tables)}: name the one with the labels. {cure}'
    elif folders.has_classes(found):
      cure = 'If the images lie in a folder for each class, set data.source=folders.'
  raise UserError(f'data.{field}: there is no file {value!r} {where}.{near} {cure}{home.hint(base)}')


def _expected(names: Sequence[str], columns: dict[str, Column]) -> tuple[list[str], list[str]]:
  """Returns the names of the images that the label files describe, in row order, and a message for each missing image.

  If rows do not name their images and the image names are numbered, a gap in the numbers shows which image is missing,
  so that the rows after it keep their labels.
  """
  whole = [column for field, column in columns.items() if field != 'verified' and column.images is None]
  count = len(whole[0].labels) if whole else len(names)
  full = _numbered(names, count) if count > len(names) else None
  if full is None:
    return list(names), []
  gone = sorted(set(full) - set(names))
  return full, [f'{name}: missing, {Path(whole[0].where).name} has a row for it' for name in gone]


def _numbered(names: Sequence[str], count: int) -> list[str] | None:
  """Returns the `count` names of the numbered series to which `names` belong; None unless there is exactly one."""
  parts = [part for name in names if (part := re.fullmatch(r'(.*?)(\d+)(\.\w+)', name))]
  if len(parts) < len(names) or len({(p[1], len(p[2]), p[3]) for p in parts}) != 1:
    return None
  prefix, width, suffix = parts[0][1], len(parts[0][2]), parts[0][3]
  numbers = [int(p[2]) for p in parts]
  starts = [start for start in (0, 1) if start <= min(numbers) and max(numbers) < start + count]
  if len(starts) != 1:
    return None
  return [f'{prefix}{i:0{width}d}{suffix}' for i in range(starts[0], starts[0] + count)]
