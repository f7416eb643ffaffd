"""Clean-subset correction that also listens to the given label, on two cores: a corrector, then all rows.

  python launch.py train --config=configs/weak_supervision/posterior.py --workdir=runs/posterior

The corrector of `best_cpu.py` learns the verified rows; every other row gets the soft label p(true | image, given),
with the transition matrix counted on the verified rows; the same network then goes on with all rows. 84.1 % in 775 s
(n = 1): in this time the verified rows alone give as much (benchmarks/README.md).
"""

from configs.weak_supervision import best_cpu


def get_config(form: str = 'benchmark'):
  c = best_cpu.get_config(form)
  c.rows, c.labels = 'all', ''
  c.strategy.name = 'clean_correction'
  c.strategy.clean_correction.posterior = True
  c.strategy.clean_correction.soft = True
  c.phases = (('naive', 10, {'rows': 'trusted', 'labels': 'verified'}), ('clean_correction', 6, {}))
  return c
