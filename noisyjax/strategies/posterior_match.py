"""PosteriorMatch (ours): FixMatch (Sohn et al. 2020) whose pseudo-labels also depend on the given label of each row.

Trusted rows are labeled. The pseudo-label of every other row is the argmax of p(true | image, given) ∝ p(true | weak
view) T[true, given], where T is counted on the rows with both labels (as for `clean_correction.posterior`). If 40 % of
the labels are right and the errors are uniform over ten classes, the given label has six times the weight of any other.

If given labels carry no information about true ones, this is FixMatch with `source = "verified"`. Other differences
from FixMatch: pseudo-labels come from the averaged network (Tarvainen & Valpola 2017) if the run keeps an average, and
the defaults of μ and τ differ.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Batch, Ctx, PyTree, Scores, Targets, Traced, TrainData, TrainState
from noisyjax.estimate import transition
from noisyjax.strategies import fixmatch


class Strategy(fixmatch.Strategy):
  """FixMatch on trusted rows, with pseudo-labels by Bayes' rule on the others."""

  unit_interval = ('threshold',)
  threshold: Traced = 0.9
  ratio: int = 4
  source: str = 'verified'
  needs = ('verified',)
  together: ClassVar[bool] = False  # the averaged network is not trained, and sees its views apart

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    own, extra = super().init(key, data)
    pairs = {name: jnp.array(getattr(data, name), jnp.int32) for name in ('verified', 'given')}
    return own, extra | pairs | {'matrix': jnp.eye(data.classes)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    keep = ctx.rows & (state.targets.weight > 0)
    targets, extra = super().refresh(state, scores, ctx)
    matrix = transition.from_pairs(extra['verified'], extra['given'], ctx.classes, keep)
    return targets, extra | {'matrix': matrix}

  def guess(self, state: TrainState, unlabeled: Batch, ctx: Ctx) -> Array:
    probs = jax.nn.softmax(ctx.look(unlabeled['weak'], averaged=True)[0])
    return transition.posterior(probs, state.extra['given'][unlabeled['index']], state.extra['matrix'])
