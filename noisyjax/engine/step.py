"""The training step: the only place that updates parameters.

A step takes rows from the walks, gathers their images, augments them into views, calls the strategy's loss and updates
each network once. All static values are in one hashable `Spec`; learning rates and all other traced numbers are
arguments (`Hyper`, and the `Traced` fields of the strategy). A phase is traced once, and another value of a traced
number does not trace it again; another batch size, crop border or number of drawn operations does.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from noisyjax.engine import dynamics, gather, optim, placement, walk
from noisyjax.engine.augment.mixup import mixup_pairs
from noisyjax.engine.augment.ops import augment
from noisyjax.engine.augment.strength import Strength
from noisyjax.engine.gather import Gathered
from noisyjax.engine.spec import Hyper, Keys, Spec
from noisyjax.engine.state import PyTree, Snapshot, TrainState
from noisyjax.engine.strategy import Batch, Batches, Ctx, Out, Strategy, Views


def _views(
  spec: Spec, names: tuple[str, ...], strength: Strength, key: Array, index: Array, visit: Array, images: Array
) -> list[Array]:
  """Returns one array of augmented images per view.

  Each image's key depends only on its row number and its visit, not on its batch or its position in the batch.

  Args:
    spec: static values of the phase.
    names: pipeline of each view.
    strength: strength of each augmentation.
    key: key of the stream in this epoch.
    index: int32 [B], row numbers.
    visit: int32 [B], number of earlier visits to the row in this epoch.
    images: [B, H, W, C].
  """
  own = jax.vmap(lambda i, v: jax.random.fold_in(jax.random.fold_in(key, i), v))(index, visit)
  split = jax.vmap(lambda k: jax.random.split(k, len(names)))(own)  # [B, views]
  images = images.astype(jnp.float32)
  return [augment(dict(spec.pipelines)[name], strength, split[:, i], images) for i, name in enumerate(names)]


def _stream_batch(
  spec: Spec,
  hyper: Hyper,
  state: TrainState,
  stream: Views,
  rows: gather.Rows,
  images: Array,
  key: Array,
  mixed: str | None,
) -> Batch:
  """Returns the batch of one stream; its arrays are [B, …], or [M, B, …] if each network has its own rows and views."""

  def views(rows: gather.Rows, pixels: Array, trust: Array, key: Array) -> Any:  # a Batch
    # An empty stream yields row 0, which may be held out. Black pixels keep it out of the batch statistics, too.
    pixels = jnp.where(rows.valid[:, None, None, None], pixels, 0)
    if spec.mesh is not None:
      pixels = jax.lax.with_sharding_constraint(pixels, NamedSharding(spec.mesh, PartitionSpec('data')))
    index = rows.index
    seen = _views(spec, stream.pipelines, hyper.strength, key, index, rows.visit, pixels)
    weight, trust, label = placement.apart(_of_rows)(rows, state.targets.weight, trust, state.targets.label)
    batch = {'index': index, 'weight': weight, 'trust': trust}
    batch |= dict(zip(stream.names, seen, strict=True))
    if not stream.labeled:
      return batch
    hard = jax.nn.one_hot(label, spec.classes)  # an unlabeled row (-1) is all zeros
    target = hard if state.targets.soft is None else state.targets.soft[index]
    batch |= {'label': label, 'target': target}
    own = jax.random.fold_in(key, ~state.step)  # negative, because `_views` folds in row numbers, which are ≥ 0
    return _mix(batch, stream.names, mixed, hyper.mixup, own) if mixed else batch

  if rows.index.ndim == 1:
    return views(rows, images, state.targets.trust, key)
  return jax.vmap(views)(rows, images, state.targets.trust, walk.own_keys(key, len(rows.index)))


def _of_rows(rows: gather.Rows, weight: Array, trust: Array, label: Array) -> tuple[Array, Array, Array]:
  """Returns weights [B], trust [B] or [M, B] and labels [B] of the rows of a stream, from those of all rows."""
  return jnp.where(rows.valid, weight[rows.index], 0.0), trust[..., rows.index], label[rows.index]


def _mix(batch: dict[str, Array], names: tuple[str, ...], mixed: str, alpha: Array, key: Array) -> dict[str, Array]:
  """Applies mixup (Zhang et al. 2018) to the images of a batch.

  With `mixed` = "target" the targets are mixed, too. With "loss" both targets are kept, for `ctx.mixed`.
  """
  lam, partner = mixup_pairs(key, alpha, len(batch['index']))
  blend = lambda a: lam * a + (1 - lam) * a[partner]
  batch |= {name: blend(batch[name]) for name in names}
  if mixed == 'target':
    return batch | {'target': blend(batch['target'])}
  return batch | {'partner': batch['target'][partner], 'lam': jnp.full(len(partner), lam)}


def _update(
  spec: Spec,
  strategy: Strategy,
  hyper: Hyper,
  state: TrainState,
  grads: PyTree,
  lr: Array,
  stats: PyTree,
  active: Array | None,
) -> tuple[PyTree, PyTree, PyTree, Snapshot | None]:
  """Returns new params, optimizer state, running statistics and average.

  Networks that are not active keep their parameters, statistics, optimizer state and average.
  """
  net, opt = hyper.optimizer.update(grads['net'], state.opt['net'], state.params['net'], lr)
  since = state.phase_epoch * hyper.steps + state.tick  # steps since the phase, and with it the average, began
  decay = average_decay(hyper.ema, hyper.ema_ramp, since)
  ema = _average(state.ema, Snapshot(net, stats), decay) if spec.ema else None
  new = (net, opt, stats, ema)
  if active is not None:
    old = (state.params['net'], state.opt['net'], state.stats, state.ema)
    pick = lambda n, o: jnp.where(active.reshape((-1,) + (1,) * (n.ndim - 1)), n, o)
    new = jax.tree.map(pick, new, old)
  own, own_opt = state.params['own'], state.opt['own']
  if jax.tree.leaves(own):
    step, own_opt = strategy.own_optimizer().update(grads['own'], own_opt, own)
    own = optax.apply_updates(own, step)
  return {'net': new[0], 'own': own}, {'net': new[1], 'own': own_opt}, new[2], new[3]


def average_decay(decay: Array, ramp: Array, step: Array) -> Array:
  """Returns the decay of the average at a step of the phase, which begins small and rises to `decay`.

  With `ramp` = 0 it is at most (1 + t)/(10 + t) at step t, so that the initial values lose their weight quickly.
  Otherwise it is decay · exp(−5 (1 − u)²), u = (t + 2)/ramp but at most 1, as ELR+ has it (shengliu66/ELR, revision
  934af53: ELR_plus/trainer/trainer.py, lines 120 and 321-331, and ELR_plus/utils/util.py, lines 45-52; its counter is 2
  at the first step).

  Args:
    decay: final decay.
    ramp: steps over which it rises; 0 = as described.
    step: steps since the phase began, from 0.
  """
  u = jnp.minimum((step + 2.0) / jnp.maximum(ramp, 1.0), 1.0)
  return jnp.where(ramp > 0, decay * jnp.exp(-5 * (1 - u) ** 2), jnp.minimum(decay, (1.0 + step) / (10.0 + step)))


def _average(ema: Snapshot | None, now: Snapshot, decay: Array) -> Snapshot:
  """Updates the average of parameters and statistics."""
  return jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, ema, now)


def _record(
  record: dynamics.Dynamics,
  index: Array,
  visits: Array,
  weight: Array,
  label: Array,
  logits: Array,
  chosen: Array | None,
) -> dynamics.Dynamics:
  """Returns the dynamics after a step.

  Args:
    record: dynamics before the step.
    index: rows of the first stream, [B] or [M, B].
    visits: number of earlier visits to each of them in this epoch, same shape.
    weight: their weights, same shape.
    label: their labels, same shape.
    logits: [M, B, C].
    chosen: whether each row entered the loss, of a shape that broadcasts to [M, B]; None: if its weight is above 0.
  """
  first = (visits == 0) & (weight > 0)
  chosen = weight > 0 if chosen is None else chosen
  index, first, label, chosen = (jnp.broadcast_to(a, logits.shape[:2]) for a in (index, first, label, chosen))
  return dynamics.record(record, index, first, label, logits, chosen > 0)


def _metrics(out: Out, batch: Batch, counted: Array, lr: Array, loss: Array, passes: int) -> dict[str, Array]:
  """Returns name → [sum, count] of this step.

  Metrics per row count only rows that the epoch visits for the first time (`counted`).
  """
  sums = {}
  for name, v in out.metrics.items():
    v, count = jnp.broadcast_arrays(v, counted)
    # Replace the values of uncounted rows, rather than multiply them by 0: 0 · inf is NaN.
    sums[name] = jnp.stack([jnp.where(count, v, 0).sum(), count.sum()]).astype(jnp.float32)
  if out.logits is not None and 'label' in batch:
    sums['accuracy'] = placement.apart(_right)(out.logits, batch['label'], counted)
  one = jnp.ones((), jnp.float32)
  return sums | {
    'lr': jnp.stack([lr, one]),
    'objective': jnp.stack([loss, one]),
    'passes': jnp.stack([one * passes, one]),
  }


def _right(logits: Array, label: Array, counted: Array) -> Array:
  """Returns how many counted rows are predicted right, and how many have a label, float32 [2]."""
  labeled = counted & (label >= 0)
  right = (logits.argmax(-1) == label) & labeled
  return jnp.stack([right.sum(), jnp.broadcast_to(labeled, right.shape).sum()]).astype(jnp.float32)


def batches(
  spec: Spec,
  strategy: Strategy,
  hyper: Hyper,
  state: TrainState,
  walks: dict[str, walk.Walk] | None,
  images: Array | Gathered,
  keys: Keys,
) -> tuple[Batches, dict[str, Array]]:
  """Builds the batches of one step. The arguments are those of `one_step`.

  Returns:
    stream → batch, as `strategy.loss` gets them; and stream → number of earlier visits to each row in this epoch,
    int32 [B] or [M, B].
  """
  if isinstance(images, Gathered):
    gathered = images
  else:
    rows_of = lambda walks, tick: gather.rows_of(strategy, spec.batch_size, walks, tick)
    gathered = gather.on_device(placement.apart(rows_of)(walks or {}, state.tick), images)
  view_key = jax.random.fold_in(keys.views, state.epoch)
  batch = {}
  for i, (name, stream) in enumerate(strategy.streams.items()):
    mixed = strategy.mix if spec.mixup and stream.labeled else None
    key = jax.random.fold_in(view_key, i)
    batch[name] = _stream_batch(spec, hyper, state, stream, gathered.rows[name], gathered.images[name], key, mixed)
  return batch, {name: rows.visit for name, rows in gathered.rows.items()}


def one_step(
  spec: Spec,
  strategy: Strategy,
  hyper: Hyper,
  state: TrainState,
  walks: dict[str, walk.Walk] | None,
  images: Array | Gathered,
  keys: Keys,
) -> tuple[TrainState, dict[str, Array]]:
  """Runs one training step.

  Args:
    spec: static values of the phase.
    strategy: strategy of the phase.
    hyper: traced values of the phase.
    state: current state; `train_step` donates it.
    walks: stream → walk of this epoch; not used if `images` is `Gathered`.
    images: all training images, uint8 [N, H, W, C]; or only the rows and images of this step, for data sets that exceed
      the device's memory.
    keys: keys of the run.

  Returns:
    The next state, and metrics: name → float32 [2] (sum, count).
  """
  with placement.traced_for(spec.mesh):
    batch, visits = batches(spec, strategy, hyper, state, walks, images, keys)
    partial = state.tick / hyper.steps
    elapsed = state.phase_epoch + partial
    step_key = jax.random.fold_in(keys.step, state.step)

    o = hyper.optimizer
    lr = optim.learning_rate(o.schedule, o.lr, hyper.schedule, elapsed, hyper.epochs, state.control.lr_scale)

    def objective(params: PyTree) -> tuple[Array, tuple[Out, PyTree, int]]:
      ctx = Ctx(step_key, state.phase_epoch, hyper.epochs, elapsed / hyper.epochs, spec.classes, spec.net, state, lr)
      loss, out = strategy.loss(params, state, batch, ctx)
      return loss, (out, ctx.stats, ctx.passes)

    (loss, (out, stats, passes)), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
    params, opt, stats, ema = _update(spec, strategy, hyper, state, grads, lr, stats, out.active)
    name = next(iter(strategy.streams))
    main = batch[name]
    record = state.dynamics
    if out.logits is not None and 'label' in main:
      rows = (main['index'], visits[name], main['weight'], main['label'])
      seen = (jax.lax.stop_gradient(out.logits), out.metrics.get('chosen'))
      record = placement.apart(_record)(record, *rows, *seen)
    extra = state.extra
    if out.extra is not None:  # cast to the old dtypes: a weakly typed array would trace the next step again
      extra = jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), extra, out.extra)
    bad = jnp.where((state.bad_step < 0) & ~jnp.isfinite(loss), state.step, state.bad_step)
    new = state.replace(
      step=state.step + 1,
      tick=state.tick + 1,
      params=params,
      opt=opt,
      stats=stats,
      ema=ema,
      dynamics=record,
      bad_step=bad,
      extra=extra,
    )
    counted = (visits[name] == 0) & (main['weight'] > 0)  # [B] or [M, B]
    metrics = _metrics(out, main, counted, lr, loss, passes)
  return placement.settled(spec.mesh, (new, metrics))


def _many_steps(
  spec: Spec,
  strategy: Strategy,
  hyper: Hyper,
  state: TrainState,
  walks: dict[str, walk.Walk] | None,
  images: Array | Gathered,
  keys: Keys,
  count: int,
) -> tuple[TrainState, dict[str, Array]]:
  """Runs `count` steps in one call by `lax.scan`.

  This reduces launch overhead on GPU and TPU. Do not use it on CPU, where convolutions inside a loop are slow. The
  arrays of `Gathered` have a leading axis of `count` steps.
  """
  each = images if isinstance(images, Gathered) else None
  one = lambda s, batch: one_step(spec, strategy, hyper, s, walks, images if batch is None else batch, keys)
  state, sums = jax.lax.scan(one, state, each, length=count)
  return state, jax.tree.map(lambda a: a.sum(0), sums)


train_step = jax.jit(one_step, static_argnames='spec', donate_argnames='state')
train_steps = jax.jit(_many_steps, static_argnames=('spec', 'count'), donate_argnames='state')
add = jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b))
