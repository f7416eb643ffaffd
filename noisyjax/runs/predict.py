"""Finished runs as functions from images to labels. The functions include the normalization of the images."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisyjax.data import features, origin as origins, pixels
from noisyjax.data.origin import Origin
from noisyjax.engine import score
from noisyjax.runs import selected
from noisyjax.system import parquet
from noisyjax.system.errors import UserError
from noisyjax.system.log import log


@dataclasses.dataclass(frozen=True)
class Predictor:
  """A finished run as a function from images to labels.

  `probs` lists the kinds of images that all methods accept. One image gives one result, several images give an array
  or list of results.

  Attributes:
    classes: class names.
    shape: shape (H, W, C) of the training images, or (V, 1, F) of features in V views.
    name: name of the run.
    fit: how images of another size are resized: 'exact', 'crop' or 'pad'; 'exact' is applied as 'crop'.
    unlabeled: word for "no label" in the label files of the run.
    origin: properties of the training images as files; None: unknown.
    folder: workdir of the run; None: unknown.
    takes_features: whether the run predicts from the features of a file and not from images.
  """

  classes: tuple[str, ...]
  shape: tuple[int, int, int]
  name: str
  fit: str
  unlabeled: str
  _probs: Callable[[Any], np.ndarray]
  origin: Origin | None = None
  folder: Path | None = None
  takes_features: bool = False
  _told: set[str] = dataclasses.field(default_factory=set, compare=False, repr=False)

  def trained_on(self, digests: Iterable[str]) -> int:
    """Returns how many of these digests belong to training images of the run; 0 if its training rows are unknown."""
    path = self.folder and self.folder / 'samples.parquet'
    if not path or not path.exists():
      return 0
    columns, _ = parquet.read(path, ('id', 'split'))
    own = {str(name).partition('-')[0] for name in columns['id'][columns['split'] == 'train']}  # "-1": copy
    return sum(digest in own for digest in map(str, digests))

  def probs(self, images: Any) -> np.ndarray:
    """Returns class probabilities: [C] for one image, [n, C] for several.

    Args:
      images: a path, a PIL image, encoded bytes, or an array [H, W, C] or [H, W]; a list of these; or an array
        [n, H, W, C] or [n, H, W]. Arrays are uint8 or another type that `noisyjax.data.pixels.normalised` accepts.
        Images of another size are resized as in training; the first time, a warning is logged. A run that
        `takes_features` accepts arrays [F], [n, F], [n, V, F] or [n, V, 1, F] instead.

    Raises:
      UserError: an image cannot be read, a shape is wrong, values lie outside 0-255, or floats seem to lie in 0-1.
    """
    if self.takes_features:
      rows = np.asarray(images)
      out = self._probs(self._features(rows))
      return out[0] if rows.ndim == 1 else out
    items, single = self._items(images)
    out = self._probs(self._fitted(items)) if len(items) else np.zeros((0, len(self.classes)), np.float32)
    return out[0] if single else out

  def __call__(self, images: Any) -> int | np.ndarray:
    """Returns class numbers: an int for one image, int32 [n] for several. Arguments and errors: see `probs`."""
    probs = self.probs(images)
    return int(probs.argmax()) if probs.ndim == 1 else probs.argmax(1).astype(np.int32)

  def names(self, images: Any) -> str | list[str]:
    """Returns class names: one for one image, a list for several. Arguments and errors: see `probs`."""
    labels = self(images)
    return self.classes[labels] if isinstance(labels, int) else [self.classes[label] for label in labels]

  def _items(self, images: Any) -> tuple[Any, bool]:
    """Returns the images as an array or a list, and whether the caller passed a single image."""
    if isinstance(images, str | Path | bytes | dict | Image.Image):
      return [images], True
    if not hasattr(images, '__array__') or (array := np.asarray(images)).dtype.kind in 'OUST':  # a list or column
      return list(images), False
    gray = array.ndim == 3 and self.shape == (*array.shape[1:], 1)
    channels = {1, 3, 4} & ({array.shape[0], array.shape[-1]} if array.ndim == 3 else set())
    if array.ndim == 2 or (channels and not gray):
      return array[None], True
    return array, False

  def _fitted(self, items: Any) -> np.ndarray:
    """Returns images as uint8 [n, H, W, C] of shape `self.shape`; resizes them if needed."""
    notes = []
    if isinstance(items, np.ndarray):
      items, notes = pixels.normalised(items)
    if not isinstance(items, np.ndarray) or items.shape[1:] != self.shape:
      self.tell(origins.of(origins.some(items)))
      height, width, channels = self.shape
      size, fit = self.fitting
      items, more = pixels.gathered(list(items), size, fit, channels)
      notes = [*notes, *more]
      if items.shape[1:] != self.shape:
        raise UserError(
          f'images: found {items.shape[2]}x{items.shape[1]} pixels; {self.name} takes {width}x{height} alone (only '
          'squares are fitted).'
        )
    for note in notes:
      self._say(note, note)
    return items

  def _features(self, rows: np.ndarray) -> np.ndarray:
    """Returns features as [n, V, 1, F]; raises UserError if they are not F numbers, as in training."""
    if rows.ndim not in (1, 2, 3, 4) or rows.dtype.kind not in 'fiu' or rows.shape[-1] != self.shape[-1]:
      raise UserError(
        f'{self.name}: found {rows.dtype} {rows.shape}; expected features of {self.shape[-1]} numbers, [n, F] or '
        '[n, V, F], from the network whose features the run was trained on.'
      )
    if not np.isfinite(rows).all():
      row = 0 if rows.ndim == 1 else int(np.argmin(np.isfinite(rows).reshape(len(rows), -1).all(1)))
      raise UserError(f'{self.name}: row {row} (from 0) of the features is not finite (NaN or inf); expected numbers.')
    views = -1 if rows.ndim > 2 else 1
    return rows.reshape(len(rows) if rows.ndim > 1 else 1, views, 1, self.shape[-1])

  @property
  def fitting(self) -> tuple[int, str]:
    """Arguments `size` (in pixels; 0: no resizing) and `fit` of `decode.decode_all`, for images of this run."""
    height, width, _ = self.shape
    if height != width:
      return 0, 'exact'  # images are resized to squares only
    return height, 'crop' if self.fit == 'exact' else self.fit

  def tell(self, asked: Origin | None) -> None:
    """Warns about differences between the training images and other images, and about resizing; each only once.

    Args:
      asked: origin of the images to predict; None: unknown.
    """
    if text := origins.differences(self.origin, asked):
      self._say('differ', f'These images {text}')
    height, width, _ = self.shape
    if asked is not None and (asked.sides[0], asked.sides[2]) != (height, height) and height == width:
      how = f'by {self.fit}, as in training' if self.fit != 'exact' else 'by crop; in training all had that size'
      self._say('fitted', f'Images of another size are fitted to {width}x{height} {how}.')

  def _say(self, kind: str, note: str) -> None:
    """Logs a note as a warning, unless a note of this kind was logged before."""
    if kind not in self._told:
      self._told.add(kind)
      log.warning('%s: %s', self.name, note)


def load(workdir: str | Path, select: str = '') -> Predictor:
  """Returns a predictor from a finished run.

  Args:
    workdir: folder of the run.
    select: epoch of the weights, "best" (by validation) or "last"; "": the one that the run reports.

  Raises:
    UserError: there is no finished run, or the weights are missing or damaged, or belong to another run.
  """
  folder = Path(workdir)
  run = selected.load(folder, select)
  config, chunk = run.config, run.config.eval_batch_size
  shape = tuple(run.facts['shape'])
  if run.net is not None:
    probs = lambda images: score.predict(run.net, run.strategy, run.weights, images, chunk)[0]
    if config.data.features:
      shape, of_features = tuple(run.facts['features_of']), probs
      by = features.extractor(config.data.features)
      probs = lambda images: of_features(features.extract(images, by, config.data.cache))
  else:
    probs = lambda images: run.model.predict_proba(run.weights, np.asarray(images))
  name = folder.name or folder.resolve().name  # Path('.') has no name
  facts = run.facts
  origin = facts.get('origin') and Origin(**facts['origin'])
  of_file = getattr(run.model, 'takes_features', False) and not config.data.features
  fit, unlabeled = config.data.fit, config.data.unlabeled
  return Predictor(tuple(facts['classes']), shape, name, fit, unlabeled, probs, origin, folder, of_file)


def load_all(workdirs: list[str]) -> list[Predictor]:
  """Loads several runs.

  If different folders have the same name, such as "seed=0", every run is named by its path relative to their common
  parent folder.

  Args:
    workdirs: folders of the runs.

  Raises:
    UserError: see `load`.
  """
  members = [load(w) for w in workdirs]
  paths = [Path(w).resolve() for w in workdirs]
  if len({m.name for m in members}) == len(members) or len(set(paths)) < len(paths):
    return members
  parent = os.path.commonpath(paths)
  return [dataclasses.replace(m, name=p.relative_to(parent).as_posix()) for m, p in zip(members, paths)]


def ensemble(members: Sequence[Predictor]) -> Predictor:
  """Returns a predictor whose probabilities are the mean of the members' probabilities (soft voting).

  Args:
    members: predictors, at least one.

  Raises:
    UserError: class names or image shapes of the members differ.
  """
  members = tuple(members)  # a copy, because the caller may change its list later
  first = members[0]
  for field in ('classes', 'shape'):
    check_same(members, field, 'ensemble: only runs of the same classes and image shape can vote together')
  vote = lambda images: functools.reduce(np.add, (m._probs(images) for m in members)) / len(members)
  return dataclasses.replace(first, name='ensemble', _probs=vote, _told=set())


def check_same(predictors: Sequence[Predictor], field: str, why: str) -> None:
  """Checks that all predictors have the same value of an attribute.

  Args:
    predictors: predictors, at least one.
    field: name of the attribute.
    why: start of the error message.

  Raises:
    UserError: a predictor differs from the first one.
  """
  first = predictors[0]
  for other in predictors[1:]:
    found, expected = getattr(other, field), getattr(first, field)
    if found != expected:
      raise UserError(f'{why}: {other.name} has {field} {found}, and {first.name} {expected}.')
