"""Predictions for the images of a folder or archive: CSV, counts per class, and a report if labels are known."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from noisyjax.data import feature_files, files, label_file, match, origin as origins, packed, plausible
from noisyjax.data.column import Column
from noisyjax.data.decode import check_bad
from noisyjax.data.label_notes import position_note
from noisyjax.data.labels import indices
from noisyjax.estimate import scoring
from noisyjax.reports import formatting
from noisyjax.runs.predict import Predictor, check_same
from noisyjax.system import storage
from noisyjax.system.errors import UserError, listed, one_line
from noisyjax.system.log import log, plain


class Predicted(NamedTuple):
  """Predictions of runs on n images.

  Attributes:
    names: index → name of each of the n images. Unreadable images are missing, but still count in the index.
    probs: name of the run → class probabilities, float32 [n, C].
    classes: name of the run → its C class names.
    truth: labels to score against, int32 [n]; -1: unknown; None: no labels were given.
  """

  names: dict[int, str]
  probs: dict[str, np.ndarray]
  classes: dict[str, tuple[str, ...]]
  truth: np.ndarray | None

  @property
  def labels(self) -> dict[str, np.ndarray]:
    """Name of the run → predicted classes, int32 [n]."""
    return {name: probs.argmax(1).astype(np.int32) for name, probs in self.probs.items()}


def predict_files(
  predictors: list[Predictor],
  images: str,
  labels: str = '',
  skip_bad: bool = False,
  image_column: str = '',
  label_column: str = '',
) -> Predicted:
  """Predicts a folder or zip of images, in the sorted order of their names; a pack or file of features, in its order.

  Args:
    predictors: the runs.
    images: folder, zip, tar or pack; for runs on a file of features, another such file.
    labels: label file to score against, in a format of `label_file.read_column`; "": none.
    skip_bad: whether to skip unreadable images instead of raising an error.
    image_column: column of the label file that names the image; "": found by its name or content.
    label_column: column of the label file that holds the label; "": found by its name or content.

  Returns:
    The predictions, in the order of the predictors. If runs share a name, the later ones get a number, as in "name_2".

  Raises:
    UserError: images cannot be read or have a wrong size, or labels cannot be matched to images or classes.
  """
  for p in predictors:
    if p.takes_features and not feature_files.is_one(images):
      raise UserError(
        f'--images: {p.name} was trained on a file of features, not on images; expected such a file '
        f'({listed(feature_files.FORMATS)}) with {p.shape[-1]} features a row, found {images}.'
      )
    if not p.takes_features and feature_files.is_one(images):
      raise UserError(f'--images: {images} is a file of features, and {p.name} predicts from images; expected those.')
  kind = 'labels' if label_column else 'truth'  # of a file with several kinds of labels: the true ones
  column = label_file.read_column(labels, image_column, label_column, kind) if labels else None
  predicted = _of_features if feature_files.is_one(images) else _of_pack if packed.is_pack(images) else _of_files
  names, probs, column, notes = predicted(predictors, images, column, skip_bad)
  truth = None if column is None else _truth(column, labels, predictors, np.array([*names]), probs, notes)
  for note in notes:
    log.warning(note)
  return Predicted(names, probs, dict(zip(probs, (p.classes for p in predictors))), truth)


# Names of the images by index, probabilities by run, labels in the order of the images, and notes.
_Found = tuple[dict[int, str], dict[str, np.ndarray], Column | None, list[str]]


def _of_files(predictors: list[Predictor], path: str, column: Column | None, skip_bad: bool) -> _Found:
  """Predicts the images of a folder, zip or tar."""
  probs, names, notes = {}, {}, []
  with files.open_images(path) as found:
    asked = origins.of_files(found, found.names)
    for p in predictors:
      size, fit = p.fitting
      decoded = found.decoded(size, fit, p.shape[-1])
      if decoded.images.shape[1:] != p.shape:
        height, width = decoded.images.shape[1:3]
        raise UserError(
          f'{p.name}: takes images of {p.shape[1]}x{p.shape[0]} alone, those of {path} are {width}x{height}; only '
          'squares are fitted.'
        )
      notes = [*found.notes, *decoded.notes, *check_bad(decoded.bad, skip_bad, path, '--skip_bad')]
      names = {int(i): found.names[i] for i in decoded.good}
      if p.name != 'ensemble':
        p.tell(asked)
      name = _free(p.name, probs)
      if column is not None:
        _warn_of_trained(p, name, decoded.digests)
      probs[name] = p._probs(decoded.images)
    return names, probs, column and match.aligned(column, found.names, path), notes


def _of_pack(predictors: list[Predictor], path: str, column: Column | None, skip_bad: bool) -> _Found:
  """Predicts the images of a pack, which must have the size that the runs take."""
  del skip_bad  # packing has left them out
  folder = Path(path)
  pixels, rows = packed.images(folder, packed.facts(folder)), packed.columns(folder, ('id', 'name'))
  names, probs = rows['name'].tolist(), {}
  for p in predictors:
    if pixels.shape[1:] != p.shape:
      height, width, channels = pixels.each
      raise UserError(
        f'{p.name}: takes images of {p.shape[1]}x{p.shape[0]}x{p.shape[2]}, those of the pack {path} are '
        f'{width}x{height}x{channels}. Pack them by --size={p.shape[0]}.'
      )
    name = _free(p.name, probs)
    if column is not None:
      _warn_of_trained(p, name, [id[:64] for id in rows['id'].tolist()])
    probs[name] = p._probs(pixels)
  return dict(enumerate(names)), probs, column and match.aligned(column, names, path), []


def _of_features(predictors: list[Predictor], path: str, column: Column | None, skip_bad: bool) -> _Found:
  """Predicts the rows of a file of features; a row without a name is named by its index."""
  del skip_bad
  columns = feature_files.read(Path(path))
  rows = columns['features']
  names = [str(name) for name in columns.get('names', range(len(rows)))]
  probs = {}
  for p in predictors:
    probs[_free(p.name, probs)] = p.probs(rows)
  return dict(enumerate(names)), probs, column and feature_files.aligned(column, columns, Path(path)), []


def _warn_of_trained(predictor: Predictor, name: str, digests: Sequence[str] | np.ndarray) -> None:
  """Warns of images that the run was trained on."""
  if known := predictor.trained_on(digests):
    log.warning('%s: was trained on %d of these %d images: their score says little.', name, known, len(digests))


def _truth(
  column: Column,
  labels: str,
  predictors: list[Predictor],
  good: np.ndarray,
  probs: dict[str, np.ndarray],
  notes: list[str],
) -> np.ndarray:
  """Returns the labels to score against, int32 [n]; notes on them are appended.

  Args:
    column: labels in the order of the images.
    labels: name of their file.
    predictors: the runs.
    good: indices of the images that were read.
    probs: predictions by run.
    notes: list to append to.

  Raises:
    UserError: the runs have different classes, or no image has a label.
  """
  check_same(predictors, 'classes', f'--labels: {labels} cannot score runs of different classes')
  classes = predictors[0].classes
  truth = indices(column, classes, predictors[0].unlabeled)
  notes += [*column.notes, *position_note(column, classes)]
  if without := match.without_row(column):
    notes.append(f'{labels}: {len(without)} of {len(truth)} images have no row and are not scored.')
  truth = truth[good]
  if not (truth >= 0).any():
    raise UserError(f'{labels}: has no label for any of the {len(truth)} images; expected some to score against.')
  for name, found in probs.items():
    doubt = plausible.doubt(truth, found.argmax(1), classes, f'the predictions of {name}')
    notes += [doubt] if doubt else []
  return truth


def _free(name: str, taken: dict) -> str:
  """Returns the name, with a number appended if it is taken."""
  numbered = (f'{name}_{i}' for i in itertools.count(2))
  return next(n for n in itertools.chain([name], numbered) if n not in taken)


def to_csv(found: Predicted, with_probs: bool = False) -> str:
  """Returns a CSV with one row per image and the columns `image,label,confidence`; labels are class names.

  With several runs, each run has its own columns `label_RUN,confidence_RUN` (and `CLASS_RUN`).

  Args:
    found: the predictions.
    with_probs: whether to add one column per class with its probability.
  """
  head, columns = ['image'], [found.names.values()]
  for run, probs in found.probs.items():
    classes = found.classes[run]
    own = ['label', 'confidence', *(f'{c} (class)' if c in RESERVED else c for c in classes if with_probs)]
    head += own if len(found.probs) == 1 else [f'{name}_{run}' for name in own]
    columns += [[classes[i] for i in probs.argmax(1)], map(_share, probs.max(1))]
    columns += [map(_share, column) for column in probs.T if with_probs]
  return storage.csv_text([head, *zip(*columns)])


RESERVED = ('image', 'label', 'confidence')  # columns of `to_csv`; a class of that name becomes "label (class)"


def _share(value: float) -> str:
  return f'{value:.6f}'


def course_csv(found: Predicted) -> str:
  """Returns `label_prediction.csv` of the course project: image indices, and one column of class numbers per run."""
  labels = found.labels
  return storage.csv_text([['', *labels], *([i, *row] for i, row in zip(found.names, zip(*labels.values())))])


SHOWN = 20  # maximum number of classes in a table of counts


def counts(found: Predicted) -> str:
  """Returns a table per run: number and share of images per predicted class, and mean confidence; the SHOWN largest."""
  out = []
  for run, probs in found.probs.items():
    labels, classes = probs.argmax(1), found.classes[run]
    number = np.bincount(labels, minlength=len(classes))
    rows = []
    for c in np.sort(np.argsort(-number, kind='stable')[:SHOWN]):
      sure = f'{100 * probs[labels == c, c].mean():.1f} %' if number[c] else '-'
      rows.append((classes[c], str(number[c]), f'{100 * number[c] / max(len(labels), 1):.1f} %', sure))
    table = formatting.markdown(('class', 'images', 'share', 'mean confidence'), rows)
    left = [] if len(rows) == len(classes) else [f'and {len(classes) - len(rows)} more classes']
    out += [f'{run}: {len(labels)} images', table, *left]
  return '\n'.join(out)


def reports(found: Predicted) -> str:
  """Returns scikit-learn's classification report of each run on the images with known labels; '' without labels."""
  if found.truth is None:
    return ''
  known = found.truth >= 0
  names = lambda classes: [one_line(plain(name)) for name in classes]
  return '\n'.join(
    f'--- {run} ---\n{scoring.report(found.truth[known], labels[known], names(found.classes[run]))[0]}'
    for run, labels in found.labels.items()
  )
