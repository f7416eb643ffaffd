"""APL: the sum of an active loss, normalized cross-entropy, and a passive one, reverse cross-entropy.

  python launch.py train --config=configs/recipes/active_passive.py:worse --workdir=runs/active-passive-worse

Official (HanxunH/Active-Passive-Losses, CIFAR-10): alpha 1, beta 1; SGD with learning rate 0.01, momentum 0.9 and
weight decay 1e-4, batch size 128, 120 epochs, cosine schedule to 0, gradients clipped to norm 5. The official model is
an 8-layer CNN, and is replaced by the most similar one here, the 9-layer CNN of co-teaching. CIFAR-100: ResNet-50 with
CIFAR stem, alpha 10, beta 0.1, learning rate 0.1, weight decay 1e-5, 200 epochs, and views are also rotated by up to 20
degrees.

Measured: not yet.

Published: no known result for these noise types.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.counted(c, 'per_class', 'independent' if common.hundred(form) else 'per_class')
  c.strategy.name = 'active_passive'
  c.strategy.active_passive.alpha, c.strategy.active_passive.beta = 1.0, 1.0
  c.model.name = 'cnn9'
  c.epochs = 120
  common.sgd(c, 0.01, decay=1e-4)
  c.optim.clip = 5.0
  if common.hundred(form):
    c.strategy.active_passive.alpha, c.strategy.active_passive.beta = 10.0, 0.1
    c.model.name, c.model.resnet50.stem = 'resnet50', 'cifar'
    c.epochs, c.optim.lr, c.optim.decay = 200, 0.1, 1e-5
    common.rotated(c)
  c.schedule.name, c.schedule.final = 'cosine', 0.0
  return common.finish(c, form)
