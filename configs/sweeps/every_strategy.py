"""Every method on the same noisy digits, with its own phases and default fields: checks that every method runs.

  python launch.py sweep --config=configs/digits.py --sweep=configs/sweeps/every_strategy.py --workdir=runs/every

This is not a comparison: the defaults are those of the papers, for other data and hundreds of epochs.
"""

from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.system import plugins


def sweep():
  for name in plugins.names(STRATEGIES, 'Strategy'):
    yield {'strategy.name': name}
