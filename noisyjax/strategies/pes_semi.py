"""PES with MixMatch (Bai et al. 2021, "PES (semi)"): rows that the early-stopped network agrees with are labeled.

The plan of `pes`, in which the head alone begins anew; then, each epoch, confident rows (given label = prediction) keep
their labels and all others lose theirs. MixMatch on two weak views of each: Σ_c w_c mean(−t_c log p_c) over labeled
rows, w_c = min(mean of the n_c > 0 / n_c, 3), plus λ_u · ramp · mean (p − q)² over unlabeled ones, q = sharpen(mean of
both views, T), everything mixed with everything by λ' = max(λ, 1 − λ), λ ~ Beta(α, α).

Official (CIFAR-10): PreAct-ResNet-18 (CIFAR-10N: ResNet-34), SGD lr 0.02 wd 5e-4, 300 epochs cosine to 1/100; T1 20
(CIFAR-100: 35), T2 5, Adam 1e-4; α 4, from the middle on 0.75; T 0.5; ramp 16 epochs; λ_u 5 on CIFAR-10N (75 on
CIFAR-100N), by noise elsewhere: 15 at instance 40 %, 50 for CIFAR-100 pair 45 %.
Departures: those of `pes`; labeled and unlabeled rows come in equal numbers (official: 128 rows in all, at most half of
them unlabeled), so `batch_size` 64 is its 128, and an epoch is one turn of the rows that were confident as the phase
began; both views are guessed in one batch; the middle is the last phase's.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, Phases, PyTree, Traced, TrainState, Views
from noisyjax.strategies import pes
from noisyjax.strategies.shared import semi


class Strategy(pes.Confident):
  """MixMatch on what an early-stopped network believes.

  Attributes:
    warmup: T1.
    head_epochs: T2, epochs of the renewed head.
    rate: Adam's learning rate in them.
    penalty: λ_u.
    ramp: epochs over which it rises.
    alpha: of mixup's Beta(α, α), before the phase's middle.
    late_alpha: the same, after it.
    temperature: T.
    most: the largest class weight.
  """

  streams = {'train': Views('weak', 'weak'), 'unlabeled': Views('weak', 'weak', labeled=False)}
  mix = None
  warmup: int = 20
  head_epochs: int = 5
  rate: Traced = 1e-4
  penalty: Traced = 5.0
  ramp: Traced = 16.0
  alpha: Traced = 4.0
  late_alpha: Traced = 0.75
  temperature: Traced = 0.5
  most: Traced = 3.0

  def phases(self, name: str, epochs: int) -> Phases:
    return pes.plan(name, epochs, (('', self.warmup), (pes.HEAD, self.head_epochs)), self.rate)

  def members(self, state: TrainState) -> dict[str, Array]:
    sure = state.targets.trust[0] > 0.5
    return {'train': sure, 'unlabeled': ~sure}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    x, u = batch['train'], batch['unlabeled']
    twice = lambda a, b: jnp.concatenate([a, b])[None]  # [1, 2B, …]
    labeled = (twice(x['weak'], x['weak1']), twice(x['target'], x['target']), twice(x['weight'], x['weight']))
    unlabeled = semi.guessed(ctx, u, self.temperature, labeled[0][0], keep=True)
    alpha = jnp.where(ctx.progress < 0.5, self.alpha, self.late_alpha)
    logits, per, off = semi.mixmatch(ctx, params, alpha, labeled, unlabeled, state.extra['class_weight'])
    rise = self.penalty * semi.ramp(ctx.progress * ctx.epochs, self.ramp)
    total = losses.weighted_mean(per, labeled[-1]) + rise * losses.weighted_mean(off, unlabeled[-1])
    rows = x['weight'].shape[-1]
    return total.sum(), Out(logits[:, :rows], {'loss': per[:, :rows]})
