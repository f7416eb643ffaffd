"""PES, progressive early stopping (Bai et al. 2021): early layers learn long from noisy labels, late ones briefly.

The plan: T1 epochs of cross-entropy on all rows; the last block and the head begin anew and learn T2 epochs, then the
head alone T3 epochs, each with Adam while everything before them is frozen. Then, each epoch, the confident rows (given
label = prediction) are trained on, by cross-entropy with class weights: Σ w_y CE / Σ w_y, w_c = (mean n_c > 0) / n_c.

Official (PES_cs, CIFAR-10): ResNet-18, SGD lr 0.1 wd 1e-4 batch 128, 200 epochs, ÷10 at 100 and 150; T1 25 (CIFAR-100:
30), T2 7, T3 5, Adam 1e-4 without decay.
Departures: T2 and T3 count among the epochs, and the schedule begins with the last phase, where milestones count from
(T1 runs at the full rate); predictions are of the plain image, not the mean of two weak views; an epoch's steps are
fixed by the first confident rows; where no row is confident all are trained on; after the renewal all layers learn,
whereas the official optimizer goes on with the old tensors, so that its renewed layers stay as Adam left them. A run
too short for the plan spends half of it on the start.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
  Batch,
  Batches,
  Ctx,
  Out,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  supervised,
)
from noisyjax.estimate.rank import sizes

HEAD = r'(^|/)head(/|$)'


def plan(name: str, epochs: int, stages: tuple[tuple[str, int], ...], rate: float) -> Phases:
  """Returns the phases of progressive early stopping, and then `name`.

  Args:
    epochs: of the whole run.
    stages: ((pattern, epochs), …): what begins anew while the rest is frozen; "" = nothing.
    rate: Adam's learning rate for what began anew.
  """
  part = min(1.0, epochs / 2 / max(sum(length for _, length in stages), 1))
  phases, left = [], epochs - 1
  for pattern, length in stages:
    own = min(max(int(length * part), 1), left) if length else 0
    fresh = {'reset': pattern, 'freeze': f'^(?!.*({pattern}))', 'optim.name': 'adam', 'optim.lr': round(float(rate), 9)}
    fresh |= {'optim.decay': 0.0, 'schedule.warmup': 0.0}
    if own:
      phases.append(('naive', own, {'schedule.name': 'constant'} | (fresh if pattern else {})))
    left -= own
  return (*phases, (name, left + 1, {}))


def confident(guess: Array, state: TrainState, ctx: Ctx) -> Array:
  """Returns the rows whose label is guessed, bool [N] (all that have one, where none is): guess [N]."""
  usable = state.targets.counted(ctx.rows)
  sure = usable & (guess == state.targets.label)
  return jnp.where(sure.any(), sure, usable)


def class_weights(label: Array, rows: Array, classes: int, most: float = jnp.inf) -> Array:
  """Returns w_c = mean of the counts above 0 / n_c, at most `most`, 0 where n_c = 0: label [N], rows bool [N] → [C]."""
  count = sizes(label, rows, classes)
  mean = count.sum() / jnp.maximum((count > 0).sum(), 1)
  return jnp.where(count > 0, jnp.minimum(mean / jnp.maximum(count, 1), most), 0.0)


class Confident(Base):
  """What PES and PES (semi) share: which rows are confident, and what their classes weigh.

  Attributes:
    most: the largest class weight.
  """

  most = jnp.inf

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'class_weight': jnp.ones(data.classes)}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return {'guess': logits.argmax(-1)}  # [1, B]

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    rows = confident(scores['guess'][0], state, ctx)
    weights = class_weights(state.targets.label, rows, ctx.classes, self.most)
    return state.targets.replace(trust=rows[None].astype(jnp.float32)), {'class_weight': weights}


class Strategy(Confident):
  """Trains on the rows whose label the early-stopped network predicts.

  Attributes:
    warmup: T1.
    block_epochs: T2.
    head_epochs: T3; 0 leaves a stage out.
    block: regular expression on the parameters that begin anew in T2. The default is the last stage of the residual
      networks and, in any other model, the head alone; cnn9's would be "^(conv[789]|norm[789]|head)/".
    rate: Adam's learning rate in T2 and T3.
  """

  warmup: int = 25
  block_epochs: int = 7
  head_epochs: int = 5
  block: str = r'(^|/)(stage4_block\d+|head)(/|$)'
  rate: Traced = 1e-4

  def phases(self, name: str, epochs: int) -> Phases:
    stages = (('', self.warmup), (self.block, self.block_epochs), (HEAD, self.head_epochs))
    return plan(name, epochs, stages, self.rate)

  def members(self, state: TrainState) -> dict[str, Array]:
    return {'train': state.targets.trust[0] > 0.5}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    share = b['target'] @ state.extra['class_weight']  # [B]: w_y, or its mixture
    return supervised(losses.cross_entropy(logits, b['target']), {**b, 'weight': b['weight'] * share}, logits)
