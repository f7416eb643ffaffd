"""CIFAR-10 and CIFAR-100 in their python version: a folder `cifar-10-batches-py` or `cifar-100-python`, or its archive.

Documented at https://www.cs.toronto.edu/~kriz/cifar.html, "Dataset layout". A batch is a pickle of a dictionary:
`data`, uint8 [n, 3072], the red, green and blue planes of 32 x 32 pixels each, and `labels` (CIFAR-100: `fine_labels`),
n integers. `batches.meta` (CIFAR-100: `meta`) names the classes. `system.pickles` reads them without running code.

Rows are those of `data_batch_1` to `data_batch_5` (CIFAR-100: `train`), in this order, which is that of the label files
of CIFAR-10N and CIFAR-100N, and then those of `test_batch` (`test`), which `Dataset.test` marks. A row has the name
that TFDS gives it: `train_16399`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, published
from noisyjax.system import pickles, reading
from noisyjax.system.errors import UserError, listed

MARKS = (('data_batch_1', 'batches.meta'), ('train', 'test', 'meta'))


class _Version(NamedTuple):
  """The files and keys of a version of CIFAR."""

  train: tuple[str, ...]
  test: str
  meta: str
  labels: str
  names: str


_VERSIONS = (
  _Version(tuple(f'data_batch_{i}' for i in range(1, 6)), 'test_batch', 'batches.meta', 'labels', 'label_names'),
  _Version(('train',), 'test', 'meta', 'fine_labels', 'fine_label_names'),
)


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the folder or archive `config.path`; its labels are both the given and the true labels.

  Returns:
    The data set, and the true labels, int32 [N].

  Raises:
    UserError: files are missing, damaged or contain anything but arrays, lists and text.
  """
  path = published.top(reading.path_of(config.path, 'data.path'), MARKS)
  with published.members(path) as found:
    there = [v for v in _VERSIONS if v.train[0] in found]
    if len(there) > 1:
      raise UserError(f'{path}: has CIFAR-10 and CIFAR-100; expected one data set. Give the folder of one of them.')
    version = (*there, _VERSIONS[0])[0]
    wanted = (*version.train, version.test, version.meta)
    if missing := [name for name in wanted if name not in found]:
      raise UserError(
        f'{path}: has no {listed(missing)} ({listed(found) or "no files"}); expected cifar-10-batches-py, '
        'cifar-100-python or one of their archives.'
      )
    batches = [_batch(path, name, found[name], version.labels) for name in (*version.train, version.test)]
    names = _text(_content(path, version.meta, found[version.meta]), version.names, f'{path}/{version.meta}')
  images, labels = (np.concatenate([batch[i] for batch in batches]) for i in (0, 1))
  tests = len(batches[-1][1])
  trains = len(labels) - tests
  made = dataset.make(
    images,
    labels,
    tuple(config.classes) or tuple(map(_decoded, names)),
    names=[*(f'train_{i:05d}' for i in range(trains)), *(f'test_{i:05d}' for i in range(tests))],
    test=np.arange(len(labels)) >= trains,
  )
  return made, labels.copy()


def _content(path: Path, name: str, read: Callable[[], bytes]) -> dict[str, Any]:
  """Returns the dictionary in a file; Python 3 keeps its keys as bytes if they were loaded so and written again."""
  where = f'{path}/{name}'
  with pickles.reading(where, 'a pickle', 'a dictionary, as CIFAR publishes it'):
    found = pickles.load(read())
  if not isinstance(found, Mapping):
    raise UserError(f'{where}: holds a {type(found).__name__}; expected a dictionary, as CIFAR publishes it.')
  return {_decoded(key): value for key, value in found.items()}


def _batch(path: Path, name: str, read: Callable[[], bytes], key: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns images, uint8 [n, 32, 32, 3], and labels, int32 [n]."""
  content, where = _content(path, name, read), f'{path}/{name}'
  data, labels = content.get('data'), np.asarray(_text(content, key, where))
  if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), 3072):
    shape = f'{data.dtype} {data.shape}' if isinstance(data, np.ndarray) else f'a {type(data).__name__}'
    raise UserError(f'{where}: data is {shape}; expected uint8 {(len(labels), 3072)}.')
  if labels.dtype.kind not in 'iu' or labels.ndim != 1:
    raise UserError(f'{where}: {key} has type {labels.dtype} and shape {labels.shape}; expected a list of integers.')
  images = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
  return images, labels.astype(np.int32)


def _text(content: dict[str, Any], key: str, where: str) -> Any:
  """Returns an entry that must be a list or array."""
  if not isinstance(content.get(key), list | np.ndarray):
    raise UserError(f'{where}: has no list {key!r}; its keys are {listed(content) or "none"}.')
  return content[key]


def _decoded(text: Any) -> str:
  return text.decode('latin1') if isinstance(text, bytes) else str(text)
