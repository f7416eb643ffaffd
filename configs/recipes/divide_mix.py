"""DivideMix: a mixture model of the losses divides the rows into clean and noisy ones; MixMatch uses both.

  python launch.py train --config=configs/recipes/divide_mix.py:worse --workdir=runs/divide-mix-worse

Official (LiJunnan1992/DivideMix): two PreAct-ResNet-18, SGD 0.02, weight decay 5e-4, 300 epochs, learning rate divided
by 10 at 150; a warm-up of 10 epochs with batch size 128, with a confidence penalty for asymmetric noise, then batches
of 64 labeled and 64 unlabeled rows. The weight of the unlabeled loss is 0 for 20 % symmetric and for asymmetric noise,
and 25 for 50 and 80 % symmetric noise. Human labels: weight 0 and the penalty, as in the rerun, which had better
results with 0 (with 25: 92.68 / 92.29 on worse). The recipe therefore depends on the kind and rate of the noise.

Except in short forms, the recipe sets `phases`, so that the field `warmup` of the strategy has no effect.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 56.8 ± 1.3 % (n = 3), 455 s.

Published (worse, best / last): 93.10 / 92.49 (ReScience 2026).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(
  common.TABLE, sym20='96.1, last 95.7', sym50='94.6, last 94.4', sym80='93.2, last 92.9', asym40='93.4'
) | common.published(
  common.RERUN, clean='95.51 / 95.27', aggre='95.62 / 95.31', random1='95.72 / 95.48', worse='93.10 / 92.49'
)


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'divide_mix'
  c.told = ('kind of noise', 'noise rate')  # values in this recipe depend on these
  c.strategy.divide_mix.lambda_u = 25.0 if common.noise(form) in ('sym50', 'sym80') else 0.0
  c.strategy.naive.penalty = 1.0 if common.noise(form) in ('asym40', 'clean', *common.HUMAN) else 0.0
  c.model.name = 'preact_resnet18'
  c.epochs, c.batch_size = 300, 64
  common.sgd(c, 0.02)
  common.steps(c, 140)  # epochs of the second phase
  c.phases = (('naive', 10, {'strategy.naive.networks': 2, 'batch_size': 128}), ('divide_mix', 290, {}))
  return common.finish(c, form, 'warmup', 'ramp')
