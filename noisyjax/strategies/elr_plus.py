"""ELR+ (Liu et al. 2020): ELR with mixup and two networks, each regularized by the other's averaged weights.

The t of each network is a running mean of the predictions of the other network's averaged weights, on the images before
mixup. t is mixed as the labels are. The config must set `ema = 0.997` (with 0, the current weights of the other network
are used). It must leave `mixup = 0`: this loss needs the images before mixup, and λ' = max(λ, 1 − λ), so that mixup has
a separate field, `alpha`.

Official settings: PreActResNet-18, SGD with learning rate 0.02, momentum 0.9 and weight decay 5e-4, batch size 128, α
1. CIFAR-10: β 0.7, λ 3 (asymmetric noise: 0.9 and 1), 200 epochs, learning rate / 10 at 150. CIFAR-100: β 0.9, λ 7,
`reweigh`, λ rising as exp(−5 (1 − t)²) over 40,000 steps (114 epochs of 45,000 rows), 250 epochs, / 10 at 200.

As in the code (shengliu66/ELR, ELR_plus/trainer/trainer.py, lines 60-137 and 321-359, ELR_plus/model/loss.py, lines
14-41, revision 934af53), each network has its own order and crops, and the averaged networks predict with the
statistics of the batch. With `ema_ramp = 40000` the decay of the average rises as there, as exp(−5 (1 − t)²) over as
many steps.

Departures: both networks are trained on the same labels (the code draws the noise for each, by mistake). They are
updated in the same step, with averages of one step ago (the code trains one network for an epoch after the other, with
averages of the epoch before). The average includes the running statistics. The averaged networks vote, by mean
probabilities (the code: the current networks, by mean logits).
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, supervised
from noisyjax.strategies.elr import Strategy as ELR, remembered
from noisyjax.strategies.shared import semi


class Strategy(ELR):
  """Two networks, each regularized by the running means of the other's predictions.

  Attributes:
    beta: as in ELR.
    strength: as in ELR.
    alpha: parameter of mixup's Beta(α, α).
    ramp: epochs over which λ rises; 0 means that it is constant.
    reweigh: whether the target of cross-entropy is label · t, normalized, as in the code for CIFAR-100.
  """

  alpha: Traced = 1.0
  ramp: Traced = 0.0
  reweigh: bool = False
  networks = 2

  def members(self, state: TrainState) -> dict[str, Array]:
    return {'train': jnp.broadcast_to(state.targets.weight > 0, state.targets.trust.shape)}  # [2, N]

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    teacher, _ = ctx.guess(b['weak'][::-1], averaged=True)  # [2, B, C], each on the rows of the other network
    aim, memory = remembered(state.extra['memory'], b, jax.nn.softmax(teacher[::-1]), self.beta)
    both = jnp.concatenate([b['target'], aim], -1)  # [2, B, 2C]: mixed with the same partners
    images, both, _ = semi.mix(semi.mixing_key(ctx), self.alpha, b['weak'], both, b['weight'])
    target, aim = jnp.split(both, 2, -1)
    if self.reweigh:
      agreed = target * aim
      total = agreed.sum(-1, keepdims=True)
      target = jnp.where(total > 0, agreed / jnp.where(total > 0, total, 1.0), target)
    risen = jnp.exp(-5 * (1 - semi.ramp(ctx.progress * ctx.epochs, self.ramp)) ** 2)
    strength = self.strength * jnp.where(self.ramp > 0, risen, 1.0)
    logits, _ = ctx.net(params, images)  # [2, B, C]
    per = losses.cross_entropy(logits, target) + strength * losses.early_learning(logits, aim)  # [2, B]
    loss, out = supervised(per, b, logits)
    return loss, dataclasses.replace(out, extra={'memory': memory})
