"""The baseline of the seed: logistic regression on RGB histograms, with the noisy labels. 20 s; 24.2 %.

python launch.py train --config=configs/weak_supervision/baseline.py --workdir=runs/baseline
"""

from configs.weak_supervision import common


def get_config(form: str = 'benchmark'):
  c = common.get_config(form, validates=False)
  c.model.name = 'histogram'
  return c
