"""Optimizers and schedules: structure is static, every number is traced, so that a sweep over numbers compiles once.

One network's clipping, moments and decay never see another's: the update is mapped over the network axis.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array

from noisyjax.engine.net import path_matches
from noisyjax.engine.state import PyTree

OPTIMIZERS = ('sgd', 'adam', 'adamw', 'nadam')
SCHEDULES = ('constant', 'step', 'cosine', 'one_cycle', 'warm_restarts', 'plateau')


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=('lr', 'decay', 'momentum', 'b1', 'b2', 'eps', 'clip'),
  meta_fields=('name', 'schedule', 'nesterov', 'kernels_only', 'freeze', 'clips'),
)
@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Which optimizer, and its numbers; a pytree whose float fields are traced and whose other fields are static.

  Attributes:
    name: "sgd" (momentum as PyTorch: decay joins the gradient before it), "adam" (decay likewise), "adamw" (decay
      beside the step), "nadam" (optax's, without Keras' warm-up of the momentum).
    schedule: one of SCHEDULES.
    lr, decay: base learning rate and weight decay.
    momentum, nesterov, b1, b2, eps: as usual.
    clip: global norm per network, 0 = none.
    kernels_only: decay only on leaves called "kernel".
    freeze: regular expression on parameter paths that stay as they are; "" = none.
    clips: whether there is a norm to clip at; follows from it.
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

  def __post_init__(self) -> None:
    if self.clips is None:
      object.__setattr__(self, 'clips', bool(self.clip > 0))

  @classmethod
  def build(cls, **values: Any) -> 'Optimizer':
    """Returns an optimizer with its floats cast once to float32, so that a new value never retraces."""
    made = cls(**values)
    return jax.tree.map(np.float32, made)

  def _direction(self) -> optax.GradientTransformation:
    if self.name == 'sgd':
      return optax.trace(self.momentum, self.nesterov)
    return optax.scale_by_adam(self.b1, self.b2, self.eps, nesterov=self.name == 'nadam')

  @jax.jit
  def init(self, params: PyTree) -> PyTree:
    """Returns the state for params with a leading axis M."""
    return jax.vmap(self._direction().init)(params)

  def update(self, grads: PyTree, opt: PyTree, params: PyTree, lr: Array) -> tuple[PyTree, PyTree]:
    """Returns the new params and state of M networks; lr is what the schedule says, a traced scalar."""
    return jax.vmap(lambda g, o, p: self._update_one(g, o, p, lr))(grads, opt, params)

  def _update_one(self, grads: PyTree, opt: PyTree, params: PyTree, lr: Array) -> tuple[PyTree, PyTree]:
    frozen = path_matches(self.freeze, params) if self.freeze else None
    if self.freeze:  # before the clip, which frozen gradients must not use up
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
    new = jax.tree.map(lambda p, s: p - lr * s, params, step)
    if self.freeze:
      new = jax.tree.map(lambda p, n, f: p if f else n, params, new, frozen)
    return new, opt


class Schedule(struct.PyTreeNode):
  """The numbers of a schedule; durations in epochs.

  Attributes:
    warmup: linear rise from 0 (not for one_cycle). final: the rate at
      the end of cosine, one_cycle and each restart, as a factor. factor: of each step or plateau cut. milestones:
      float32 [k], epochs of the steps. restart: period of warm restarts. peak: where one_cycle peaks, as a part.
  """

  warmup: Array
  final: Array
  factor: Array
  milestones: Array
  restart: Array
  peak: Array


def learning_rate(kind: str, base: Array | float, s: Schedule, epoch: Array, epochs: Array, scale: Array) -> Array:
  """Returns the learning rate.

  Args:
    kind: one of SCHEDULES. base: the rate it scales. s: its numbers.
    epoch: float epochs since the phase began, fractions included. epochs: the phase's length.
    scale: the plateau's factor so far.
  """
  part = epoch / epochs
  cosine = lambda t: s.final + (1 - s.final) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(t, 0.0, 1.0)))
  if kind == 'cosine':
    factor = cosine((epoch - s.warmup) / jnp.maximum(epochs - s.warmup, 1e-6))
  elif kind == 'step':
    factor = s.factor ** (epoch >= s.milestones).sum()
  elif kind == 'one_cycle':  # straight up, straight down (the triangle of Smith & Topin 2018)
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
