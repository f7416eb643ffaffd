"""PES, progressive early stopping (Bai et al. 2021): trains early layers long on noisy labels, and late layers briefly.

The plan has four stages: T1 epochs of cross-entropy on all rows; the last block and the head are reset and trained for
T2 epochs; the head alone is reset and trained for T3 epochs. In the stages T2 and T3, the optimizer is Adam, and all
other layers are frozen. In the last stage, the confident rows (given label = prediction) of each epoch are trained on,
by cross-entropy with class weights: Σ w_y CE / Σ w_y with w_c = (mean of the n_c > 0) / n_c.

Official settings (PES_cs, CIFAR-10): ResNet-18, SGD with learning rate 0.1 and weight decay 1e-4, batch size 128, 200
epochs, learning rate / 10 at 100 and 150; T1 25 (CIFAR-100: 30), T2 7, T3 5, Adam with learning rate 1e-4 and no weight
decay.

Departures: T2 and T3 count as epochs of the run. The schedule begins with the last phase, from which its milestones
count; T1 has the full learning rate. Predictions are made on images without augmentation, not averaged over two weak
views. The number of steps per epoch is determined by the first set of confident rows. If no row is confident, all rows
are trained on. If a run is too short for the plan, half of it is used for the first three stages.

With `frozen`, as in the code (tmllab/2021_NeurIPS_PES, PES_cs.py, lines 105-125 and 165-182, revision ec5290d), the
renewed layers keep the weights that Adam gave them: the main optimizer still refers to the tensors that they replaced.
The published results come from this. Without it, the last stage trains all layers, which the paper describes.
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


def plan(name: str, epochs: int, stages: tuple[tuple[str, int], ...], rate: float, frozen: bool) -> Phases:
  """Returns the phases of progressive early stopping, followed by the phase of the strategy.

  Args:
    name: name of the strategy of the last phase.
    epochs: epochs of the whole run.
    stages: (pattern, epochs) of each stage; parameters that match the pattern are reset and trained while the others
      are frozen; "" resets and freezes nothing.
    rate: learning rate of Adam for reset parameters.
    frozen: whether the last phase leaves reset parameters as they are.
  """
  part = min(1.0, epochs / 2 / max(sum(length for _, length in stages), 1))
  phases, left, renewed = [], epochs - 1, []
  for pattern, length in stages:
    own = min(max(int(length * part), 1), left) if length else 0
    fresh = {'reset': pattern, 'freeze': f'^(?!.*({pattern}))', 'optim.name': 'adam', 'optim.lr': round(float(rate), 9)}
    fresh |= {'optim.decay': 0.0, 'schedule.warmup': 0.0}
    if own:
      phases.append(('naive', own, {'schedule.name': 'constant'} | (fresh if pattern else {})))
      renewed += [pattern] if pattern else []
    left -= own
  return (*phases, (name, left + 1, {'freeze': '|'.join(renewed)} if frozen and renewed else {}))


def confident(guess: Array, state: TrainState, ctx: Ctx) -> Array:
  """Returns the rows whose label is predicted, bool [N]; if there are none, all usable rows.

  Args:
    guess: predicted classes, int [N].
    state: state of the run.
    ctx: context of the refresh.
  """
  usable = state.targets.counted(ctx.rows)
  sure = usable & (guess == state.targets.label)
  return jnp.where(sure.any(), sure, usable)


def class_weights(label: Array, rows: Array, classes: int, most: float = jnp.inf) -> Array:
  """Returns class weights w_c = (mean of the counts above 0) / n_c, [C]; 0 if n_c = 0.

  Args:
    label: labels, int32 [N].
    rows: rows to count, bool [N].
    classes: number of classes C.
    most: maximum weight.
  """
  count = sizes(label, rows, classes)
  mean = count.sum() / jnp.maximum((count > 0).sum(), 1)
  return jnp.where(count > 0, jnp.minimum(mean / jnp.maximum(count, 1), most), 0.0)


class Confident(Base):
  """Base of PES and PES (semi): determines the confident rows and the class weights.

  Attributes:
    most: maximum class weight.
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
  """One network, trained on the rows whose label it predicts after progressive early stopping.

  Attributes:
    warmup: T1, epochs on all rows.
    block_epochs: T2, epochs of the reset block and head; 0 skips the stage.
    head_epochs: T3, epochs of the reset head; 0 skips the stage.
    block: regular expression for the parameters that T2 resets. The default matches the last stage and the head of
      residual networks, and only the head of other models; for cnn9, use "^(conv[789]|norm[789]|head)/".
    rate: learning rate of Adam in T2 and T3.
    frozen: whether the renewed layers stay as Adam leaves them, as in the official code.
  """

  warmup: int = 25
  block_epochs: int = 7
  head_epochs: int = 5
  block: str = r'(^|/)(stage4_block\d+|head)(/|$)'
  rate: Traced = 1e-4
  frozen: bool = False

  def phases(self, name: str, epochs: int) -> Phases:
    stages = (('', self.warmup), (self.block, self.block_epochs), (HEAD, self.head_epochs))
    return plan(name, epochs, stages, self.rate, self.frozen)

  def members(self, state: TrainState) -> dict[str, Array]:
    return {'train': state.targets.trust[0] > 0.5}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    share = b['target'] @ state.extra['class_weight']  # [B]: w_y; mixed under mixup
    return supervised(losses.cross_entropy(logits, b['target']), {**b, 'weight': b['weight'] * share}, logits)
