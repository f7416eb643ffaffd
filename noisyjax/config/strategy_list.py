"""Every method as a person chooses one: its networks, what it must be told, what it costs, and its paper."""

import sys

from noisyjax.config.build import find_strategy
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.engine import passes
from noisyjax.system import plugins


def text() -> str:
  """Returns a table with one line for each method, and a note on its columns."""
  lines = [f'{"strategy":22} {"networks":8}  {"must be told":16} {"passes":>6}  what it is']
  for name in plugins.names(STRATEGIES, 'Strategy'):
    found = find_strategy(name).build()
    title = (sys.modules[type(found).__module__].__doc__ or '').partition('\n')[0]
    networks, count = passes.planned(found, name)
    lines.append(f'{name:22} {networks:8}  {", ".join(found.needs) or "nothing":16} {count:6.4g}  {title}')
  lines += [
    '',
    'passes: images through a network for each training image (forward 1, forward and backward 3), averaged over',
    "the method's own phases; warm-up on all rows does not count",
  ]
  return '\n'.join(lines)
