"""The cost of a method is counted in the engine's step, for its main phase with the fields that its own plan sets."""

import pytest

import tiny
from noisyjax.engine import passes
from noisyjax.engine.strategy import Strategy, Views
from noisyjax.strategies import co_teaching, confident_learning, fold_networks, l2rw, loss_filter, naive
from tiny import BATCH


class Pair(Strategy):
  """Two views, of which one is only looked at, on twice the rows; and its plan."""

  streams = {'train': Views('weak', 'strong', ratio=2), 'more': Views('none')}
  looks: int = 0

  def phases(self, name, epochs):
    return ((name, 2, {}), ('naive', 90, {}), (name, 8, {f'strategy.{name}.looks': 3, 'rows': 'all'}))

  def loss(self, params, state, batch, ctx):
    for _ in range(self.looks):
      ctx.look(batch['more']['none'])
    return super().loss(params, state, batch, ctx)


@pytest.mark.parametrize(
  'built, want',
  [
    (naive.Strategy.build(), 3),
    (naive.Strategy.build(networks=2), 6),
    (loss_filter.Strategy.build(), 4),
    (Pair.build(), 3),
    (Pair.build(looks=2), 4),  # 2 of half as many images
  ],
)
def test_passes_per_image(built, want):
  assert passes.passes(built) == want


def test_a_plan_counts_its_own_phases_by_length_as_it_sets_them():
  assert passes.planned(Pair.build(), 'pair') == (1, pytest.approx((2 * 3 + 8 * 4.5) / 10))
  assert passes.planned(naive.Strategy.build(networks=2), 'naive') == (2, 6)
  assert passes.planned(confident_learning.Strategy.build(), 'confident_learning') == (1, 3)
  assert passes.planned(fold_networks.Strategy.build(), 'fold_networks') == (4, 12)


@pytest.mark.parametrize('strategy', [co_teaching, l2rw])
def test_a_run_counts_the_same(strategy):
  built = strategy.Strategy.build()
  data = tiny.data(verified=range(6))
  phase = tiny.phase(built)
  _, metrics = tiny.advance(phase, tiny.start(phase, data), data)
  assert tiny.mean(metrics, 'passes') == passes.passes(built) * BATCH
