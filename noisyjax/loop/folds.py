"""The folds of a loop: drawn once, over all training rows of version 0, and the same in all rounds."""

from pathlib import Path

import numpy as np

from noisyjax.data import split
from noisyjax.data.dataset import Dataset
from noisyjax.runs import identity
from noisyjax.system import storage
from noisyjax.system.errors import UserError, listed


def drawn(data: Dataset, train: np.ndarray, alike: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
  """Returns the rows of each fold, stratified by label (rows without one are a stratum).

  Args:
    data: data set with the labels of version 0.
    train: training rows.
    alike: int [N], equal for rows that share a fold, see `duplicates.alike`.
    folds: number of folds; 0: there are none.
    seed: `data.seed`.

  Raises:
    UserError: a class has no label, or too few for a network to see one in every fold.
  """
  labels = np.where(data.given >= 0, data.given, data.verified)
  seen = [len(np.unique(alike[train[labels[train] == k]])) for k in range(len(data.classes))]
  if folds and (few := [f'{name!r} ({n})' for name, n in zip(data.classes, seen) if n < 2]):
    raise UserError(
      f'loop: {len(few)} of {len(data.classes)} classes have too few labeled images in version 0: {listed(few)}. '
      'Expected 2 or more of each: no rule finds a class that no network has seen. Label some, or leave the class out '
      'of data.classes.'
    )
  return [held for _, held in split.folds(train, labels, alike.astype(str), folds, seed)] if folds else []


def write(folder: Path, parts: list[np.ndarray]) -> list[Path]:
  """Writes the row numbers of each fold to a file, unless it is there.

  Raises:
    Stale: the folder has other folds.
  """
  storage.make_folder(folder)
  paths = []
  for number, rows in enumerate(parts):
    path, text = folder / f'fold={number}.txt', ''.join(f'{row}\n' for row in rows)
    if not path.exists():
      storage.write_text(path, text)
    elif storage.read_text(path) != text:
      raise identity.stale(folder.parent, f'{path.name} has the rows of another division of the data', rerun=False)
    paths.append(path)
  return paths
