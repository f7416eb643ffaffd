"""MNIST and data sets in its format (Fashion-MNIST, KMNIST): IDX files, plain or compressed by gzip.

Documented at http://yann.lecun.com/exdb/mnist, "FILE FORMATS FOR THE MNIST DATABASE": two zero bytes, the type (8 =
unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit integer, then the numbers. The folder
`config.path` holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
`t10k-labels-idx1-ubyte`, with or without `.gz`; some copies write `.idx3-ubyte` for `-idx3-ubyte`. The content says
whether a file is compressed, because some browsers unpack it and keep `.gz` in its name.

Rows are those of `train` and then those of `t10k`, which `Dataset.test` marks. Classes are called 0 to 9 unless
`config.classes` names them.
"""

import gzip
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, published
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

MARKS = tuple(
  (f'train-images{dash}idx3-ubyte{end}', f'train-labels{dash}idx1-ubyte{end}') for dash in '-.' for end in ('', '.gz')
)


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the folder or archive `config.path`; its labels are both the given and the true labels.

  Returns:
    The data set, and the true labels, int32 [N].

  Raises:
    UserError: files are missing, damaged or do not fit one another.
  """
  path = published.top(reading.path_of(config.path, 'data.path'), MARKS)
  with published.members(path) as found:
    parts = [_part(path, found, part) for part in ('train', 't10k')]
  images, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
  trains = len(parts[0][1])
  made = dataset.make(
    images,
    labels,
    tuple(config.classes) or tuple(str(c) for c in range(int(labels.max()) + 1)),
    names=[*(f'train_{i:05d}' for i in range(trains)), *(f'test_{i:05d}' for i in range(len(labels) - trains))],
    test=np.arange(len(labels)) >= trains,
  )
  return made, labels.copy()


def _part(path: Path, found: Mapping[str, Callable[[], bytes]], part: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns images, uint8 [n, H, W, 1], and labels, int32 [n]."""
  images, labels = (_array(path, found, f'{part}-{kind}', rank) for kind, rank in (('images', 3), ('labels', 1)))
  if len(images) != len(labels):
    raise UserError(f'{path}: {part} has {len(images)} images and {len(labels)} labels; expected as many.')
  return images[..., None], labels.astype(np.int32)


def _array(path: Path, found: Mapping[str, Callable[[], bytes]], name: str, rank: int) -> np.ndarray:
  """Returns the array of one file, uint8."""
  forms = [f'{name}{dash}idx{rank}-ubyte{end}' for dash in '-.' for end in ('', '.gz')]
  form = next((form for form in forms if form in found), None)
  if form is None:
    raise UserError(
      f'{path}: has no {forms[0]}, plain or with .gz ({listed(found) or "no files"}); expected the files of MNIST.'
    )
  where = f'{path}/{form}'
  with reading.reading(where, 'IDX'):
    data = found[form]()
    file: io.BufferedIOBase = io.BytesIO(data)
    file = gzip.GzipFile(fileobj=file) if data.startswith(b'\x1f\x8b') else file
    head = file.read(4 + 4 * rank)
    if head[:4] != bytes([0, 0, 8, rank]) or len(head) < 4 + 4 * rank:
      raise ValueError(f'it begins with {head[:4].hex()} instead of 000008{rank:02x}')
    shape = np.frombuffer(head[4:], '>u4').tolist()
    data = file.read(min(math.prod(shape), 2**31) + 1)
    if len(data) != math.prod(shape):
      raise ValueError(f'it has {len(data)} numbers or more for the shape {tuple(shape)}')
    return np.frombuffer(data, np.uint8).reshape(shape)
