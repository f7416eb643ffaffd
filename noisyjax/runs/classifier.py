"""A scikit-learn estimator over every method, which `cross_val_predict`, `GridSearchCV` and cleanlab can drive."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from noisyjax.config.override import override
from noisyjax.data import features, labels, objects
from noisyjax.data.column import column_of, number
from noisyjax.data.training import TrainData
from noisyjax.runs import in_memory
from noisyjax.system.errors import UserError
from noisyjax.system.log import log


class NoisyClassifier(ClassifierMixin, BaseEstimator):
  """Trains networks on images and labels that cannot be trusted, and stands for the last epoch.

  Where nothing else is said it trains as `find` does (`in_memory.recipe`: a small CNN on shifted images), but
  without mixup, so that the method is the one that is named.

  Attributes:
    classes_: [C], the labels that `y` held, sorted. -1, None and NaN mean "unlabeled" and are not among them.
    shape_: (H, W, C) of the images that the networks take.
    trained_: `noisyjax.runs.in_memory.Trained`.
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
    """Keeps the settings as they are; `fit` looks at them.

    Args:
      method: a strategy, as `launch.py strategies` lists them.
      model: a model; '': small_cnn, or linear on features.
      features: a pretrained model, such as 'efficientnet_lite0', on whose features of the images to train; '': none.
      epochs: of the whole run.
      seed: of initialisation, order and augmentation.
      size: side in pixels that paths, PIL images and arrays of mixed sizes are cropped to; 0: their median short side,
        at most 64. An array [N, H, W, C] is taken as it is.
      settings: dotted field of the config → value, such as {'optim.lr': 0.1, 'strategy.elr.beta': 0.7}.
      config: what to begin with, instead of `in_memory.recipe`; the other arguments are set in it.
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
    """Trains from scratch.

    Args:
      X: images, of any kind that `data.objects.images_of` takes: [N, H, W, C], [N, H, W], a list of paths, ….
      y: [N], given labels: numbers, names or bool; -1, None and NaN: unlabeled.
      sample_weight: [N], what each row counts in the losses, from 0; None: all count 1. Rows of weight 0 enter nothing.
      verified: [N], labels that someone checked, for methods that learn from them; -1, None and NaN: unchecked.
    Raises:
      UserError: naming what is wrong with images, labels, weights or settings; a loss that is not finite.
    """
    images = _pixels(X, self.size or (features.extractor(self.features).weights.size if self.features else 0))
    y = list(y) if isinstance(y, Iterator) else y  # which is read twice
    columns = [column_of(y, 'y')] + ([] if verified is None else [column_of(verified, 'verified')])
    for column in columns:
      if len(column.labels) != len(images):
        raise UserError(f'{column.where}: has {len(column.labels)} labels; expected {len(images)}, one an image of X.')
    names = labels.class_names(columns, '')
    if len(names) < 2:
      found = f'one class, {names[0]!r}' if names else 'no label'
      raise UserError(f'y: has {found} (-1, None and NaN mean "unlabeled"); expected labels of two classes or more.')
    given, *checked = (labels.indices(column, names, '') for column in columns)
    checked = checked[0] if checked else np.full(len(images), -1, np.int32)
    weight = None if sample_weight is None else _weights(sample_weight, len(images))
    data = TrainData(self._rows(images), given, checked, len(names), weight=weight)
    self.trained_ = in_memory.fit(self._config(), data)
    self.classes_ = _typed(names, y)
    self.shape_ = images.shape[1:]
    return self

  def predict_proba(self, X: Any) -> np.ndarray:
    """Returns float32 [n, C], class probabilities in the order of `classes_`.

    Args:
      X: images of the kinds that `fit` takes; arrays of one size must have that of `fit`.
    Raises:
      NotFittedError: before `fit`.
      UserError: images that do not fit.
    """
    check_is_fitted(self, 'trained_')
    if hasattr(X, '__len__') and not len(X):
      return np.zeros((0, len(self.classes_)), np.float32)
    images = _pixels(X, self.shape_[0], self.shape_[-1])
    if images.shape[1:] != self.shape_:
      raise UserError(f'X: images of shape {images.shape[1:]}; expected {self.shape_}, as in fit.')
    return self.trained_.probs(self._rows(images))

  def predict(self, X: Any) -> np.ndarray:
    """Returns [n], the most likely of `classes_`; arguments and errors as in `predict_proba`."""
    probs = self.predict_proba(X)
    return self.classes_[probs.argmax(1)]

  def __sklearn_tags__(self) -> Any:
    tags = super().__sklearn_tags__()
    tags.input_tags.two_d_array = False
    tags.input_tags.three_d_array = True
    return tags

  def _rows(self, images: np.ndarray) -> np.ndarray:
    return features.extract(images, features.extractor(self.features)) if self.features else images

  def _config(self) -> ConfigDict:
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
  """Returns images of any kind as uint8 [N, H, W, C]; those that are no array of one size are cropped to `size`."""
  images, notes = objects.images_of(X, size, channels, 'X')
  for note in notes:
    log.warning('%s', note)
  return images


def _weights(values: Any, count: int) -> np.ndarray:
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


def _typed(names: tuple[str, ...], y: Any) -> np.ndarray:
  """Returns the class names as labels of the type that `y` has: numbers, bool or text."""
  array = np.asarray(y)
  text = array.dtype.kind in 'OUS' and any(isinstance(value, str | bytes) for value in array.ravel().tolist())
  if text or None in map(number, names):  # -1 and NaN may stand among names
    return np.array(names)
  own = array.dtype.kind in 'biuf' and array.size == len(array)  # one-hot labels have no type of their own
  return np.array([int(name) for name in names]).astype(array.dtype if own else int)
