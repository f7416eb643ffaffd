"""A tree with a folder for each class, as a folder or a zip: `cat/1.jpg`, `dog/2.jpg`, `undefined/3.jpg`.

Images of the folder `config.unlabeled` are unlabeled. A tree whose top folders are `train` and `test` declares its test
part. Class numbers follow the sorted folder names, or `config.classes`.
"""

from pathlib import Path, PurePosixPath

import numpy as np

from noisyjax.data import dataset, decode, files, label_file, labels
from noisyjax.errors import UserError


def load(config) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the tree at `config.path`; `config.truth` is a CSV `image,label` with paths below it, for the audit.

  Raises:
    UserError: listing all images that cannot be read, unless `config.skip_bad`; for images outside class folders, and
      for class folders that `config.classes` does not name.
  """
  if not config.path:
    raise UserError('data.path is empty; expected a folder or zip with a folder for each class.')
  root = Path(config.path).expanduser()
  with files.open_images(root) as found:
    parts = [PurePosixPath(name).parts for name in found.names]
    split = {'train', 'test'} == set(found.folders)
    named = sorted(f for f in found.folders if f.lower() in ('train', 'test', 'val', 'valid', 'validation'))
    if named and not split:
      raise UserError(
        f'{root}: its folders are {", ".join(found.folders)}; expected a folder for each class, or train and test with '
        f'such folders and nothing beside them. If {named[0]!r} is a class, rename its folder.'
      )
    depth = 1 if split else 0
    outside = [name for name, part in zip(found.names, parts) if len(part) < depth + 2]
    if outside:
      raise UserError(
        f'{root}: {len(outside)} images lie outside the class folders: {", ".join(outside[:5])}'
        f'{", …" if len(outside) > 5 else ""}.'
      )
    folders = {part[depth] for part in parts} | (set() if split else set(found.folders))
    classes = _classes(root, folders - {config.unlabeled}, tuple(config.classes))
    decoded = found.decoded(config.size, config.fit, config.channels, config.cache)
  left_out = decode.check_bad(decoded.bad, config.skip_bad, str(root))
  number = {name: c for c, name in enumerate(classes)} | {config.unlabeled: -1}
  given = np.array([number[part[depth]] for part in parts], np.int32)
  test = np.array([split and part[0] == 'test' for part in parts])
  truth = np.full(len(parts), -1, np.int32)
  if config.truth:
    column = label_file.read_column(config.truth)
    if column.images is None:
      raise UserError(f"{config.truth}: data.truth of a class-folder tree needs the header 'image,label'.")
    rows, _ = label_file.rows_of(column, found.names)
    truth[rows[rows >= 0]] = labels.indices(column, classes, config.unlabeled)[rows >= 0]
  made = dataset.make(
    decoded.images,
    given[decoded.good],
    classes,
    names=[found.names[i] for i in decoded.good],
    test=test[decoded.good],
    digests=decoded.digests,
    notes=[*found.notes, *left_out],
    root=root,
  )
  return made, truth[decoded.good]


def _classes(root: Path, folders: set[str], wanted: tuple[str, ...]) -> tuple[str, ...]:
  unknown = sorted(folders - set(wanted)) if wanted else []
  if unknown:
    raise UserError(f'{root}: the folder {unknown[0]!r} is none of data.classes ({", ".join(wanted)}).')
  return wanted or tuple(sorted(folders))
