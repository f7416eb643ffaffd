"""The protocol every method implements: a loss, plus a few pure functions around it.

A strategy is a frozen dataclass. Its float fields are traced, so that a sweep over them compiles once; every other
field is static. The engine never asks for a strategy's name.
"""

import dataclasses
import numbers
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import numpy as np
import optax

from noisyjax.data.training import TrainData
from noisyjax.engine import losses
from noisyjax.engine.state import Snapshot, TrainState
from noisyjax.system.errors import UserError

Array = jax.Array
PyTree = Any
Batch = dict[str, dict[str, Array]]


class Views:
  """What a stream hands to the loss: the augmented views of each row, how many rows, and whether labels come along.

  Args:
    names: config names of augmentation pipelines ("weak", "strong", "none"). The batch holds one image array a view,
      under its name; a repeated name is numbered: `Views("weak", "weak")` gives "weak" and "weak1".
    ratio: rows per step, as a multiple of the batch size.
    labeled: an unlabeled stream carries neither labels nor targets, and is the only kind that rows without a label
      may enter.
  """

  def __init__(self, *names: str, ratio: int = 1, labeled: bool = True):
    self.pipelines = names
    self.names = tuple(n if n not in names[:i] else f'{n}{names[:i].count(n)}' for i, n in enumerate(names))
    self.ratio = ratio
    self.labeled = labeled


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Out:
  """What a loss hands back beside its value.

  Attributes:
    logits: float [M, B, C] of the first stream's first view, for the per-row dynamics and the accuracy metric; where
      that view was mixed with another row's (mixup), so are these.
    metrics: name → float or bool [M, B] (or [B]) per example of the first stream; averaged over each epoch. "chosen"
      also marks the rows that entered the loss.
    extra: the new `state.extra`; None keeps the old.
    active: bool [M]; a network that is not active keeps its parameters, statistics and optimizer. None: all are.
  """

  logits: Array | None = None
  metrics: dict[str, Array] = dataclasses.field(default_factory=dict)
  extra: PyTree = None
  active: Array | None = None


class Ctx:
  """What the step lends to a loss (and, without networks, to `refresh`). Lives only while the step is traced.

  Attributes:
    key: a key for this step (in `refresh`: for this epoch).
    epoch: int32, counted from the phase's first epoch.
    epochs: float32, the phase's length.
    progress: float32 in [0, 1), the part of the phase that is done.
    classes: number of classes C.
    lr: float32, this step's learning rate of the networks; None in `refresh`.
    rows: bool [N], the rows that the phase may use; None in a loss, which never sees the others.
    previous: in `refresh` on entering a phase, the TrainState that the phase before it left; else None.
    stats: the networks' running statistics after all calls so far.
    passes: images through a network so far (forward 1, forward and backward 3).
  """

  def __init__(self, key, epoch, epochs, progress, classes, net=None, state=None, lr=None, rows=None, previous=None):
    self.key, self.epoch, self.epochs, self.progress, self.classes = key, epoch, epochs, progress, classes
    self.lr, self.rows, self.previous = lr, rows, previous
    self._net, self._state, self._calls = net, state, 0
    self.stats = None if state is None else state.stats
    self.passes = 0

  def net(self, params: PyTree, images: Array, keep: bool = True) -> tuple[Array, Array]:
    """Runs the networks in training mode: dropout on, statistics of the batch.

    Args:
      params: the strategy's `params` (with "net").
      images: [B, H, W, C], the same for all networks, or [M, B, H, W, C].
      keep: whether the running statistics move; False for virtual steps inside an inner gradient.
    Returns:
      logits [M, B, C] and features [M, B, F].
    """
    key = jax.random.fold_in(self.key, self._calls)
    self._calls += 1
    self.passes += 3 * self._net.images(images)
    logits, features, stats = self._net.train(params['net'], self.stats, images, key)
    if keep:
      self.stats = stats
    return logits, features

  def guess(self, images: Array, keep: bool = True) -> tuple[Array, Array]:
    """Predicts in training mode, by the batch's own statistics and dropout, without gradient; otherwise as `net`."""
    self.passes -= 2 * self._net.images(images)  # forward alone
    return jax.lax.stop_gradient(self.net(self._state.params, images, keep))

  def look(self, images: Array, averaged: bool = False) -> tuple[Array, Array]:
    """Predicts with running statistics and no gradient, and moves nothing; arguments and result as in `net`.

    Args:
      images: as in `net`. averaged: ask the averaged networks, where the run keeps an average (`config.ema`).
    """
    self.passes += self._net.images(images)
    now = self._state.current if averaged else Snapshot(self._state.params['net'], self._state.stats)
    return jax.lax.stop_gradient(self._net.look(now.params, now.stats, images))

  def mixed(self, loss: Callable[[Array], Array], batch: dict[str, Array]) -> Array:
    """Returns `loss(target)` per example; where mixup mixed images for `mix = "loss"`, both targets' losses, mixed."""
    if 'partner' not in batch:
      return loss(batch['target'])
    return batch['lam'] * loss(batch['target']) + (1 - batch['lam']) * loss(batch['partner'])


class Strategy:
  """One method. Subclasses override what they change; as it stands, this is cross-entropy on the targets.

  Class attributes (a subclass may make one a field by annotating it):
    networks: M.
    streams: name → Views. The first one counts the epoch and feeds metrics and dynamics.
    mix: how mixup may apply: "target" (targets are mixed), "loss" (losses are: use `ctx.mixed`) or None (refused).
    refresh_on: when `refresh` runs: "epoch" (the start of every epoch) or "phase" (only on entering the phase).
    averaged: whether `score` is of the averaged networks, where the run keeps an average, once the phase is under way.
    asks_best: whether, on entering a phase, `score` is of the earlier phase's best networks by validation, not of its
      last ones.
    soft: whether `refresh` writes soft targets.
    needs: what it must be told: any of "verified", "rate", "matrix". A property, where that depends on its fields.
    coupled: whether the paper's loss joins the networks (JoCoR); elsewhere none reaches another's gradient.
    parts, rates: its float fields that are a part of something, from 0 to 1; of those, the ones that below 0 are
      estimated. All other numbers are at least 0.
    extra_classes: outputs of the networks beyond the C classes (AUM's class of rows that are wrong on purpose); a
      strategy that has any must cut them off in `probs`.
  """

  networks: ClassVar[int] = 1
  streams: ClassVar[dict[str, Views]] = {'train': Views('weak')}
  mix: ClassVar[str | None] = 'target'
  refresh_on: ClassVar[str] = 'epoch'
  averaged: ClassVar[bool] = False
  asks_best: ClassVar[bool] = False
  soft: ClassVar[bool] = False
  needs: ClassVar[tuple[str, ...]] = ()
  coupled: ClassVar[bool] = False
  parts: ClassVar[tuple[str, ...]] = ()
  rates: ClassVar[tuple[str, ...]] = ()
  extra_classes: ClassVar[int] = 0
  # Both optional:
  #   score(self, logits [M, B, C], features [M, B, F], batch) → {name: [M, B, …]}: what `refresh` needs of every
  #     training row, streamed in chunks; batch has index, label, target, weight.
  #   refresh(self, state, scores {name: [M, N, …]}, ctx) → (Targets, extra).
  score = None
  refresh = None

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)
    traced = [f.name for f in fields if f.type in (float, 'float')]
    static = [f.name for f in fields if f.name not in traced]
    # Not register_dataclass: in jaxlib 0.10 and 0.11 two of its classes with equal fields make equal tree structures,
    # of other hashes, so that jit's cache now and then takes one strategy for another.
    jax.tree_util.register_pytree_node(
      cls,
      lambda s: ([getattr(s, n) for n in traced], tuple(getattr(s, n) for n in static)),
      lambda values, floats: cls(**dict(zip(static, values)), **dict(zip(traced, floats))),
    )

  @classmethod
  def build(cls, **values) -> 'Strategy':
    """Returns the strategy with its floats cast once to float32 scalars, so that a new value never retraces.

    Raises:
      UserError: a number that is out of range.
    """
    floats = {f.name for f in dataclasses.fields(cls) if f.type in (float, 'float')}
    values = {f.name: values.get(f.name, f.default) for f in dataclasses.fields(cls)}
    for field, value in values.items():
      if isinstance(value, numbers.Real):
        cls._check_range(field, value)
    return cls(**{k: np.float32(v) if k in floats else v for k, v in values.items()})

  @classmethod
  def _check_range(cls, field: str, value: float) -> None:
    part, rate = field in cls.parts + cls.rates, field in cls.rates
    if not (0 <= value <= 1 if part else value >= 0) and not (rate and value < 0):
      expected = 'from 0 to 1' if part else 'of at least 0'
      also = ', or one below 0 to have it estimated' if rate else ''
      name = cls.__module__.split('.')[-1]
      raise UserError(f'strategy.{name}.{field}: expected a number {expected}{also}; found {value}.')

  def phases(self, name: str, epochs: int) -> tuple:
    """Returns the phases of a run of this method alone: (strategy, epochs, overrides), …"""
    return ((name, epochs, {}),)

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    """Returns learnables beside the networks (a dict of trees) and `extra` state, on entering a phase."""
    del key, data
    return {}, {}

  def own_optimizer(self) -> optax.GradientTransformation:
    """Returns the optimizer of the learnables beside the networks; a strategy that has any must name it."""
    raise NotImplementedError(f'{type(self)} has learnables beside the networks and names no optimizer for them.')

  def members(self, state: TrainState) -> dict[str, Array]:
    """Returns each stream's rows: bool [N] or [M, N], or int groups (-1 = out) that are walked round-robin."""
    return {name: state.targets.weight > 0 for name in self.streams}

  def loss(self, params: PyTree, state: TrainState, batch: Batch, ctx: Ctx) -> tuple[Array, Out]:
    """Returns the scalar to descend, summed over networks, and an `Out`; here cross-entropy on the first stream."""
    name, views = next(iter(self.streams.items()))
    b = batch[name]
    logits, _ = ctx.net(params, b[views.names[0]])  # [M, B, C]
    return supervised(losses.cross_entropy(logits, b['target']), b, logits)

  def probs(self, logits: Array) -> Array:
    """Returns the vote of the networks: [M, B, C] → [B, C]."""
    return jax.nn.softmax(logits).mean(0)


def supervised(per: Array, batch: dict[str, Array], logits: Array, chosen: Array | None = None):
  """Returns the usual (loss, Out): each network's mean of `per` [M, B] over the rows chosen, summed over networks."""
  weight = batch['weight'] if chosen is None else batch['weight'] * chosen
  metrics = {'loss': per} if chosen is None else {'loss': per, 'chosen': chosen}
  return losses.weighted_mean(per, weight).sum(), Out(logits=logits, metrics=metrics)


def halves(epochs: int) -> tuple[int, int]:
  """Returns the epochs of the two halves of a plan, none of them without any."""
  return max(epochs // 2, 1), max(epochs - epochs // 2, 1)


def predictions(logits: Array, features: Array, batch: dict[str, Array]) -> dict[str, Array]:
  """The `score` of strategies whose `refresh` wants the networks' probabilities: {"probs": [M, B, C]}."""
  return {'probs': jax.nn.softmax(logits)}


def row_losses(logits: Array, features: Array, batch: dict[str, Array]) -> dict[str, Array]:
  """The `score` of strategies whose `refresh` looks for small losses: {"loss": [M, B]}, of cross-entropy."""
  return {'loss': losses.cross_entropy(logits, batch['target'])}


def surest(logits: Array, features: Array, batch: dict[str, Array]) -> dict[str, Array]:
  """The `score` of strategies whose `refresh` wants the vote's class and its probability: {"guess", "sure": [1, B]}."""
  probs = jax.nn.softmax(logits).mean(0, keepdims=True)
  return {'guess': probs.argmax(-1).astype('int32'), 'sure': probs.max(-1)}
