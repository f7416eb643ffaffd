"""ELR+ (Liu et al. 2020): ELR on mixup, two networks, each reminded by the other's averaged weights.

Each network's t follows the *other's* averaged network on the images before mixup; t is mixed as the labels are. The
config must set `ema = 0.997` (with 0 the other network itself is asked) and leave `mixup = 0`: the images before it are
needed here, and λ' = max(λ, 1 − λ), so that mixup has its own field.
Official: PreActResNet-18, SGD 0.02, momentum 0.9, decay 5e-4, batch 128, α 1. CIFAR-10: β 0.7, λ 3 (asymmetric 0.9 and
1), 200 epochs, ÷10 at 150. CIFAR-100: β 0.9, λ 7, `reweigh`, λ rising as exp(−5 (1 − t)²) over 40,000 steps (114
of its epochs of 45,000 rows), 250 epochs, ÷10 at 200.
Departures: both networks see the same rows and labels (the code draws order, and by mistake noise, for each) and move
together, reminded by averages of one step ago (the code: one network's epoch after the other's, by averages of the
epoch before). The average includes batch statistics, is asked with running ones, and its decay rises as the engine's
does (the code's: as exp(−5 (1 − t)²) over 40,000 steps; its teacher normalises by the batch). The averages vote, by
the mean of their probabilities (the code: the networks themselves, by the mean of their logits).
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, supervised
from noisyjax.strategies.elr import Strategy as ELR, remembered
from noisyjax.strategies.shared import semi


class Strategy(ELR):
  """Two networks that remind each other of what they learnt first.

  Attributes:
    beta: as ELR's.
    strength: as ELR's.
    alpha: of mixup.
    ramp: epochs over which λ rises, 0 = at once.
    reweigh: whether the labels' cross-entropy is weighed by t (label · t, normalised), as the code does on CIFAR-100.
  """

  alpha: Traced = 1.0
  ramp: Traced = 0.0
  reweigh: bool = False
  networks = 2

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    teacher, _ = ctx.look(b['weak'], averaged=True)  # [2, B, C]
    aim, memory = remembered(state.extra['memory'], b, jax.nn.softmax(teacher[::-1]), self.beta)
    wide = lambda a: jnp.broadcast_to(a, (self.networks, *a.shape))
    both = jnp.concatenate([wide(b['target']), aim], -1)  # [2, B, 2C]: mixed as one
    images, both, _ = semi.mix(semi.mixing_key(ctx), self.alpha, wide(b['weak']), both, wide(b['weight']))
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
