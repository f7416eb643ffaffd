"""From Flax modules to M networks: the only place that knows Linen's calling convention and how M runs."""

import contextlib
import dataclasses
import functools
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
from noisyjax.models.weights import pretrained

PIXELS = 2**23  # of the images that a first layer is computed from, such as 8,192 of 32 x 32; as float32 100 MB


@dataclasses.dataclass(frozen=True)
class Net:
  """M networks of one architecture. Static: hashable, compared by value.

  Attributes:
    model: a Linen module with `__call__(images, train) -> logits, features`.
    mean, std: per channel, in 0–255; images are normalised here and nowhere else, so what a network was trained on and
      what it is asked on cannot differ.
    networks: M.
    unroll: one call after another (CPU: a convolution over stacked kernels is a slow grouped one) or `vmap`.
    size: side in pixels to which images are resized before they are normalised; 0: they stay as they are.
    weights: what the networks begin from; None: from random numbers.
    freeze_stats: whether batch norm uses the running statistics while training too, and leaves them as they are.
  """

  model: nn.Module
  mean: tuple[float, ...]
  std: tuple[float, ...]
  networks: int = 1
  unroll: bool = True
  size: int = 0
  weights: pretrained.Weights | None = None
  freeze_stats: bool = False

  def _normalise(self, images: Array | np.ndarray) -> Any:  # of the kind of `images`, unless it resizes
    if self.size and images.shape[-3:-1] != (self.size, self.size):
      shape = (*images.shape[:-3], self.size, self.size, images.shape[-1])
      images = jax.image.resize(images.astype(jnp.float32), shape, 'cubic').clip(0, 255)
    return (images.astype(jnp.float32) - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

  def _each(self, call: Callable[..., PyTree], *stacked: PyTree) -> PyTree:
    if not self.unroll:
      return jax.vmap(call)(*stacked)
    outs = [call(*jax.tree.map(lambda a, m=m: a[m], stacked)) for m in range(self.networks)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)

  def _run(self, call: Callable[..., PyTree], images: Array, *stacked: PyTree) -> PyTree:
    images = self._normalise(images)
    if images.ndim == 5:  # each network its own images
      return self._each(call, images, *stacked)
    return self._each(lambda *own: call(images, *own), *stacked)

  def image_count(self, images: Array) -> int:
    """Returns how many images pass through a network when this array is shown to all."""
    return images.shape[0] * images.shape[1] if images.ndim == 5 else images.shape[0] * self.networks

  def shown(self, shape: tuple[int, ...]) -> int:
    """Returns how many images [H, W, C] `init` wants to see: a first layer may be computed from their pixels."""
    return max(2, PIXELS // (shape[0] * shape[1])) if hasattr(self.model, 'calibrate') else 2

  def init(self, key: Array, images: np.ndarray) -> tuple[PyTree, PyTree]:
    """Returns (params, stats), each leaf with a leading axis M; every network has its own key.

    Args:
      key: of the run's "init".
      images: uint8 [n, H, W, C] training images: the shape, and what a first layer that depends on data is computed
        from, by their pixels alone.
    """
    variables = self._plain._init(key, images[:2])
    if hasattr(self.model, 'calibrate'):
      pixels = self._normalise(images)  # not under jit: what is computed from many pixels may want the host's float64
      variables = jax.vmap(lambda own: self.model.calibrate(own, pixels))(variables)
    if self.weights is not None:
      variables = pretrained.load(self.weights, type(self.model), variables)
    return variables['params'], variables.get('batch_stats', {})

  @property
  def _plain(self) -> 'Net':
    """The same networks in XLA's own form, which leaves the compilation cache on."""
    return dataclasses.replace(self, model=self.model.clone(conv='plain')) if hasattr(self.model, 'conv') else self

  @functools.partial(jax.jit, static_argnums=0)  # op by op it takes seconds, in every process anew
  def _init(self, key: Array, images: Array | np.ndarray) -> PyTree:
    images = self._normalise(images)
    one = lambda key: self.model.init({'params': key}, images, train=False)
    trees = [one(jax.random.fold_in(key, m)) for m in range(self.networks)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

  def train(self, params: PyTree, stats: PyTree, images: Array, key: Array) -> tuple[Array, Array, PyTree]:
    """Returns logits [M, B, C], features [M, B, F] and the moved statistics; images [B, …] or [M, B, …] in 0–255."""

    def one(images: Array, params: PyTree, stats: PyTree, key: Array) -> tuple[Array, Array, PyTree]:
      variables = {'params': params, 'batch_stats': stats}
      with nn.intercept_methods(_use_running) if self.freeze_stats else contextlib.nullcontext():
        (logits, features), moved = self.model.apply(
          variables, images, train=True, rngs={'dropout': key}, mutable=['batch_stats']
        )
      return logits, features, moved.get('batch_stats', {})

    return self._run(one, images, params, stats, jax.random.split(key, self.networks))

  @functools.partial(jax.jit, static_argnums=0)  # one trace for every program that asks the same number of images
  def look(self, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, Array]:
    """Returns logits [M, B, C] and features [M, B, F] under running statistics; moves nothing."""

    def one(images: Array, params: PyTree, stats: PyTree) -> PyTree:
      return self.model.apply({'params': params, 'batch_stats': stats}, images, train=False)

    return self._run(one, images, params, stats)

  def layers(self, params: PyTree, stats: PyTree, images: Array, key: Array) -> list[tuple[str, Array]]:
    """Returns (path, output) of each layer of each network in training mode, in their order, one by one: for people."""
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
      flat = flatten_dict(kept['intermediates'], keep_empty_nodes=False)  # as called: JAX's trees are sorted by name
      out += [('/'.join(path[:-1]), leaf) for path, calls in flat.items() for leaf in jax.tree.leaves(calls)]
    return out

  def width(self, params: PyTree, stats: PyTree, images: np.ndarray) -> int:
    """Returns F, the width of the features, without running a network."""
    return jax.eval_shape(self._plain.look, params, stats, images)[1].shape[-1]


def _use_running(
  call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: nn.module.InterceptorContext
) -> Any:
  """Lets batch norm, of whatever model, do in training what it does in evaluation."""
  if isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__':
    object.__setattr__(
      context.module, 'use_running_average', True
    )  # modules are frozen, and this one was made just now
  return call(*args, **kwargs)


def path_matches(pattern: str, tree: PyTree) -> PyTree:
  """Returns a tree of bools: whether a leaf's path ("conv1/kernel") matches the regular expression anywhere."""
  found = re.compile(pattern)

  def one(path: tuple[Any, ...], _: Array) -> bool:
    return bool(found.search('/'.join(str(getattr(p, 'key', getattr(p, 'idx', p))) for p in path)))

  return jax.tree_util.tree_map_with_path(one, tree)
