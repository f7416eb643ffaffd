"""Four methods on the same noisy digits, with three seeds each: the sweep of `make demo`."""


def sweep():
  for strategy in ('naive', 'clean_correction', 'loss_filter', 'co_teaching'):
    for seed in range(3):
      yield {'strategy.name': strategy, 'seed': seed}
