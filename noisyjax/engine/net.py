"""M networks of one Flax module. Only this file knows Linen's calling convention and how M networks are run."""

import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax import Array

from noisyjax.engine.state import PyTree
from noisyjax.models.protocol import Calibrated
from noisyjax.models.weights import pretrained

PIXELS = 2**23  # of the images that `calibrate` gets, such as 8,192 of 32 x 32: 100 MB as float32 with 3 channels
VALUES = 2**26  # of the features that `calibrate` gets, such as 52,428 rows of 1,280: 256 MB as float32


@dataclasses.dataclass(frozen=True)
class Net:
  """M networks of one architecture. It is a static value: hashable and compared by value.

  Images are normalised only in this class, so that training and prediction always normalise them in the same way.

  Attributes:
    model: Linen module with `__call__(images, train) -> logits, features`.
    mean: mean of the pixels per channel, in 0–255.
    std: standard deviation of the pixels per channel, in 0–255.
    networks: number of networks, M.
    unroll: whether the networks run one after another; otherwise by `vmap`. On CPUs `vmap` makes slow grouped
      convolutions.
    size: side in pixels to which images are resized before normalisation; 0 keeps their size.
    weights: pretrained weights that the networks start from; None for random initialisation.
    freeze_stats: whether batch norm uses the running statistics in training, too, and does not update them.
  """

  model: nn.Module
  mean: tuple[float, ...]
  std: tuple[float, ...]
  networks: int = 1
  unroll: bool = True
  size: int = 0
  weights: pretrained.Weights | None = None
  freeze_stats: bool = False

  def _normalise(self, images: Array | np.ndarray) -> Any:  # a NumPy array for a NumPy array, unless it resizes
    if self.size and images.shape[-3:-1] != (self.size, self.size):
      shape = (*images.shape[:-3], self.size, self.size, images.shape[-1])
      images = jax.image.resize(images.astype(jnp.float32), shape, 'cubic').clip(0, 255)
    images = images.astype(jnp.float32)
    images -= np.asarray(self.mean, np.float32)  # in place, of a NumPy array: all features at once take much memory
    images /= np.asarray(self.std, np.float32)
    return images

  def _each(self, call: Callable[..., PyTree], *stacked: PyTree) -> PyTree:
    if not self.unroll:
      return jax.vmap(call)(*stacked)
    outs = [call(*jax.tree.map(lambda a, m=m: a[m], stacked)) for m in range(self.networks)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)

  def _run(self, call: Callable[..., PyTree], images: Array, *stacked: PyTree) -> PyTree:
    images = self._normalise(images)
    if images.ndim == 5:  # each network has its own images
      return self._each(call, images, *stacked)
    return self._each(lambda *own: call(images, *own), *stacked)

  def image_count(self, images: Array) -> int:
    """Returns the number of images that pass through a network: [B, …] goes through all M, [M, B, …] has B for each."""
    return images.shape[0] * images.shape[1] if images.ndim == 5 else images.shape[0] * self.networks

  def shown(self, shape: tuple[int, ...]) -> int:
    """Returns the number of images of shape [H, W, C] to pass to `init`.

    It is 2, or as many as PIXELS and VALUES allow if the model has a layer that is computed from pixels (`calibrate`).
    """
    most = min(PIXELS // (shape[0] * shape[1]), VALUES // math.prod(shape))
    return max(2, most) if isinstance(self.model, Calibrated) else 2

  def init(self, key: Array, images: np.ndarray) -> tuple[PyTree, PyTree]:
    """Initialises the networks, each with its own key.

    Args:
      key: initialisation key of the phase.
      images: training images, uint8 [n, H, W, C]. They give the shapes; a model with `calibrate` also computes a layer
        from their pixels. Labels are not used.

    Returns:
      params and running statistics; each leaf has a leading axis M.
    """
    variables = self.plain._init(key, images[:2])
    if isinstance(self.model, Calibrated):
      pixels = self._normalise(images)  # not jitted: `calibrate` may use float64 on the host
      variables = jax.vmap(lambda own: self.model.calibrate(own, pixels))(variables)
    if self.weights is not None:
      variables = pretrained.load(self.weights, type(self.model), variables)
    return variables['params'], variables.get('batch_stats', {})

  @property
  def plain(self) -> 'Net':
    """The same networks with XLA's convolutions, which can be stored in the compilation cache."""
    return dataclasses.replace(self, model=self.model.clone(conv='plain')) if hasattr(self.model, 'conv') else self

  @functools.partial(jax.jit, static_argnums=0)  # without jit it takes seconds in every process
  def _init(self, key: Array, images: Array | np.ndarray) -> PyTree:
    images = self._normalise(images)
    one = lambda key: self.model.init({'params': key}, images, train=False)
    trees = [one(jax.random.fold_in(key, m)) for m in range(self.networks)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

  def train(self, params: PyTree, stats: PyTree, images: Array, key: Array) -> tuple[Array, Array, PyTree]:
    """Runs the networks in training mode.

    Args:
      params: parameters with a leading axis M.
      stats: running statistics with a leading axis M.
      images: [B, H, W, C] or [M, B, H, W, C], in 0–255.
      key: key of the dropout; each network gets its own.

    Returns:
      logits [M, B, C], features [M, B, F] and the updated running statistics.
    """

    def one(images: Array, params: PyTree, stats: PyTree, key: Array) -> tuple[Array, Array, PyTree]:
      variables = {'params': params, 'batch_stats': stats}
      with nn.intercept_methods(_use_running) if self.freeze_stats else contextlib.nullcontext():
        (logits, features), moved = self.model.apply(
          variables, images, train=True, rngs={'dropout': key}, mutable=['batch_stats']
        )
      return logits, features, moved.get('batch_stats', {})

    return self._run(one, images, params, stats, jax.random.split(key, self.networks))

  @functools.partial(jax.jit, static_argnums=0)  # traced once for all callers with the same shapes
  def look(self, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, Array]:
    """Runs the networks in evaluation mode.

    Args:
      params: as in `train`.
      stats: as in `train`; they are used and not updated.
      images: as in `train`.

    Returns:
      logits [M, B, C] and features [M, B, F].
    """

    def one(images: Array, params: PyTree, stats: PyTree) -> PyTree:
      return self.model.apply({'params': params, 'batch_stats': stats}, images, train=False)

    return self._run(one, images, params, stats)

  def layers(self, params: PyTree, stats: PyTree, images: Array, key: Array) -> list[tuple[str, Array]]:
    """Returns (path, output) of each layer of each network in training mode, in order of execution, for messages."""
    images = self._normalise(images)
    out = []
    for m in range(self.networks):
      own = jax.tree.map(lambda a, m=m: a[m], {'params': params, 'batch_stats': stats})
      _, kept = self.model.apply(
        own,
        images[m] if images.ndim == 5 else images,
        train=True,
        rngs={'dropout': key},
        mutable=['batch_stats', 'intermediates'],
        capture_intermediates=True,
      )
      flat = flatten_dict(kept['intermediates'], keep_empty_nodes=False)  # in order of calls; JAX's trees sort names
      out += [('/'.join(path[:-1]), leaf) for path, calls in flat.items() for leaf in jax.tree.leaves(calls)]
    return out

  def width(self, params: PyTree, stats: PyTree, images: np.ndarray) -> int:
    """Returns F, the width of the features, without running a network."""
    return jax.eval_shape(self.plain.look, params, stats, images)[1].shape[-1]


def _use_running(
  call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: nn.module.InterceptorContext
) -> Any:
  """Makes batch norm layers use the running statistics in training; a Flax method interceptor."""
  if isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__':
    object.__setattr__(
      context.module, 'use_running_average', True
    )  # modules are frozen; this instance exists only for this call
  return call(*args, **kwargs)


def path_matches(pattern: str, tree: PyTree) -> PyTree:
  """Returns a tree of bools: whether `re.search` finds the pattern in a leaf's path, such as "conv1/kernel"."""
  found = re.compile(pattern)

  def one(path: tuple[Any, ...], _: Array) -> bool:
    return bool(found.search('/'.join(str(getattr(p, 'key', getattr(p, 'idx', p))) for p in path)))

  return jax.tree_util.tree_map_with_path(one, tree)
