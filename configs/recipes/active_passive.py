"""APL: normalised cross-entropy, which is active, plus reverse cross-entropy, which is passive.

  python launch.py train --config=configs/recipes/active_passive.py:worse --workdir=runs/active-passive-worse

Official (HanxunH/Active-Passive-Losses, CIFAR-10): alpha 1, beta 1; SGD 0.01, momentum 0.9, decay 1e-4, batch 128, 120
epochs, cosine to 0, gradients clipped at norm 5. Theirs is an 8-layer CNN; the nearest here is co-teaching's of 9
layers.

Measured: nothing yet.

Published: no figure for these noises at hand.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'active_passive'
  c.strategy.active_passive.alpha, c.strategy.active_passive.beta = 1.0, 1.0
  c.model.name = 'cnn9'
  c.epochs = 120
  common.sgd(c, 0.01, decay=1e-4)
  c.optim.clip = 5.0
  c.schedule.name, c.schedule.final = 'cosine', 0.0
  return common.finish(c, form)
