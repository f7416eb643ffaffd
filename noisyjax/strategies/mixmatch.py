"""MixMatch (Berthelot et al. 2019, algorithm 1): guesses averaged over two views, sharpened, and mixed with all rows.

q = sharpen(mean over two weak views of p, T); mixup with λ′ = max(λ, 1 − λ) among labeled and unlabeled rows together;
loss: mean CE of the labeled part + λ_u · mean (p − q)² of the unlabeled part, over rows and classes.
Hyper-parameters on CIFAR-10: T 0.5, α 0.75, λ_u 75 (microsoft's USB: α 0.5, λ_u 100), λ_u rising linearly over the
first 16,000 steps of a million (USB: over 0.4 of the training, which is taken here), batch 64, Adam 0.002, parameters
averaged (0.999).
Departures: both views are guessed in one batch; one λ a step instead of one a row; one forward pass, whose statistics
come from all rows (the code's from the first of three interleaved batches); labeled images are not among the unlabeled
ones (in USB they are).
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, Views
from noisyjax.strategies.shared import semi


class Strategy(semi.SemiSupervised):
  """Consistency by mixing.

  Attributes:
    temperature: T of the sharpening.
    alpha: of mixup's Beta(α, α).
    lambda_u: weight of the guesses' loss.
    ramp: the part of the phase over which it rises to that.
  """

  temperature: Traced = 0.5
  alpha: Traced = 0.75
  lambda_u: Traced = 75.0
  ramp: Traced = 0.4
  streams = {'labeled': Views('weak'), 'unlabeled': Views('weak', 'weak', labeled=False)}
  mix = None  # it mixes itself

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b, u = batch['labeled'], batch['unlabeled']
    weight, unlabeled = b['weight'][None], semi.guessed(ctx, u, self.temperature, b['weak'], keep=False)
    labeled = (b['weak'][None], b['target'][None], weight)
    logits, per, gap = semi.mixmatch(ctx, params, self.alpha, labeled, unlabeled)
    guesses = losses.weighted_mean(gap, unlabeled[-1])  # [1]
    lambda_u = self.lambda_u * semi.ramp(ctx.progress, self.ramp)
    loss = losses.weighted_mean(per, weight) + lambda_u * guesses
    metrics = {'loss': per, 'guesses': guesses[:, None]}
    return loss.sum(), Out(logits=logits[:, : per.shape[1]], metrics=metrics)
