"""A scikit-learn estimator for every method, usable with `cross_val_predict`, `GridSearchCV` and cleanlab."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from noisyjax.config.override import override
from noisyjax.config.plan import Plan
from noisyjax.data import features, labels, objects
from noisyjax.data.column import column_of, number
from noisyjax.data.training import TrainData
from noisyjax.runs import in_memory, result
from noisyjax.system.errors import UserError
from noisyjax.system.log import log


class NoisyClassifier(ClassifierMixin, BaseEstimator):
  """Trains networks on images with noisy labels, and predicts with the networks of the last epoch.

  By default the settings are those of `find` (`in_memory.recipe`: a small CNN, randomly shifted images), or
  with `features` those of `in_memory.probe` (a linear model); mixup is off, so that nothing is added to the method.

  Attributes:
    classes_: sorted labels in `y`, [C], exactly as there, without the values for "unlabeled": -1, None and NaN.
    shape_: shape (H, W, C) of the images that the estimator takes.
    trained_: the trained networks, a `noisyjax.runs.in_memory.Trained`.
    told_: what pretrained networks bring, such as "pretrained: ImageNet-1k"; () if there are none.
  """

  def __init__(
    self,
    method: str = 'naive',
    *,
    model: str = '',
    features: str = '',
    epochs: int = 20,
    seed: int = 0,
    size: int = 0,
    settings: Mapping[str, Any] | None = None,
    config: ConfigDict | None = None,
  ) -> None:
    """Stores the settings unchanged; `fit` validates them.

    Args:
      method: name of a strategy, as listed by `launch.py strategies`.
      model: name of a model; '': that of `config`, or without `config` small_cnn (linear with `features`).
      features: name of a pretrained model, such as 'efficientnet_lite0', on whose features to train; '': none.
      epochs: number of epochs of the whole run.
      seed: random seed of initialization, order and augmentation.
      size: side in pixels to which paths, PIL images and arrays of mixed sizes are cropped; 0: the input size of
        the pretrained model with `features`, otherwise their median short side, at most 64. An array [N, H, W, C]
        keeps its size.
      settings: dotted config field → value, such as {'optim.lr': 0.1, 'strategy.elr.beta': 0.7}.
      config: base config instead of the default one; the other arguments override its fields.
    """
    self.method = method
    self.model = model
    self.features = features
    self.epochs = epochs
    self.seed = seed
    self.size = size
    self.settings = settings
    self.config = config

  def fit(
    self, X: Any, y: Any, sample_weight: np.ndarray | None = None, verified: Any | None = None
  ) -> 'NoisyClassifier':
    """Trains new networks.

    Args:
      X: images of a kind that `data.objects.images_of` accepts: [N, H, W, C], [N, H, W], a list of paths, ….
      y: given labels [N]: numbers, names or bool; -1, None and NaN: unlabeled.
      sample_weight: weights of the rows in the losses, [N], at least 0; None: all 1. Rows of weight 0 are not used.
      verified: verified labels [N], for methods that learn from them; -1, None and NaN: not verified.

    Returns:
      The estimator itself.

    Raises:
      UserError: images, labels, weights or settings are invalid.
      Diverged: a loss or a parameter is not finite.
    """
    by = features.extractor(self.features, where='features') if self.features else None
    images = _pixels(X, self.size or (by.weights.size if by else 0))
    y = list(y) if isinstance(y, Iterator) else y  # a list, because it is read twice
    columns = [column_of(y, 'y')] + ([] if verified is None else [column_of(verified, 'verified')])
    for column in columns:
      if len(column.labels) != len(images):
        raise UserError(f'{column.where}: has {len(column.labels)} labels; expected {len(images)}, one an image of X.')
    names = labels.class_names(columns, '')
    if len(names) < 2:
      found = f'one class, {names[0]!r}' if names else 'no label'
      raise UserError(f'y: has {found} (-1, None and NaN mean "unlabeled"); expected labels of two classes or more.')
    classes = _typed(names, y, labels.indices(columns[0], names, ''))
    names = tuple(names[c] for c in np.argsort(classes))  # scikit-learn expects sorted classes: text '10' before '9'
    given, *checked = (labels.indices(column, names, '') for column in columns)
    checked = checked[0] if checked else np.full(len(images), -1, np.int32)
    weight = None if sample_weight is None else _weights(sample_weight, len(images))
    data = TrainData(self._rows(images), given, checked, len(names), weight=weight)
    config = self._config()
    self.trained_ = in_memory.fit(config, data)
    self.classes_ = np.sort(classes)
    before = [weights.data for weights in result.pretrained_weights(Plan.of(config))]
    before += [by.weights.data] if by else []
    self.told_ = tuple(sorted(result.pretraining(before, names)))
    self.shape_ = images.shape[1:]
    return self

  def predict_proba(self, X: Any) -> np.ndarray:
    """Returns class probabilities, float32 [n, C], in the order of `classes_`.

    Args:
      X: images of a kind that `fit` accepts; arrays of one size must have the size of those in `fit`.

    Raises:
      NotFittedError: `fit` was not called.
      UserError: images cannot be read or have another shape.
    """
    check_is_fitted(self, 'trained_')
    if hasattr(X, '__len__') and not len(X):
      return np.zeros((0, len(self.classes_)), np.float32)
    images = _pixels(X, self.shape_[0], self.shape_[-1])
    if images.shape[1:] != self.shape_:
      raise UserError(f'X: images of shape {images.shape[1:]}; expected {self.shape_}, as in fit.')
    return self.trained_.probs(self._rows(images))

  def predict(self, X: Any) -> np.ndarray:
    """Returns the most likely label of each image, [n]. Arguments and errors: see `predict_proba`."""
    probs = self.predict_proba(X)
    return self.classes_[probs.argmax(1)]

  def __sklearn_tags__(self) -> Any:
    """Returns scikit-learn's tags: `X` is 3-D (images), not 2-D."""
    tags = super().__sklearn_tags__()
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    return tags

  def _rows(self, images: np.ndarray) -> np.ndarray:
    """Returns the input of the networks: images uint8 [n, H, W, C], or their features, float16 [n, 1, 1, F]."""
    return features.extract(images, features.extractor(self.features)) if self.features else images

  def _config(self) -> ConfigDict:
    """Returns the config of the run: the base config with the settings of the estimator."""
    if self.config is None:
      config = in_memory.probe() if self.features else in_memory.recipe()
      config.mixup = 0.0
    else:
      config = self.config.copy_and_resolve_references()
      config.data.val = ''
    own = {'model.name': self.model} if self.model else {}
    own |= {'strategy.name': self.method, 'epochs': self.epochs, 'seed': self.seed}
    override(config, own | dict(self.settings or {}), 'NoisyClassifier')
    return config


def _pixels(X: Any, size: int, channels: int = 3) -> np.ndarray:
  """Returns images as uint8 [N, H, W, C]. Images that are not an array of one size are cropped to `size` pixels."""
  images, notes = objects.images_of(X, size, channels, 'X')
  for note in notes:
    log.warning('%s', note)
  return images


def _weights(values: Any, count: int) -> np.ndarray:
  """Returns weights as float32 [count]; raises UserError if they are invalid."""
  try:
    weight = np.asarray(values, np.float32)
  except (TypeError, ValueError):
    raise UserError(
      f'sample_weight: is of type {type(values).__name__}, or holds what is no number; expected {count} numbers.'
    ) from None
  if weight.shape != (count,):
    raise UserError(f'sample_weight: found shape {weight.shape}; expected ({count},), one an image.')
  wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
  if len(wrong):
    raise UserError(f'sample_weight: row {wrong[0]} (from 0) is {weight[wrong[0]]}; expected a number of at least 0.')
  return weight


def _typed(names: tuple[str, ...], y: Any, given: np.ndarray) -> np.ndarray:
  """Returns the classes as `y` spells them: numbers or bool of the same type, or text, [C].

  scikit-learn compares labels exactly, so '01' must not become '1'.

  Args:
    names: C class names, without the spaces and zeros around what `y` may have.
    y: labels.
    given: index of each label in `names`, int [N]; -1 = unlabeled.

  Raises:
    UserError: two texts in `y`, such as 'cat' and 'cat ', are one class.
  """
  array = np.asarray(y)
  cells = array.ravel().tolist()
  # `any`, not `all`, because -1 and NaN may occur among text labels
  text = array.dtype.kind in 'OUST' and any(isinstance(cell, str | bytes) for cell in cells)
  if not text and None not in map(number, names):
    own = array.dtype.kind in 'biuf' and array.size == len(array)  # not one-hot labels, whose classes become int
    return np.array([int(name) for name in names]).astype(array.dtype if own else int)
  spelled: dict[int, tuple[str, int]] = {}
  for row, (cell, c) in enumerate(zip(cells, given.tolist())) if text else ():
    cell = cell.decode() if isinstance(cell, bytes) else cell
    if c < 0 or not isinstance(cell, str):
      continue
    other, first = spelled.setdefault(c, (cell, row))
    if cell != other:
      raise UserError(
        f'y: row {first} (from 0) is {other!r} and row {row} {cell!r}, which are one class; expected one spelling.'
      )
  return np.array([spelled.get(c, (name, 0))[0] for c, name in enumerate(names)])
