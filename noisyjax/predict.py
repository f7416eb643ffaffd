"""Finished runs as functions from images to labels. What normalises images is inside, not left to the caller."""

import csv
import dataclasses
import functools
import io
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

from noisyjax import checkpoint, config as configs, evaluate, step, writer
from noisyjax.data import files, label_file, pixels
from noisyjax.data.decode import check_bad
from noisyjax.data.labels import indices
from noisyjax.errors import UserError, check_choice
from noisyjax.log import log
from noisyjax.models import conv
from noisyjax.net import Net
from noisyjax.state import Snapshot


@dataclasses.dataclass(frozen=True)
class Predictor:
  """A finished run, callable.

  Attributes:
    classes: names. shape: (H, W, C) of the images it takes. name: of the run.
    fit: how it brings other sizes to its own. unlabeled: the word for "no label" in its label files.
  """

  classes: tuple[str, ...]
  shape: tuple[int, int, int]
  name: str
  fit: str
  unlabeled: str
  _probs: Callable[[np.ndarray], np.ndarray]

  def probs(self, images: np.ndarray) -> np.ndarray:
    """Returns class probabilities: [C] for one image [H, W, C], [n, C] for a batch [n, H, W, C].

    Args:
      images: uint8, or floats in 0-255.
    Raises:
      UserError: another shape, values out of 0-255, or floats that seem to lie in 0-1.
    """
    images = np.asarray(images)
    single = images.ndim == 3
    batch = images[None] if single else images
    if batch.shape[1:] != self.shape:
      batches = f'(n, {", ".join(map(str, self.shape))})'
      raise UserError(f'images: found shape {images.shape}, expected {self.shape} or {batches}.')
    empty = np.zeros((0, len(self.classes)), np.float32)
    out = self._probs(pixels.normalised(batch)[0]) if len(batch) else empty
    return out[0] if single else out

  def __call__(self, images: np.ndarray) -> int | np.ndarray:
    """Returns the label: an int for one image, int32 [n] for a batch; arguments as in `probs`."""
    probs = self.probs(images)
    return int(probs.argmax()) if probs.ndim == 1 else probs.argmax(1).astype(np.int32)


def load(workdir: str | Path, select: str = '') -> Predictor:
  """Returns a predictor from a finished run.

  Args:
    workdir: of the run. select: "best" (by validation) or "last"; "" = what the run stands for (`config.select`).
  Raises:
    UserError: no finished run there, or damaged weights.
  """
  folder = Path(workdir)
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: not a finished run: it has no result.json.')
  config = configs.restored(writer.read_json(folder / 'config.json'))
  facts = writer.read_json(folder / 'model.json')
  config = configs.phases(config)[-1][2]  # what the last phase overrode is part of its networks
  strategy = configs.build_strategy(config, facts['strategy'])
  if config.model.conv not in conv.kinds():  # auto, or of the machine that trained it: parameters are the same
    config.model.conv = 'auto'
  model = configs.build_model(config, len(facts['classes']) + strategy.extra_classes)
  shape = tuple(facts['shape'])
  select = check_choice('select', select or facts['selected'], ('best', 'last'))
  if hasattr(model, 'apply'):
    if not (folder / 'weights' / select).exists():
      raise UserError(f'{folder}: has no {select!r} weights; the run had no validation (data.val).')
    net = Net(model, tuple(facts['mean']), tuple(facts['std']), facts['networks'])
    template = jax.eval_shape(lambda: Snapshot(*net.init(jax.random.key(0), np.zeros((2, *shape), np.uint8))))
    snapshot = checkpoint.load_weights(folder / 'weights' / select, template)
    probs = lambda images: step.predict(net, strategy, snapshot, images, config.eval_batch_size)[0]
  else:
    state = writer.read_npz(folder / 'weights.npz')
    probs = lambda images: model.predict_proba(state, np.round(images).astype(np.uint8))
  name = folder.name or folder.resolve().name  # "." has none
  return Predictor(tuple(facts['classes']), shape, name, config.data.fit, config.data.unlabeled, probs)


def load_all(workdirs: list[str]) -> list[Predictor]:
  """Loads several runs; where folders share a name ("seed=0"), each is called by its path below their common parent."""
  members = [load(w) for w in workdirs]
  paths = [Path(w).resolve() for w in workdirs]
  if len({m.name for m in members}) == len(members) or len(set(paths)) < len(paths):
    return members
  parent = os.path.commonpath(paths)
  return [dataclasses.replace(m, name=p.relative_to(parent).as_posix()) for m, p in zip(members, paths)]


def ensemble(members: Sequence[Predictor]) -> Predictor:
  """Returns the soft vote: the mean of the members' probabilities.

  Raises:
    UserError: members whose class names or image shapes differ.
  """
  members = tuple(members)  # the caller may go on with the list
  first = members[0]
  for field in ('classes', 'shape'):
    _same(members, field, 'ensemble: only runs of the same classes and image shape can vote together')
  vote = lambda images: functools.reduce(np.add, (m.probs(images) for m in members)) / len(members)
  return dataclasses.replace(first, name='ensemble', _probs=vote)


def _same(predictors: Sequence[Predictor], field: str, why: str) -> None:
  first = predictors[0]
  for other in predictors[1:]:
    found, expected = getattr(other, field), getattr(first, field)
    if found != expected:
      raise UserError(f'{why}: {other.name} has {field} {found}, and {first.name} {expected}.')


def predict_files(
  predictors: list[Predictor], images: str, labels: str = '', skip_bad: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray | None, dict[int, str]]:
  """Predicts a folder or zip of images, in the sorted order of their names.

  Args:
    predictors: whose columns. images: folder or zip.
    labels: a label file in either form that `data.labels` takes, or "". skip_bad: go on without unreadable images.
  Returns:
    name → int32 [n] predictions, in the order of the predictors; the labels int32 [n] or None; place → image name of
    the n images, where one that was left out keeps its place.
  """
  columns, truth, names, notes = {}, None, {}, []
  with files.open_images(images) as found:
    for p in predictors:
      height, width, channels = p.shape
      if height != width:
        raise UserError(f'{p.name}: takes images of {width}x{height}; a folder can be fitted to squares only.')
      decoded = found.decoded(height, p.fit, channels)
      notes = check_bad(decoded.bad, skip_bad, str(images), '--skip_bad')
      names = {int(i): found.names[i] for i in decoded.good}
      columns[_free(p.name, columns)] = p(decoded.images)
    if labels:
      _same(predictors, 'classes', f'--labels: {labels} cannot score runs of different classes')
      column = label_file.read_column(labels)
      values = indices(column, predictors[0].classes, predictors[0].unlabeled)
      if column.images is None:
        if len(values) != len(found.names):
          raise UserError(f'{labels}: has {len(values)} labels, expected {len(found.names)}, one an image of {images}.')
        label_file.check_order(column, found.names)
        truth = values[decoded.good]
      else:
        rows, missing = label_file.rows_of(column, found.names)
        if missing:
          raise UserError(
            f'{labels}: names {len(missing)} images that are not in {images}, first {column.images[missing[0]]!r}.'
          )
        every = np.full(len(found.names), -1, np.int32)
        every[rows] = values
        truth = every[decoded.good]
      if not (truth >= 0).any():
        raise UserError(f'{labels}: has no label for any of the {len(truth)} images; expected some to score against.')
  for note in notes:
    log.warning(note)
  return columns, truth, names


def _free(name: str, taken: dict) -> str:
  """Returns the name, numbered where another run has it."""
  numbered = (f'{name}_{i}' for i in itertools.count(2))
  return next(n for n in itertools.chain([name], numbered) if n not in taken)


def write_csv(path: str | Path, columns: dict[str, np.ndarray], index: Iterable[int]) -> None:
  """Writes `label_prediction.csv`: the images' places (see `predict_files`) and one column of labels per run."""
  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerows([['', *columns], *([i, *row] for i, row in zip(index, zip(*columns.values())))])
  writer.write_text(path, text.getvalue())


def reports(columns: dict[str, np.ndarray], truth: np.ndarray, classes: tuple[str, ...]) -> str:
  """Returns scikit-learn's classification report of each column."""
  return '\n'.join(
    f'--- {name} ---\n{evaluate.report(truth[truth >= 0], predicted[truth >= 0], classes)[0]}'
    for name, predicted in columns.items()
  )
