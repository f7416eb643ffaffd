"""MixMatch: predictions are averaged over two views and sharpened to labels; mixup mixes all rows.

  python launch.py train --config=configs/recipes/mixmatch.py:worse --workdir=runs/mixmatch-worse

4,000 trusted rows are labeled, all others unlabeled: no given label reaches it, and the noise matters to validation
alone. Official (microsoft/Semi-supervised-learning): WRN-28-2 (here ResNet-18, which departs), SGD 0.03 with Nesterov
momentum, decay 5e-4 on kernels alone, batch 64 + 64, 1,024 epochs of 1,024 steps, cosine of 7/16 of a half-turn (here
half a cosine to the same end), averages 0.999; alpha 0.5, weight of the guesses 100 (the paper: 0.75, 75 and Adam).
The short form's passes are those of cross-entropy's 20 epochs.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 9.8 % (n = 1), 60 s.

Published: 92.62 (USB, 4,000 labels).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.USB, **dict.fromkeys(common.NOISE, '92.62'))


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'mixmatch'
  c.strategy.mixmatch.alpha, c.strategy.mixmatch.lambda_u = 0.5, 100.0
  common.semi_supervised(c, form)
  return common.finish_semi_supervised(c, form, 180)
