"""strategies: the methods there are."""

import sys

from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  del values


def run(values: FlagValues) -> None:
  from noisyjax.config.build import find_strategy
  from noisyjax.config.plugin_fields import STRATEGIES
  from noisyjax.engine import passes
  from noisyjax.system import plugins

  del values
  say(f'{"strategy":22} {"networks":8}  {"must be told":16} {"passes":>6}  what it is')
  for name in plugins.names(STRATEGIES, 'Strategy'):
    found = find_strategy(name).build()
    title = (sys.modules[type(found).__module__].__doc__ or '').partition('\n')[0]
    told = ', '.join(found.needs) or 'nothing'
    networks, count = passes.planned(found, name)
    say(f'{name:22} {networks:8}  {told:16} {count:6.4g}  {title}')
  say('\npasses: images through a network for each training image (forward 1, forward and backward 3), averaged over')
  say("the method's own phases; warm-up on all rows does not count")


COMMAND = Command(
  'strategies',
  '',
  'every method with its networks, what it must be told, its passes per image (measured), and its paper',
  declare,
  run,
)
