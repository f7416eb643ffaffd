"""Pseudo-labels in rounds: confident predictions of a network become labels for the next one.

  python launch.py train --config=configs/recipes/pseudo_label.py:worse --workdir=runs/pseudo-label-worse

4,000 trusted rows are labeled, all others unlabeled; the method uses no given labels. All else is our choice: two
rounds, thresholds 0.95 and 0.99, ResNet-18, SGD 0.1 with Nesterov momentum, batch size 128, three phases of 60 epochs
of 330 steps, each with a one-cycle schedule.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 56.0 % (n = 1), 69 s. The code has changed
since.

Published: none for rounds. With pseudo-labels at every step: 85.10 (USB: 4,000 labeled and 50,000 unlabeled training
rows, 1,024 epochs, WRN-28-2 with CIFAR stem; best or last not said).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.trusted(c, form, 4000)
  c.strategy.name = 'pseudo_label'
  c.strategy.pseudo_label.source = 'verified'
  c.model.name = 'resnet18'
  c.epochs, c.steps_per_epoch = 180, 330
  common.sgd(c, 0.1, nesterov=True)
  c.schedule.name, c.schedule.peak = 'one_cycle', 0.2
  return common.finish(c, form)
