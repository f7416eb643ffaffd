"""The contract of a method: everything its author may use. `docs/adding_a_method.md` has examples.

A method is one file with one class, `class Strategy(Base)`: a loss and, where it needs them, a few pure functions
around it. The engine never asks for a strategy's name. Letters in shapes:

  N  training rows; a row's number, from 0 to N − 1, is its place in every array over rows
  M  networks that the strategy trains side by side (`networks`); a strategy of one network has M = 1
  C  classes
  B  rows of a batch: `batch_size` times the stream's `ratio`
  F  width of the features, which are what a network's last layer sees

When each method is called:

  on entering the phase         init · score (in chunks of rows) · refresh · members
  at the start of later epochs  score · refresh (where `refresh_on` is "epoch") · members
  at every step                 loss
  on evaluation                 probs

`score`, `refresh`, `members`, `loss` and `probs` are traced by `jax.jit`: they must be pure and must not branch in
Python on the value of an array or of a `Traced` field. Python may branch on static fields.

The four memories, all in `state` (a TrainState of engine/state.py), and who writes each:

  state.targets   label int32 [N] (-1 = unlabeled) · soft float32 [N, C] or None · weight float32 [N] · trust float32
                  [M, N]: what the run trains on. The first phase begins with the labels and weights of the data, soft
                  None (one-hot labels if the strategy sets `soft`) and trust 1; later phases begin with the targets of
                  the previous one. Written by `refresh`, which returns `state.targets.replace(trust=…, …)`. Rows of
                  weight 0 are not used at all.
  state.extra     the strategy's own tree of arrays, made by `init`. Written by `loss` (`Out.extra`) between steps and
                  by `refresh` between epochs; both return the whole tree, with unchanged shapes.
  params          "net": the networks · "own": own parameters made by `init`. Written by the optimizer alone, from the
                  gradient of `loss`, whose argument `params` this is. (`state.params` holds the same values.)
  state.dynamics  running sums over the rows' visits (engine/dynamics.py). Written by the engine alone.

What `ctx` offers to `loss` (engine/context.py says more):

  ctx.net(params, images)       training mode, with a gradient → logits float32 [M, B, C], features float32 [M, B, F]
  ctx.guess(images)             training mode, without a gradient → the same
  ctx.look(images)              evaluation mode, without a gradient → the same; `averaged=True`: the averaged networks
  ctx.mixed(loss, batch)        a loss of targets under mixup, for `mix = "loss"`
  ctx.key                       for random numbers: jax.random.fold_in(ctx.key, n) with n from 2^16 on
  ctx.epoch, ctx.epochs         int32, from 0 in every phase, and float32, the phase's length
  ctx.progress                  float32 in [0, 1), the completed fraction of the phase
  ctx.classes                   C, a Python int
  ctx.lr                        float32, the networks' learning rate at this step

and to `refresh`: key, epoch, epochs, progress, classes, and

  ctx.rows                      bool [N], the rows that the phase may use: no other row may influence anything
  ctx.previous_state            on entering a phase, the final TrainState of the previous phase; otherwise None

`noisyjax.engine.losses` has losses per example and `weighted_mean`; `noisyjax.strategies.shared` has what several
methods use, such as `row_memory` (a memory for each row in `extra`); `noisyjax.estimate` has mixtures and matrices.
"""

import dataclasses
import typing
from typing import Any, ClassVar, Self, TypedDict

import jax
import optax
from jax import Array

from noisyjax.data.training import TrainData
from noisyjax.engine import losses, traced
from noisyjax.engine.context import Ctx
from noisyjax.engine.state import PyTree, Targets, TrainState
from noisyjax.engine.traced import Traced as Traced

Phases = tuple[tuple[str, int, dict[str, Any]], ...]  # (strategy, epochs, {field of the config: value}), …
Scores = dict[str, Array]  # of a chunk of rows {name: [M or 1, B, …]}, or of all rows {name: [M or 1, N, …]}


class Views:
  """A stream of rows for the loss: augmented views of each row, number of rows per step, and whether it has labels.

  Attributes:
    pipelines: the pipeline of each view: "weak", "strong" (`config.augment`) or "none".
    names: the key of each view in the batch: the pipeline's name, numbered from its second use on.
      `Views('weak', 'weak')` gives "weak" and "weak1".
    ratio: rows per step, as a multiple of the batch size.
    labeled: whether batches contain labels and targets. A labeled stream contains only labeled rows; an unlabeled
      stream may contain any rows.
  """

  def __init__(self, *names: str, ratio: int = 1, labeled: bool = True) -> None:
    self.pipelines = names
    self.names = tuple(n if n not in names[:i] else f'{n}{names[:i].count(n)}' for i, n in enumerate(names))
    self.ratio = ratio
    self.labeled = labeled


class Batch(TypedDict, total=False):
  """One stream's rows at one step.

  Shapes are those of a stream whose mask is [N]: all networks see the same rows. Where `members` gives a mask for each
  network, [M, N], they see different rows, and every array has a leading M: index [M, B], weak [M, B, H, W, channels].
  Only `trust` has it in either case.

  A batch always has B rows: if the stream has fewer rows, or the epoch is longer than the stream, rows are repeated.
  The batch of a stream without rows has weight 0, black images and meaningless row numbers.

  Attributes:
    index: int32 [B], the rows' numbers. One may occur more than once.
    weight: float32 [B], `targets.weight` of the rows.
    trust: float32 [M, B], `targets.trust` of the rows.
    weak: float32 [B, H, W, channels] in 0–255, the images augmented by the weak pipeline. This key and the view keys
      below are present if the stream's `Views` names them.
    weak1: a second, independent view by the weak pipeline; further ones are "weak2" and so on.
    strong: the images augmented by the strong pipeline.
    strong1: a second, independent view by the strong pipeline.
    none: the images without augmentation.
    label: int32 [B]. Not in an unlabeled stream.
    target: float32 [B, C], one-hot label or `targets.soft`, mixed by mixup where `mix` is "target". Not in an unlabeled
      stream.
    partner: float32 [B, C], under mixup where `mix` is "loss": the target of the row that each was mixed with.
    lam: float32 [B], with `partner`: the fraction of the row's own image in the mixture.
  """

  index: Array
  weight: Array
  trust: Array
  weak: Array
  weak1: Array
  strong: Array
  strong1: Array
  none: Array
  label: Array
  target: Array
  partner: Array
  lam: Array


Batches = dict[str, Batch]  # stream → batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Out:
  """What a loss returns beside its value.

  Attributes:
    logits: float [M, B, C] for the first view of the first stream, from which the engine computes accuracy and
      dynamics; with mixup they are the logits of the mixed images. None: accuracy and dynamics are not recorded.
    metrics: name → float or bool per example of the first stream, [M, B] or broadcastable to it; averaged over each
      epoch. The metric "chosen" also marks the rows that entered the loss.
    extra: the whole new `state.extra`; None keeps the old one.
    active: bool [M]; a network that is not active keeps its parameters, statistics and optimizer state. None: all
      networks are active.
  """

  logits: Array | None = None
  metrics: dict[str, Array] = dataclasses.field(default_factory=dict)
  extra: PyTree = None
  active: Array | None = None


@typing.dataclass_transform(frozen_default=True)
class Strategy:
  """One method. Subclasses override what they change; this base class is cross-entropy on the targets.

  A subclass becomes a frozen dataclass, whose fields are the method's hyper-parameters: every field is a flag,
  `--config.strategy.NAME.FIELD`, needs a default, and is described in the class's docstring under "Attributes:". Fields
  annotated `Traced` are traced (a sweep over them compiles once); all others are static. An attribute below becomes a
  field by an annotation (`networks: int = 2`), and may be a property where it depends on fields.

  Attributes:
    networks: M.
    streams: name → Views. The first stream defines the length of an epoch; metrics and dynamics cover its rows.
    mix: how mixup may apply: "target" (targets are mixed), "loss" (losses are: use `ctx.mixed`) or None (refused).
    refresh_on: when `refresh` runs: "epoch" (on entering the phase and at the start of every later epoch) or "phase"
      (only on entering the phase, which must not be the first one).
    soft: whether `refresh` writes soft targets; `targets.soft` is then an array from the start.
    averaged: whether `score` uses the averaged networks at the start of later epochs, if the run keeps an average.
    asks_best: whether `score`, on entering a phase, uses the previous phase's best networks by validation accuracy
      instead of its final networks.
    needs: knowledge that the method requires: any of "verified" (labels), "rate" (of the noise) and "matrix" (of the
      noise transitions).
    coupled: whether a network's gradient may depend on the parameters of the other networks (JoCoR).
    unit_interval: names of the fields that must be from 0 to 1. All other numbers must be at least 0.
    estimable: names of the fields that must be from 0 to 1, or negative to have the value estimated.
    extra_classes: outputs of the networks beyond the C classes; `probs` must cut them off.
  """

  networks: ClassVar[int] = 1
  streams: ClassVar[dict[str, Views]] = {'train': Views('weak')}
  mix: ClassVar[str | None] = 'target'
  refresh_on: ClassVar[str] = 'epoch'
  soft: ClassVar[bool] = False
  averaged: ClassVar[bool] = False
  asks_best: ClassVar[bool] = False
  needs: ClassVar[tuple[str, ...]] = ()
  coupled: ClassVar[bool] = False
  unit_interval: ClassVar[tuple[str, ...]] = ()
  estimable: ClassVar[tuple[str, ...]] = ()
  extra_classes: ClassVar[int] = 0

  def __init_subclass__(cls, **kwargs: Any) -> None:
    super().__init_subclass__(**kwargs)
    traced.declare(cls)

  @classmethod
  def build(cls, **values: Any) -> Self:
    """Returns the strategy with these fields, traced ones cast to float32 scalars.

    Raises:
      UserError: a number is out of range.
    """
    return cls(**traced.cast(cls, values, cls.unit_interval, cls.estimable))

  @property
  def refreshes(self) -> bool:
    """Whether `refresh` changes anything. Override it if that depends on fields."""
    return type(self).refresh is not Strategy.refresh

  @property
  def scores(self) -> bool:
    """Whether `refresh` needs scores. Override it if that depends on fields."""
    return self.refreshes and type(self).score is not Strategy.score

  def phases(self, name: str, epochs: int) -> Phases:
    """Plans a run of this method, for configs that name no phases of their own.

    Args:
      name: what the config calls this strategy.
      epochs: epochs of the whole run.

    Returns:
      (strategy, epochs, {field of the config: value}) of each phase; the last phase is one of this strategy.
    """
    return ((name, epochs, {}),)

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    """Makes the strategy's own memories, on entering a phase.

    Args:
      key: for random numbers.
      data: the training rows: images, given and verified labels, classes, width of the features. No true labels.

    Returns:
      The strategy's own trainable parameters (a dict of trees; {} = none), which become `params["own"]`, and the
      initial `state.extra`.
    """
    del key, data
    return {}, {}

  def own_optimizer(self) -> optax.GradientTransformation:
    """Returns the optimizer of the strategy's own parameters; a strategy that has any must override this."""
    raise NotImplementedError(f'{type(self)}: `init` returns own parameters; expected an override of `own_optimizer`.')

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    """Computes the scores of some rows for `refresh`.

    The engine calls it for all N rows, in chunks, with networks in evaluation mode and images without augmentation.

    Args:
      logits: [M, B, C].
      features: [M, B, F].
      batch: the rows of the chunk, with only index, label, weight [B] and target [B, C].

    Returns:
      name → [M, B, …], or [1, B, …] for values that the networks share. The scores of all rows are held in memory: keep
      them small.
    """
    del logits, features, batch
    return {}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    """Updates targets and `extra` between epochs. Rows outside `ctx.rows` and rows of weight 0 must have no influence.

    Args:
      state: current state. Its networks are the ones that were scored.
      scores: scores of all rows: name → [M, N, …] or [1, N, …]; {} if the strategy does not override `score`.
      ctx: context, without networks.

    Returns:
      The new `state.targets` and the new `state.extra`.
    """
    del scores, ctx
    return state.targets, state.extra

  def members(self, state: TrainState) -> dict[str, Array]:
    """Returns the rows of every stream for the epoch that begins.

    The engine then removes rows that the phase may not use, rows of weight 0 and, from labeled streams, rows without a
    label.

    Args:
      state: state after `refresh`.

    Returns:
      stream → bool [N], or [M, N] if each network has its own rows. Or int32 of the same shape: a group in [0, C), or
      -1 for rows that are not in the stream; batches then take one row from each group in turn, so that all groups are
      seen equally often.
    """
    return {name: state.targets.weight > 0 for name in self.streams}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    """Computes the loss of one step; in this base class, cross-entropy on the first stream.

    Args:
      params: {"net": parameters of the networks, "own": own parameters}; the engine computes their gradients.
      state: current state, without a gradient. `state.masks` has the members of each stream in this epoch.
      batch: stream → Batch. Rows of weight 0 must not count.
      ctx: networks, key and progress.

    Returns:
      The loss, a scalar, and an `Out`. Sum the loss over networks and average it over rows, so that the learning rate
      of a network does not depend on the number of networks.
    """
    name, views = next(iter(self.streams.items()))
    b = batch[name]
    images = typing.cast(dict[str, Array], b)[views.names[0]]
    logits, _ = ctx.net(params, images)  # [M, B, C]
    return supervised(losses.cross_entropy(logits, b['target']), b, logits)

  def probs(self, logits: Array) -> Array:
    """Returns the networks' vote: logits [M, B, C + extra_classes] → probabilities [B, C]."""
    return jax.nn.softmax(logits).mean(0)


def supervised(per: Array, batch: Batch, logits: Array, chosen: Array | None = None) -> tuple[Array, Out]:
  """Returns the loss of a step and its `Out`, given a loss per example.

  Args:
    per: loss per example, [M, B]; it becomes the metric "loss".
    batch: batch of the first stream; its weights are used.
    logits: [M, B, C].
    chosen: bool [M, B] or [B], rows that enter the loss; None for all.

  Returns:
    The weighted mean of `per` over the chosen rows, summed over networks; and an `Out`.
  """
  weight = batch['weight'] if chosen is None else batch['weight'] * chosen
  metrics = {'loss': per} if chosen is None else {'loss': per, 'chosen': chosen}
  return losses.weighted_mean(per, weight).sum(), Out(logits=logits, metrics=metrics)


def halves(epochs: int) -> tuple[int, int]:
  """Splits the epochs of a plan into two halves of at least one epoch each."""
  return max(epochs // 2, 1), max(epochs - epochs // 2, 1)


def predictions(logits: Array) -> Scores:
  """Returns scores for `Strategy.score`: the probabilities of each network, {"probs": [M, B, C]}."""
  return {'probs': jax.nn.softmax(logits)}


def row_losses(logits: Array, batch: Batch) -> Scores:
  """Returns scores for `Strategy.score`: the cross-entropy of each network, {"loss": [M, B]}."""
  return {'loss': losses.cross_entropy(logits, batch['target'])}


def surest(logits: Array) -> Scores:
  """Returns scores for `Strategy.score` from the mean prediction of the networks.

  Returns:
    "guess": int32 [1, B], the most probable class; "sure": float32 [1, B], its probability.
  """
  probs = jax.nn.softmax(logits).mean(0, keepdims=True)
  return {'guess': probs.argmax(-1).astype('int32'), 'sure': probs.max(-1)}
