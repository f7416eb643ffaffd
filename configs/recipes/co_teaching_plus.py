"""Co-teaching+: co-teaching on the rows that the two networks disagree about.

  python launch.py train --config=configs/recipes/co_teaching_plus.py:worse --workdir=runs/co-teaching-plus-worse

Official (xingruiyu/coteaching_plus): Adam 1e-3, batch 128, no augmentation, 200 epochs; from 80 on the rate falls
linearly to 0 and b1 is 0.1. 20 epochs of co-teaching before; the forget rate is the noise rate, which it is told,
reached over 10 epochs. The model is co-teaching's CNN (official: a smaller one).

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 51.3 % (n = 1), 117 s.

Published (worse, best / last): 82.36 / 78.90 (ReScience 2026, with ResNet-34, crops and flips, and a forget
rate of 0.2).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.TABLE, sym20='89.5', sym50='85.7', sym80='67.4') | common.published(
  common.RERUN, aggre='91.15 / 91.03', random1='89.82 / 89.57', worse='82.36 / 78.90'
)


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'co_teaching_plus'
  c.strategy.co_teaching_plus.forget = common.rate(form)
  c.strategy.co_teaching_plus.ramp, c.strategy.co_teaching_plus.warmup = 10.0, 20.0
  common.adam_then_linear(c)
  return common.finish(c, form, 'ramp', 'warmup')
