"""FixMatch (Sohn et al. 2020, eqs. 3–4): a confident prediction on a weak view becomes the label of the strong view.

The loss is the mean cross-entropy of labeled rows plus λ_u · (1/μB) Σ 1[max q ≥ τ] CE(argmax q, p(strong)), where q is
the prediction on the weak view. The sum is divided by the size of the unlabeled batch.

Official settings: τ 0.95, λ_u 1, μ 7, batch size 64, SGD with Nesterov momentum, learning rate 0.03 · cos(7πk/16K),
weight decay 5e-4 on kernels only; averaged weights (0.999) are evaluated.

With `together`, labeled, weak and strong views pass through the network as one training batch, as in the official code
(microsoft/Semi-supervised-learning, semilearn/algorithms/fixmatch/fixmatch.py, lines 48-105, revision 1ef4cbe), which
costs 3 · 15 B passes per step and makes q depend on the batch. Without it, q uses running statistics, at (7 + 3 · 8) B
passes.

Departures: each row is either labeled or unlabeled; in the official code, the unlabeled images include the labeled
ones. Averaged weights are evaluated with averaged running statistics (there, with the current ones), and the decay of
the average rises over the first 9,000 steps. Without unlabeled rows, this is supervised training.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batch, Batches, Ctx, Out, PyTree, Traced, TrainState, Views, supervised
from noisyjax.strategies.shared import semi


class Strategy(semi.SemiSupervised):
  """Cross-entropy on labeled rows and on confident pseudo-labels.

  Attributes:
    threshold: τ, the minimum confidence of a pseudo-label.
    lambda_u: weight of the loss of unlabeled rows.
    ratio: μ, the number of unlabeled rows per step, as a multiple of the batch size.
    together: whether all views pass through the network as one training batch, as in the official code.
  """

  unit_interval = ('threshold',)
  threshold: Traced = 0.95
  lambda_u: Traced = 1.0
  ratio: int = 7
  together: bool = False

  @property
  def streams(self) -> dict[str, Views]:
    return {'labeled': Views('weak'), 'unlabeled': Views('weak', 'strong', ratio=self.ratio, labeled=False)}

  def least(self, state: TrainState, classes: int) -> Array:
    """Returns the minimum confidence of a pseudo-label of each class, [C]."""
    return jnp.full(classes, self.threshold)

  def guess(self, state: TrainState, unlabeled: Batch, ctx: Ctx) -> Array:
    """Returns the probabilities [1, U, C] whose argmax is the pseudo-label; not asked if all views pass together."""
    return jax.nn.softmax(ctx.look(unlabeled['weak'])[0])

  def remember(self, state: TrainState, unlabeled: Batch, sure: Array, guess: Array) -> PyTree:
    """Returns the new `extra`; None keeps the old one.

    Args:
      state: state of the run.
      unlabeled: batch of unlabeled rows.
      sure: confidences of the pseudo-labels, [1, U].
      guess: pseudo-labels, int [1, U].
    """
    return None

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b, u = batch['labeled'], batch['unlabeled']
    weak, strong = (semi.filled(u[view], u['weight'], b['weak']) for view in ('weak', 'strong'))
    rows, count = len(b['index']), len(u['index'])
    if self.together:
      every, _ = ctx.net(params, jnp.concatenate([b['weak'], weak, strong]))  # [1, B + 2U, C]
      logits, guessed, answer = jnp.split(every, [rows, rows + count], axis=1)
      probs = jax.nn.softmax(jax.lax.stop_gradient(guessed))  # [1, U, C]
    else:
      probs = self.guess(state, u, ctx)
      logits, answer = jnp.split(ctx.net(params, jnp.concatenate([b['weak'], strong]))[0], [rows], axis=1)
    sure, guess = probs.max(-1), probs.argmax(-1)  # [1, U]
    mask = sure >= self.least(state, ctx.classes)[guess]
    loss, out = supervised(losses.cross_entropy(logits, b['target']), b, logits)
    per = jnp.where(mask, losses.cross_entropy(answer, jax.nn.one_hot(guess, ctx.classes)), 0.0)  # [1, U]
    guesses, used = (losses.weighted_mean(x, u['weight']) for x in (per, mask.astype(per.dtype)))  # [1]
    metrics = out.metrics | {'guesses': guesses[:, None], 'used': used[:, None]}
    extra = self.remember(state, u, sure, guess)
    return loss + self.lambda_u * guesses.sum(), dataclasses.replace(out, metrics=metrics, extra=extra)
