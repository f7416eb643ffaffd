"""Every method on the same noisy digits, each by its own plan, all fields at their defaults: does everything run?

  python launch.py sweep --config=configs/digits.py --sweep=configs/sweeps/every_strategy.py --workdir=runs/every

Not a comparison: the defaults are the papers', for other data and hundreds of epochs.
"""

from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.system import plugins


def sweep():
  for name in plugins.names(STRATEGIES, 'Strategy'):
    yield {'strategy.name': name}
