"""MixMatch (Berthelot et al. 2019, algorithm 1): pseudo-labels from two views, sharpened; mixup of all rows.

The pseudo-label is q = sharpen(mean of p over two weak views, T). Labeled and unlabeled rows are mixed with each other,
with λ′ = max(λ, 1 − λ). The loss is the mean cross-entropy of the labeled part plus λ_u · mean (p − q)² of the
unlabeled part, over rows and classes.

Settings on CIFAR-10: T 0.5, α 0.75, λ_u 75 (microsoft's USB: α 0.5, λ_u 100). λ_u rises linearly over the first 16,000
of a million steps (USB: over 0.4 of the training, as here). Batch size 64, Adam 0.002, averaged weights (0.999).

As in USB (microsoft/Semi-supervised-learning, semilearn/algorithms/mixmatch/mixmatch.py, lines 46-128, and
utils/ops.py, lines 48-63, revision 1ef4cbe), one λ is drawn per step, both views and the three parts of the mixed rows
pass through the network one after the other, and only the first part moves the running statistics.

Departures: the unlabeled images do not include the labeled ones (in USB they do), and averaged weights are evaluated
with averaged running statistics (in USB with the current ones). The decay of the average rises over the first 9,000
steps.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, Views
from noisyjax.strategies.shared import semi


class Strategy(semi.SemiSupervised):
  """One network, trained on mixtures of labeled rows and rows with pseudo-labels.

  Attributes:
    temperature: temperature T of the sharpening.
    alpha: parameter of mixup's Beta(α, α).
    lambda_u: final weight of the loss of unlabeled rows.
    ramp: fraction of the phase over which that weight rises from 0.
  """

  temperature: Traced = 0.5
  alpha: Traced = 0.75
  lambda_u: Traced = 75.0
  ramp: Traced = 0.4
  streams = {'labeled': Views('weak'), 'unlabeled': Views('weak', 'weak', labeled=False)}
  mix = None  # the loss applies mixup itself

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b, u = batch['labeled'], batch['unlabeled']
    weight, unlabeled = b['weight'][None], semi.guessed(ctx, u, self.temperature, b['weak'], keep=False)
    labeled = (b['weak'][None], b['target'][None], weight)
    logits, per, gap = semi.mixmatch(ctx, params, self.alpha, labeled, unlabeled, apart=True)
    guesses = losses.weighted_mean(gap, unlabeled[-1])  # [1]
    lambda_u = self.lambda_u * semi.ramp(ctx.progress, self.ramp)
    loss = losses.weighted_mean(per, weight) + lambda_u * guesses
    metrics = {'loss': per, 'guesses': guesses[:, None]}
    return loss.sum(), Out(logits=logits[:, : per.shape[1]], metrics=metrics)
