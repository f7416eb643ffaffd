"""Optimizers and learning rate schedules.

Their structure is static and their numbers are traced, so that a sweep over numbers compiles once. The update is mapped
over the network axis: clipping, moments and weight decay of each network are independent of the others.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from noisyjax.engine.net import path_matches
from noisyjax.engine.state import PyTree

OPTIMIZERS = ('sgd', 'adam', 'adamw', 'nadam')
SCHEDULES = ('constant', 'step', 'cosine', 'quarter_cosine', 'one_cycle', 'warm_restarts', 'plateau')


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('lr', 'decay', 'momentum', 'b1', 'b2', 'eps', 'clip', 'layer_decay'),
  meta_fields=('name', 'schedule', 'nesterov', 'kernels_only', 'freeze', 'clips', 'blocks'),
)
@dataclasses.dataclass(frozen=True)
class Optimizer:
  """An optimizer and its numbers: a pytree whose float fields are traced and whose other fields are static.

  Attributes:
    name: "sgd" (as in PyTorch, weight decay is added to the gradient before momentum), "adam" (weight decay is added to
      the gradient), "adamw" (decoupled weight decay) or "nadam" (optax's, without Keras' momentum schedule).
    schedule: one of SCHEDULES.
    lr: base learning rate.
    decay: weight decay.
    momentum: momentum of "sgd".
    nesterov: whether "sgd" uses Nesterov momentum.
    b1: decay of the first moment of Adam.
    b2: decay of the second moment of Adam.
    eps: epsilon of Adam.
    clip: maximum global norm of the gradient of each network; 0 = no clipping.
    kernels_only: whether weight decay applies only to leaves called "kernel".
    freeze: regular expression on the paths of parameters that are not updated; "" = none.
    clips: whether gradients are clipped; None derives it from `clip`.
    layer_decay: factor on the learning rate from each block to the one before it (Clark et al., "ELECTRA", ICLR 2020).
    blocks: blocks of the network from input to output, for `layer_decay`; () = all learn at the same rate.
  """

  name: str = 'sgd'
  schedule: str = 'constant'
  lr: float = 0.1
  decay: float = 0.0
  momentum: float = 0.9
  nesterov: bool = False
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  clip: float = 0.0
  kernels_only: bool = True
  freeze: str = ''
  clips: bool | None = None
  layer_decay: float = 1.0
  blocks: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.clips is None:
      object.__setattr__(self, 'clips', bool(self.clip > 0))

  def _direction(self) -> optax.GradientTransformation:
    if self.name == 'sgd':
      return optax.trace(self.momentum, self.nesterov)
    return optax.scale_by_adam(self.b1, self.b2, self.eps, nesterov=self.name == 'nadam')

  @jax.jit
  def init(self, params: PyTree) -> PyTree:
    """Returns the initial optimizer state for params with a leading axis M."""
    return jax.vmap(self._direction().init)(params)

  def update(self, grads: PyTree, opt: PyTree, params: PyTree, lr: Array) -> tuple[PyTree, PyTree]:
    """Updates M networks.

    Args:
      grads: gradients with a leading axis M.
      opt: optimizer state.
      params: parameters with a leading axis M.
      lr: scheduled learning rate, a traced scalar.

    Returns:
      The new parameters and the new optimizer state.
    """
    return jax.vmap(lambda g, o, p: self._update_one(g, o, p, lr))(grads, opt, params)

  def _update_one(self, grads: PyTree, opt: PyTree, params: PyTree, lr: Array) -> tuple[PyTree, PyTree]:
    frozen = path_matches(self.freeze, params) if self.freeze else None
    if self.freeze:  # before clipping: gradients of frozen parameters must not count in the norm
      grads = jax.tree.map(lambda g, f: jnp.zeros_like(g) if f else g, grads, frozen)
    decayed = path_matches(r'kernel$' if self.kernels_only else '', params)
    shrink = jax.tree.map(lambda p, on: self.decay * p if on else jnp.zeros_like(p), params, decayed)
    if self.clips:
      norm = optax.tree.norm(grads)
      grads = jax.tree.map(lambda g: g * jnp.minimum(self.clip / norm, 1.0), grads)
    if self.name != 'adamw':
      grads = jax.tree.map(jnp.add, grads, shrink)
    step, opt = self._direction().update(grads, opt, params)
    if self.name == 'adamw':
      step = jax.tree.map(jnp.add, step, shrink)
    if self.blocks:
      step = jax.tree.map(lambda s, depth: s * self.layer_decay**depth, step, depths(self.blocks, params))
    new = jax.tree.map(lambda p, s: p - lr * s, params, step)
    if self.freeze:
      new = jax.tree.map(lambda p, n, f: p if f else n, params, new, frozen)
    return new, opt


def depths(blocks: tuple[str, ...], params: PyTree) -> PyTree:
  """Returns how many blocks lie between each parameter and the output of the network; 0 for the last block.

  Args:
    blocks: blocks from input to output. To a block belong the layers of its name and those whose names continue it
      after an underscore: "stem_conv" belongs to "stem".
    params: parameters of a network.
  """

  def one(path: tuple[Any, ...], _: Array) -> int:
    layer = path[0].key
    return next((i for i, name in enumerate(reversed(blocks)) if f'{layer}_'.startswith(f'{name}_')), 0)

  return jax.tree_util.tree_map_with_path(one, params)


class Schedule(struct.PyTreeNode):
  """The numbers of a schedule.

  Attributes:
    warmup: epochs of linear warm-up from 0; "one_cycle" ignores it.
    final: final learning rate of "cosine", "quarter_cosine", "one_cycle" and each period of "warm_restarts", as a
      fraction of the base.
    factor: factor on the learning rate at each milestone of "step" and at each cut of "plateau".
    milestones: float32 [k], epochs at which "step" cuts the learning rate.
    restart: period of "warm_restarts", in epochs.
    peak: position of the maximum of "one_cycle", as a fraction of the phase.
  """

  warmup: Array
  final: Array
  factor: Array
  milestones: Array
  restart: Array
  peak: Array


def learning_rate(kind: str, base: Array | float, s: Schedule, epoch: Array, epochs: Array, scale: Array) -> Array:
  """Returns the scheduled learning rate.

  "cosine" is half a period of a cosine, scaled to end at `final`. "quarter_cosine" is cos(a t) with cos(a) = `final`,
  and ends while it falls fast: with `final` = cos(7π/16) it is FixMatch's cos(7πk/16K) at step k of K
  (microsoft/Semi-supervised-learning, semilearn/core/utils/build.py, lines 217-240, revision 1ef4cbe).

  Args:
    kind: one of SCHEDULES.
    base: base learning rate.
    s: numbers of the schedule.
    epoch: epochs since the phase began, including fractions.
    epochs: length of the phase.
    scale: current factor of "plateau".
  """
  part = epoch / epochs
  unwarmed = (epoch - s.warmup) / jnp.maximum(epochs - s.warmup, 1e-6)
  cosine = lambda t: s.final + (1 - s.final) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(t, 0.0, 1.0)))
  if kind == 'cosine':
    factor = cosine(unwarmed)
  elif kind == 'quarter_cosine':
    factor = jnp.cos(jnp.arccos(jnp.clip(s.final, 0.0, 1.0)) * jnp.clip(unwarmed, 0.0, 1.0))
  elif kind == 'step':
    factor = s.factor ** (epoch >= s.milestones).sum()
  elif kind == 'one_cycle':  # linear up, linear down (Smith & Topin 2018)
    down = s.final + (1 - s.final) * (1 - part) / jnp.maximum(1 - s.peak, 1e-6)
    return base * jnp.minimum(part / jnp.maximum(s.peak, 1e-6), down)
  elif kind == 'warm_restarts':
    factor = cosine((epoch % s.restart) / s.restart)
  elif kind == 'plateau':
    factor = scale
  else:
    factor = jnp.ones_like(part)
  rise = jnp.where(s.warmup > 0, jnp.minimum(epoch / jnp.maximum(s.warmup, 1e-6), 1.0), 1.0)
  return base * factor * rise
