"""Features of images, computed once by a pretrained network and stored in the cache.

Features have the layout of images: float16 [N, V, 1, F] with V views as rows and one column. The first view is the
image itself. The others are augmented views: random crops with 50 to 100 % of the image's area, mirrored with
probability 1/2. All views are resized to the input size of the pretrained network.
"""

import dataclasses
import functools
import hashlib
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.data import cache
from noisyjax.data.images import Images, as_images
from noisyjax.models.layers import conv
from noisyjax.models.weights import pretrained
from noisyjax.system import plugins, progress
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

PyTree = Any

BLOCK = 256  # images per entry of the cache; an interruption loses the work on one entry at most
CHUNK = 32  # images per forward pass
SMALLEST = 0.5  # minimum fraction of the image's area in an augmented view
VERSION = 1  # version of the computation; after a change, entries of the cache with another version are not used


@dataclasses.dataclass(frozen=True)
class Extractor:
  """A pretrained network whose head is not used; a static argument of compiled functions.

  Attributes:
    name: name of the model.
    model: Flax module.
    weights: its pretrained weights.
    views: number of augmented views per image, in addition to the image itself.
  """

  name: str
  model: Any
  weights: pretrained.Weights
  views: int = 0


def extractor(text: str, views: int = 0, where: str = 'data.features') -> Extractor:
  """Returns an extractor by name.

  Args:
    text: name of a model, such as "efficientnet_lite0", or model and weights file, such as "resnet50:weights.pth";
      "@96" after it makes images 96 pixels wide, see `pretrained.find`.
    views: number of augmented views per image.
    where: name of the field or flag in error messages.

  Raises:
    UserError: there is no such model, or it has no such weights.
  """
  name, _, path = text.partition(':')
  own = not path
  if own:
    name, at, size = name.partition('@')
    path = f'imagenet{at}{size}'
  cls = plugins.find('noisyjax.models', name, 'Model', where)
  if own and hasattr(cls, 'published_name') and not hasattr(cls, 'published'):
    raise UserError(f'{where}: {name!r} comes without weights; expected a file of them too, {name}:FILE.')
  weights = pretrained.find(cls, path, name, where)
  stem = {'stem': 'imagenet'} if 'stem' in {field.name for field in dataclasses.fields(cls)} else {}
  return Extractor(name, cls(classes=1, conv=conv.fastest(), **stem), weights, views)


def extract(images: Images | np.ndarray, by: Extractor, use_cache: bool = True) -> np.ndarray:
  """Returns the features of images, float16 [N, 1 + views, 1, F]. Features in the cache are not computed again.

  Args:
    images: uint8 [N, H, W, 3], or [N, H, W, 1]: gray images become color images of three equal channels.
    by: extractor.
    use_cache: whether the cache is read and written.

  Raises:
    UserError: the images have neither 1 nor 3 channels.
  """
  images = as_images(images)
  if images.shape[-1] not in (1, 3):
    raise UserError(f'features: images have {images.shape[-1]} channels; expected 3 (color) or 1 (gray).')
  count, start, said = len(images), time.monotonic(), progress.Lines()
  out = np.empty(0, np.float16)
  for first in range(0, count, BLOCK):
    block = np.asarray(images.take(np.arange(first, min(first + BLOCK, count))))
    block = np.broadcast_to(block, (*block.shape[:-1], 3))
    found = _cached(block, by, use_cache)
    if not first:
      out = np.empty((count, *found.shape[1:]), found.dtype)
    done = first + len(block)
    out[first:done] = found
    left = (time.monotonic() - start) / done * (count - done)
    said.say(f'features: {done} of {count} images', f'{progress.duration(left)} left' if left else '')
  return out


def blank(images: Images | np.ndarray, by: Extractor, use_cache: bool = False) -> np.ndarray:
  """Returns zeros of the shape of the features, which a dry run takes for them: nothing is computed. See `extract`."""
  del use_cache
  sample = jnp.zeros((1, by.weights.size, by.weights.size, 3))
  shapes = jax.eval_shape(lambda: by.model.clone(conv='plain').init_with_output(jax.random.key(0), sample, train=False))
  width = shapes[0][1].shape[-1]
  return np.broadcast_to(np.float16(0), (len(as_images(images)), 1 + by.views, 1, width))


def _cached(images: np.ndarray, by: Extractor, use_cache: bool) -> np.ndarray:
  """Returns the features of a block of images, float16 [n, 1 + views, 1, F], from the cache or computed."""
  content = hashlib.sha256(f'{images.shape}'.encode() + np.ascontiguousarray(images).tobytes()).hexdigest()
  code = [file.sha256 for file in plugins.loaded('noisyjax.models', [Path(by.name).stem])]
  identity = ('features', VERSION, content, by.name, by.weights.sha256, by.weights.size, by.views, *code)
  return cache.cached(identity, content, lambda: {'features': _computed(images, by)}, use_cache)['features']


def _computed(images: np.ndarray, by: Extractor) -> np.ndarray:
  """Returns the features of images, float16 [n, 1 + views, 1, F]. The pixels of an image seed its views."""
  variables, out = _variables(by), []
  for first in range(0, len(images), CHUNK):
    part = images[first : first + CHUNK]
    short = CHUNK - len(part)
    padded = np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)])  # one shape, so one compilation
    seeds = np.array([int(hashlib.sha256(image.tobytes()).hexdigest()[:7], 16) for image in padded], np.uint32)
    out.append(np.asarray(_forward(by, variables, padded, seeds))[: len(part)])
  with np.errstate(over='ignore'):
    features = np.concatenate(out).astype(np.float16)[:, :, None]
  if not np.isfinite(features).all():
    raise UserError(f'features: {by.name} with {by.weights.path} gives features that are not finite in float16.')
  return features


@functools.lru_cache(maxsize=2)
def _variables(by: Extractor) -> PyTree:
  """Returns the variables of the extractor's model with its pretrained weights."""
  log.info('features: %s with the weights %s.', by.name, by.weights.path)
  model = by.model.clone(conv='plain')
  sample = jnp.zeros((1, by.weights.size, by.weights.size, 3))
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), sample, train=False))
  zeros = jax.tree.map(lambda a: np.zeros((1, *a.shape), np.float32), shapes)
  return jax.tree.map(lambda a: a[0], pretrained.load(by.weights, type(model), zeros))


@functools.partial(jax.jit, static_argnames='by')
def _forward(by: Extractor, variables: PyTree, images: Array, seeds: Array) -> Array:
  """Returns features [B, 1 + views, F].

  Args:
    by: extractor.
    variables: variables of its model.
    images: uint8 [B, H, W, 3].
    seeds: seeds of the augmented views of each image, uint32 [B].
  """
  size, count = by.weights.size, len(images)
  images = images.astype(jnp.float32)
  shown: list[Array] = [jax.image.resize(images, (count, size, size, 3), 'cubic').clip(0, 255)]
  for view in range(by.views):
    keys = jax.vmap(lambda seed, view=view: jax.random.fold_in(jax.random.key(seed), view))(seeds)
    shown.append(jax.vmap(lambda key, image: _view(key, image, size))(keys, images))
  normal = lambda x: (x - jnp.array(by.weights.mean)) / jnp.array(by.weights.std)
  outs = [by.model.apply(variables, normal(x), train=False)[1] for x in shown]
  return jnp.stack(outs, 1)


def _view(key: Array, image: Array, size: int) -> Array:
  """Returns a random crop of an image [H, W, 3], resized to [size, size, 3] and mirrored with probability 1/2."""
  height, width, _ = image.shape
  area, top, left, mirror = jax.random.uniform(key, (4,))
  side = jnp.sqrt(SMALLEST + (1 - SMALLEST) * area)  # side of the crop as a fraction of the image's side
  scale = jnp.array([size / height, size / width]) / side
  start = jnp.array([top * (1 - side) * height, left * (1 - side) * width])
  view = jax.image.scale_and_translate(image, (size, size, 3), (0, 1), scale, -start * scale, 'linear').clip(0, 255)
  return jnp.where(mirror < 0.5, view[:, ::-1], view)
