"""Cross-entropy, the baseline: ResNet-34, SGD 0.1, batch 128, 100 epochs, rate divided by 10 at 60.

  python launch.py train --config=configs/recipes/naive.py:worse --workdir=runs/naive-worse

Published (worse, best epoch by test / last, 3 seeds): 83.91 / 68.26 (KlemenVovk/noisy-labels, ReScience 2026).
"""

from configs.recipes import common


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'naive'
  c.model.name = 'resnet34'
  c.epochs = 100
  c.optim.lr, c.optim.decay, c.optim.nesterov, c.optim.kernels_only = 0.1, 5e-4, False, False
  c.schedule.name, c.schedule.milestones = 'step', (60.0,)
  return common.finish(c, form)
