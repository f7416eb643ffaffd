"""The list of config fields that `launch.py fields` prints: value, allowed values and description of each.

Descriptions are the comments in `defaults.py` and the "Attributes:" sections of strategies and models. Allowed values
are those that `config.check` accepts.
"""

import difflib
import inspect
import re
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config import defaults, fields
from noisyjax.config.build import find_strategy
from noisyjax.config.flat import flat
from noisyjax.config.plan import ROWS
from noisyjax.config.plugin_fields import MODELS, SOURCES, STRATEGIES
from noisyjax.data import noise
from noisyjax.engine import optim
from noisyjax.engine.augment import ops, strength
from noisyjax.models.layers import conv
from noisyjax.system import plugins
from noisyjax.system.errors import UserError


def text(word: str = '', config: ConfigDict | None = None) -> str:
  """Returns one line for each field whose name contains the word, or whose description has a word that starts with it.

  Args:
    word: the word to look for; '' lists all fields.
    config: the config whose values are shown; None: the defaults.

  Raises:
    UserError: no field matches; the message lists similar words.
  """
  values, comments = flat(config or defaults.get_config()), _comments()
  rows = [(f, fields.spelled(v) or '(empty)', _allowed(f, v), comments.get(f, '')) for f, v in values.items()]
  begins = re.compile(rf'\b{re.escape(word)}', re.IGNORECASE)
  found = [row for row in rows if word.lower() in row[0] or begins.search(row[3])]
  if not found:
    known = sorted({part for field in values for part in (field, *field.split('.'))})
    near = ', '.join(difflib.get_close_matches(word, known))
    raise UserError(
      f'fields: no field has {word!r} in its name or description.' + (f' Similar words: {near}.' if near else '')
    )
  width = [max(len(row[i]) for row in found) for i in (0, 1)]
  lines = (
    f'{name:{width[0]}}  {value:{min(width[1], 30)}}  {allowed}' + (f'  # {comment}' if comment else '')
    for name, value, allowed, comment in found
  )
  return '\n'.join(lines)


def _comments() -> dict[str, str]:
  """Returns the description of each field by dotted name."""
  lines = inspect.getsource(defaults).splitlines()
  found = (re.match(r'  c\.([\w.]+) = .*?  # (.*)', line) for line in lines)
  out = {match[1]: match[2] for match in found if match}
  for table, package, attribute in (('strategy', STRATEGIES, 'Strategy'), ('model', MODELS, 'Model')):
    out[f'{table}.name'] = out.pop(table).partition(',')[0] + f' of the {table}'
    for name in plugins.names(package, attribute):
      cls = plugins.find(package, name, attribute, table)
      out |= {f'{table}.{name}.{field}': comment for field, comment in attributes(cls).items()}
  return out


def attributes(cls: type) -> dict[str, str]:
  """Returns the description of each attribute, from the "Attributes:" sections of a class and its bases.

  Descriptions must end with a full stop. Those of a class take precedence over those of its bases.
  """
  out = {}
  for each in reversed(cls.__mro__):
    section = re.search(r'Attributes:\n(.*?)(?:\n\s*\n|\n\s*\w+:\n|\Z)', each.__dict__.get('__doc__') or '', re.DOTALL)
    if section:
      parts = re.split(r'(?:^|(?<=\.))\s*((?:\w+(?:, )?)+): ', ' '.join(section[1].split()))
      for names, description in zip(parts[1::2], parts[2::2]):
        out |= dict.fromkeys(names.split(', '), description.strip())
  return out


def _allowed(field: str, default: Any) -> str:
  """Returns a text about the allowed values of a field."""
  choices = fields.CHOICES.get(field) or {
    'strategy.name': plugins.names(STRATEGIES, 'Strategy'),
    'model.name': plugins.names(MODELS, 'Model'),
    'data.source': plugins.names(SOURCES, 'load'),
    'optim.name': optim.OPTIMIZERS,
    'schedule.name': optim.SCHEDULES,
    'rows': ROWS,
    'model.conv': ('auto', *conv.KINDS),
    'noise.kind': noise.KINDS,
    'noise.count': noise.COUNTS,
    'augment.weak': ops.OPS,
    'augment.strong': ops.OPS,
  }.get(field)
  noun = fields.NOUNS.get(type(default), 'a value')
  if choices:
    listed = ' '.join(repr(c) if c == '' else str(c) for c in choices)
    return f'a list of: {listed}' if isinstance(default, tuple) else f'one of: {listed}'
  element = default[0] if isinstance(default, tuple) and default else default
  each = fields.ELEMENTS.get(field) or type(element)
  if each not in (int, float) or isinstance(element, bool):
    return noun
  return f'{noun}, {_range(field)}'


def _range(field: str) -> str:
  """Returns a text about the allowed numbers of a field."""
  table, last = field.split('.')[0], field.rpartition('.')[2]
  if table == 'augment':
    return str(fields.Range(*strength.BOUNDS[last]))
  if table != 'strategy':
    return str(fields.range_of(field))
  method = find_strategy(field.split('.')[1])()
  if last in method.estimable:
    return 'from 0 to 1; below 0: estimated'
  return str(fields.PART if last in method.unit_interval else fields.SHARED_RANGES.get(last, fields.Range()))
