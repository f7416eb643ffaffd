"""PosteriorMatch: FixMatch whose pseudo-labels also take the given label of the row into account.

  python launch.py train --config=configs/recipes/posterior_match.py:worse --workdir=runs/posterior-match-worse

Our method, with the settings of `fixmatch.py`. The 4,000 trusted rows also determine how reliable the given labels are.
Batches of 64 labeled and 256 unlabeled rows; threshold 0.9.

Measured with the weaker strong views described in `fixmatch.py`, `worse-short8-held` on its first 10,000 rows, two
cores: last 52.7 % (n = 1), 69 s. The code has changed since.

Published: none.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'posterior_match'
  common.semi_supervised(c, form)
  return common.finish_semi_supervised(c, form, 100)
