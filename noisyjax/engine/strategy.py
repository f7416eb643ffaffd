"""The contract of a method: everything its author may use. `docs/adding_a_method.md` shows it at work.

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
                  [M, N]: what the run trains on. Begins with the data's labels and weights, soft None (or their one-hot
                  labels, where `soft` is set) and trust 1; later phases find it as the earlier ones left it. Written by
                  `refresh`, which returns `state.targets.replace(trust=…, …)`. Rows of weight 0 enter nothing.
  state.extra     a tree of arrays of the strategy's own, made by `init`. Written by `loss` (`Out.extra`) between steps
                  and by `refresh` between epochs; both return all of it, with shapes as they were.
  params          "net": the networks · "own": learnables made by `init`. Written by the optimizer alone, from the
                  gradient of `loss`, whose argument `params` this is. (`state.params` holds the same values.)
  state.dynamics  running sums over the rows' visits (engine/dynamics.py). Written by the engine alone.

What `ctx` offers to `loss` (engine/context.py says more):

  ctx.net(params, images)       training mode, with a gradient → logits float32 [M, B, C], features float32 [M, B, F]
  ctx.guess(images)             training mode, without a gradient → the same
  ctx.look(images)              evaluation mode, without a gradient → the same; `averaged=True`: the averaged networks
  ctx.mixed(loss, batch)        a loss of targets under mixup, for `mix = "loss"`
  ctx.key                       for random numbers: jax.random.fold_in(ctx.key, n) with n from 2^16 on
  ctx.epoch, ctx.epochs         int32, from 0 in every phase, and float32, the phase's length
  ctx.progress                  float32 in [0, 1), the part of the phase that is done
  ctx.classes                   C, a Python int
  ctx.lr                        float32, the networks' learning rate at this step

and to `refresh`: key, epoch, epochs, progress, classes, and

  ctx.rows                      bool [N], the rows that the phase may use: no other row may influence anything
  ctx.previous_state            on entering a phase, the TrainState that the phase before it left; else None

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
  """What a stream hands to the loss: augmented views of each row, how many rows, and whether labels come along.

  Attributes:
    pipelines: the pipeline of each view: "weak", "strong" (`config.augment`) or "none".
    names: the key of each view in the batch: the pipeline's name, numbered from its second use on.
      `Views('weak', 'weak')` gives "weak" and "weak1".
    ratio: rows per step, as a multiple of the batch size.
    labeled: whether labels come along. A labeled stream has labeled rows alone; an unlabeled one carries neither labels
      nor targets, and may have any row.
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

  A stream always has B rows: where it has fewer than that, or the epoch is longer than the stream, rows come again. A
  stream without any row has weight 0 everywhere, black images, and numbers that mean nothing.

  Attributes:
    index: int32 [B], the rows' numbers. One may occur more than once.
    weight: float32 [B], `targets.weight` of the rows.
    trust: float32 [M, B], `targets.trust` of the rows.
    weak: float32 [B, H, W, channels] in 0–255, a view that the stream's `Views` name; so are all others below.
    weak1: the same, augmented anew. Further views are "weak2" and so on.
    strong: the same, by the strong pipeline.
    strong1: the same, augmented anew.
    none: the image as it is.
    label: int32 [B]. Not in an unlabeled stream.
    target: float32 [B, C], one-hot label or `targets.soft`, mixed by mixup where `mix` is "target". Not in an unlabeled
      stream.
    partner: float32 [B, C], under mixup where `mix` is "loss": the target of the row that each was mixed with.
    lam: float32 [B], with `partner`: the part of the row's own image in the mixture.
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
    logits: float [M, B, C] of the first stream's first view, for the accuracy metric and the rows' dynamics; where that
      view was mixed with another row's (mixup), so are these. None: neither is kept.
    metrics: name → float or bool per example of the first stream, [M, B] (or what broadcasts to it); averaged over each
      epoch. "chosen" also marks the rows that entered the loss.
    extra: the new `state.extra`, all of it; None keeps the old.
    active: bool [M]; a network that is not active keeps its parameters, statistics and optimizer. None: all are active.
  """

  logits: Array | None = None
  metrics: dict[str, Array] = dataclasses.field(default_factory=dict)
  extra: PyTree = None
  active: Array | None = None


@typing.dataclass_transform(frozen_default=True)
class Strategy:
  """One method. Subclasses override what they change; as it stands, this is cross-entropy on the targets.

  A subclass becomes a frozen dataclass, whose fields are the method's hyper-parameters: every field is a flag,
  `--config.strategy.NAME.FIELD`, needs a default, and is described in the class's docstring under "Attributes:". Fields
  annotated `Traced` are traced (a sweep over them compiles once); all others are static. An attribute below becomes a
  field by an annotation (`networks: int = 2`), and may be a property where it depends on fields.

  Attributes:
    networks: M.
    streams: name → Views. The first stream counts the epoch, and metrics and dynamics are of its rows.
    mix: how mixup may apply: "target" (targets are mixed), "loss" (losses are: use `ctx.mixed`) or None (refused).
    refresh_on: when `refresh` runs: "epoch" (on entering, and at the start of every epoch) or "phase" (on entering
      alone; a phase must come before).
    soft: whether `refresh` writes soft targets; `targets.soft` is then an array from the start.
    averaged: whether `score` is of the averaged networks, where the run keeps an average, once the phase is under way.
    asks_best: whether, on entering a phase, `score` is of the earlier phase's best networks by validation, not of its
      last ones.
    needs: what the method must be told: any of "verified", "rate" (of the noise), "matrix".
    coupled: whether the networks' gradients may depend on one another's parameters (JoCoR). Elsewhere they never do.
    unit_interval: names of the fields that lie from 0 to 1. All other numbers are at least 0.
    estimable: names of the fields that lie from 0 to 1 and are estimated where they are below 0.
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
      UserError: a number that is out of range.
    """
    return cls(**traced.cast(cls, values, cls.unit_interval, cls.estimable))

  @property
  def refreshes(self) -> bool:
    """Whether `refresh` changes anything. A strategy whose fields decide that overrides it."""
    return type(self).refresh is not Strategy.refresh

  @property
  def scores(self) -> bool:
    """Whether `refresh` wants the scores. A strategy whose fields decide that overrides it."""
    return self.refreshes and type(self).score is not Strategy.score

  def phases(self, name: str, epochs: int) -> Phases:
    """Plans a run of this method, for configs that name no phases of their own.

    Args:
      name: what the config calls this strategy.
      epochs: of the whole run.
    Returns:
      (strategy, epochs, {field of the config: value}) of each phase; the last one is this strategy's.
    """
    return ((name, epochs, {}),)

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    """Makes the strategy's own memories, on entering a phase.

    Args:
      key: for random numbers.
      data: the training rows: images, given and verified labels, classes, width of the features. No true labels.
    Returns:
      Learnables beside the networks (a dict of trees; {} = none), which become `params["own"]`, and `state.extra`.
    """
    del key, data
    return {}, {}

  def own_optimizer(self) -> optax.GradientTransformation:
    """Returns the optimizer of the learnables beside the networks; a strategy that has any must override this."""
    raise NotImplementedError(f'{type(self)} has learnables beside the networks and names no optimizer for them.')

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    """Keeps what `refresh` needs of some rows. Runs over all N rows, in chunks, in evaluation mode, unaugmented.

    Args:
      logits: [M, B, C].
      features: [M, B, F].
      batch: of the chunk, with index, label, weight [B] and target [B, C] alone.
    Returns:
      name → [M, B, …], or [1, B, …] for what the networks share. Held in memory for all rows: keep it small.
    """
    del logits, features, batch
    return {}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    """Rewrites targets and `extra` between epochs. Rows outside `ctx.rows` and rows of weight 0 must not matter.

    Args:
      state: of the run. Its networks are those that were scored.
      scores: what `score` returned, of all rows: name → [M, N, …] or [1, N, …]; {} without a `score`.
      ctx: without networks.
    Returns:
      The new `state.targets` and the new `state.extra`.
    """
    del scores, ctx
    return state.targets, state.extra

  def members(self, state: TrainState) -> dict[str, Array]:
    """Returns the rows of every stream for the epoch that begins.

    The engine then takes out rows that the phase may not use, rows of weight 0 and, from labeled streams, rows without
    a label.

    Args:
      state: of the run, after `refresh`.
    Returns:
      stream → bool [N], or [M, N] for different rows in each network; or int32 of these shapes, a group in [0, C) or
      -1 = not in the stream: the batch then takes from one group after another, so that each comes equally often.
    """
    return {name: state.targets.weight > 0 for name in self.streams}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    """Computes what one step descends; here cross-entropy on the first stream.

    Args:
      params: {"net": the networks, "own": learnables}, by which the engine differentiates.
      state: of the run, without a gradient. `state.masks` has this epoch's members of each stream.
      batch: stream → Batch. Rows of weight 0 must not count.
      ctx: networks, key and place in the run.
    Returns:
      The loss, a scalar: each network's mean over its rows, summed over networks, so that none slows another down; and
      an `Out`.
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
  """Returns the usual (loss, Out) of a loss per example.

  Args:
    per: [M, B], which becomes the metric "loss".
    batch: of the first stream; its weights count.
    logits: [M, B, C].
    chosen: bool [M, B] or [B], rows that enter the loss; None: all.
  Returns:
    Each network's mean of `per` over the rows chosen, summed over networks; and an `Out`.
  """
  weight = batch['weight'] if chosen is None else batch['weight'] * chosen
  metrics = {'loss': per} if chosen is None else {'loss': per, 'chosen': chosen}
  return losses.weighted_mean(per, weight).sum(), Out(logits=logits, metrics=metrics)


def halves(epochs: int) -> tuple[int, int]:
  """Returns the epochs of the two halves of a plan, at least one each."""
  return max(epochs // 2, 1), max(epochs - epochs // 2, 1)


def predictions(logits: Array) -> Scores:
  """Returns a `score`: each network's probabilities, {"probs": [M, B, C]}."""
  return {'probs': jax.nn.softmax(logits)}


def row_losses(logits: Array, batch: Batch) -> Scores:
  """Returns a `score`: each network's cross-entropy, {"loss": [M, B]}."""
  return {'loss': losses.cross_entropy(logits, batch['target'])}


def surest(logits: Array) -> Scores:
  """Returns a `score`: the networks' mean prediction and its probability, {"guess", "sure": [1, B]}."""
  probs = jax.nn.softmax(logits).mean(0, keepdims=True)
  return {'guess': probs.argmax(-1).astype('int32'), 'sure': probs.max(-1)}
