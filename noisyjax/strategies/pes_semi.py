"""PES with MixMatch (Bai et al. 2021, "PES (semi)"): rows whose label an early-stopped network predicts are labeled.

The plan is that of `pes`, but only the head is reset. Then, in each epoch, confident rows (given label = prediction)
are labeled and all others are unlabeled. MixMatch with two weak views of each row: Σ_c w_c mean(−t_c log p_c) over
labeled rows, with w_c = min((mean of the n_c > 0) / n_c, 3), plus λ_u · ramp · mean (p − q)² over unlabeled rows, with
q = sharpen(mean over both views, T). All rows are mixed with each other, with λ' = max(λ, 1 − λ), λ ~ Beta(α, α).

Official settings (CIFAR-10): PreAct-ResNet-18 (CIFAR-10N: ResNet-34), SGD with learning rate 0.02 and weight decay
5e-4, 300 epochs, cosine schedule to 1/100; T1 20 (CIFAR-100: 35), T2 5, Adam 1e-4; α 4 in the first half, then 0.75; T
0.5; ramp 16 epochs; λ_u 5 on CIFAR-10N (75 on CIFAR-100N), otherwise by noise: 15 at 40 % instance-dependent noise, 50
for CIFAR-100 with 45 % pair noise.

As in the code (tmllab/2021_NeurIPS_PES, PES_semi.py, lines 64-216 and 265-277, revision ec5290d), the renewed head
keeps Adam's weights (`frozen`, see `pes`), the two views and the mixed rows pass through the network one after the
other, and α changes in the middle of all epochs but those of T2.

Departures: those of `pes`. Labeled and unlabeled rows come in equal numbers (official: 128 rows in total, at most half
of them unlabeled), so that `batch_size` 64 corresponds to its 128. An epoch visits the rows that were confident when
the phase began once (official: always 390 steps, which the recipe sets).
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, Phases, PyTree, Traced, TrainState, Views
from noisyjax.strategies import pes
from noisyjax.strategies.shared import semi


class Strategy(pes.Confident):
  """One network, trained with MixMatch after progressive early stopping.

  Attributes:
    warmup: T1, epochs on all rows.
    head_epochs: T2, epochs of the reset head.
    rate: learning rate of Adam in T2.
    penalty: λ_u, the final weight of the loss of unlabeled rows.
    ramp: epochs over which that weight rises from 0.
    alpha: parameter of mixup's Beta(α, α) in the first half of the run.
    late_alpha: parameter of mixup's Beta(α, α) in the second half of the run.
    temperature: temperature T of the sharpening.
    most: maximum class weight.
    frozen: whether the renewed head stays as Adam leaves it, as in the official code.
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
  frozen: bool = False

  def phases(self, name: str, epochs: int) -> Phases:
    stages = (('', self.warmup), (pes.HEAD, self.head_epochs))
    *before, (_, left, own) = pes.plan(name, epochs, stages, self.rate, self.frozen)
    # α changes in the middle of the run, and T1 may have been reduced.
    first = sum(length for _, length, fields in before if 'reset' not in fields)
    return *before, (name, left, own | {f'strategy.{name}.warmup': first})

  def members(self, state: TrainState) -> dict[str, Array]:
    sure = state.targets.trust[0] > 0.5
    return {'train': sure, 'unlabeled': ~sure}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    x, u = batch['train'], batch['unlabeled']
    twice = lambda a, b: jnp.concatenate([a, b])[None]  # [1, 2B, …]
    labeled = (twice(x['weak'], x['weak1']), twice(x['target'], x['target']), twice(x['weight'], x['weight']))
    unlabeled = semi.guessed(ctx, u, self.temperature, labeled[0][0], keep=True)
    early = ctx.epoch + self.warmup < (ctx.epochs + self.warmup) / 2
    alpha = jnp.where(early, self.alpha, self.late_alpha)
    logits, per, off = semi.mixmatch(ctx, params, alpha, labeled, unlabeled, state.extra['class_weight'])
    rise = self.penalty * semi.ramp(ctx.progress * ctx.epochs, self.ramp)
    total = losses.weighted_mean(per, labeled[-1]) + rise * losses.weighted_mean(off, unlabeled[-1])
    rows = x['weight'].shape[-1]
    return total.sum(), Out(logits[:, :rows], {'loss': per[:, :rows]})
