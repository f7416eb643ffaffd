"""FixMatch (Sohn et al. 2020, eqs. 3–4): a confident guess on a weak view becomes the label of the strong view.

Loss: mean CE of labeled rows + λ_u · (1/μB) Σ 1[max q ≥ τ] CE(argmax q, p(strong)), q the prediction on the weak view
and the sum divided by the whole unlabeled batch. Official hyper-parameters: τ 0.95, λ_u 1, μ 7, batch 64, SGD with
Nesterov momentum, lr 0.03 · cos(7πk/16K), decay 5e-4 on kernels alone, parameters averaged (0.999) and those evaluated.
Departures: q is looked up with running statistics and no gradient (in the official code labeled, weak and strong
views are one training batch): (7 + 3 · 8) B passes a step instead of 3 · 15 B, and a guess does not depend on its
batch. A row is labeled or unlabeled; in the official code labeled images are among the unlabeled ones, too. With no
unlabeled row at all this is supervised training.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batch, Batches, Ctx, Out, PyTree, Traced, TrainState, Views, supervised
from noisyjax.strategies.shared import semi


class Strategy(semi.SemiSupervised):
  """Cross-entropy on labeled rows, and on confident guesses.

  Attributes:
    threshold: τ, the least confidence of a guess that counts.
    lambda_u: weight of the guesses' loss.
    ratio: μ, unlabeled rows a step as a multiple of the batch size.
  """

  unit_interval = ('threshold',)
  threshold: Traced = 0.95
  lambda_u: Traced = 1.0
  ratio: int = 7

  @property
  def streams(self) -> dict[str, Views]:
    return {'labeled': Views('weak'), 'unlabeled': Views('weak', 'strong', ratio=self.ratio, labeled=False)}

  def least(self, state: TrainState, classes: int) -> Array:
    """Returns the least confidence that counts, by guessed class [C]."""
    return jnp.full(classes, self.threshold)

  def guess(self, state: TrainState, unlabeled: Batch, ctx: Ctx) -> Array:
    """Returns the probabilities [1, U, C] of which the largest is the guess."""
    return jax.nn.softmax(ctx.look(unlabeled['weak'])[0])

  def remember(self, state: TrainState, unlabeled: Batch, sure: Array, guess: Array) -> PyTree:
    """Returns the new `extra`, from the guesses [1, U] and their confidences; None keeps the old."""
    return None

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b, u = batch['labeled'], batch['unlabeled']
    probs = self.guess(state, u, ctx)
    sure, guess = probs.max(-1), probs.argmax(-1)  # [1, U]
    mask = sure >= self.least(state, ctx.classes)[guess]
    strong = semi.filled(u['strong'], u['weight'], b['weak'])
    logits, _ = ctx.net(params, jnp.concatenate([b['weak'], strong]))  # [1, B + U, C]
    logits, answer = jnp.split(logits, [len(b['index'])], axis=1)
    loss, out = supervised(losses.cross_entropy(logits, b['target']), b, logits)
    per = jnp.where(mask, losses.cross_entropy(answer, jax.nn.one_hot(guess, ctx.classes)), 0.0)  # [1, U]
    guesses, used = (losses.weighted_mean(x, u['weight']) for x in (per, mask.astype(per.dtype)))  # [1]
    metrics = out.metrics | {'guesses': guesses[:, None], 'used': used[:, None]}
    extra = self.remember(state, u, sure, guess)
    return loss + self.lambda_u * guesses.sum(), dataclasses.replace(out, metrics=metrics, extra=extra)
