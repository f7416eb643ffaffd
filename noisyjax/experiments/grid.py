"""The points of a sweep: the product of axes over fields, or what a file in configs/sweeps/ yields; and their names."""

import ast
import itertools
import re
from collections.abc import Iterator
from typing import Any

from noisyjax.config import recipe, recipe_files
from noisyjax.reports import collection
from noisyjax.system.errors import UserError

Overrides = dict[str, Any]  # dotted field → value


def grid(axes: list[str]) -> Iterator[Overrides]:
  """Yields the product of axes such as "optim.lr=0.1,0.01" and "seed=0,1,2".

  Raises:
    UserError: an axis that is not field=value,value,….
  """
  parsed = []
  for axis in axes:
    field, _, values = axis.partition('=')
    if not field or not values:
      raise UserError(f"--grid: found {axis!r}, expected field=value,value,… such as 'optim.lr=0.1,0.01'.")
    parsed.append([(field, _literal(v)) for v in _split(values)])
  for point in itertools.product(*parsed):
    yield dict(point)


def _split(values: str) -> list[str]:
  """Splits at commas outside brackets, so that a tuple can be a value."""
  parts, depth = [''], 0
  for c in values:
    depth += (c in '([{') - (c in ')]}')
    if c == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += c
  return parts


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def generated(path: str) -> list[Overrides]:
  """Returns what `sweep()` of a Python file, or of a shipped one by name, yields: dicts of dotted field → value.

  Raises:
    UserError: no such file, one that cannot be run, no `sweep` in it, or one that yields something else.
  """
  points = recipe.run(recipe_files.located(path, '--sweep', 'sweeps'), 'sweep')
  expected = 'expected a function sweep() that yields dicts of field → value'
  if not isinstance(points, list | tuple):
    raise UserError(f'{path}: sweep() returns a {type(points).__name__}; {expected}.')
  for i, point in enumerate(points):
    if not isinstance(point, dict) or not all(isinstance(field, str) for field in point):
      raise UserError(f'{path}: point {i} is {point!r}; {expected}.')
  return list(points)


def name(overrides: Overrides) -> str:
  """Returns a folder name that tells the point: "lr=0.1,seed=1"."""
  taken = [collection.short(f) for f in overrides]
  plain = lambda v: re.sub(r'[^\w.+-]+', '_', str(v)).strip('_')
  label = lambda f: f if taken.count(collection.short(f)) > 1 else collection.short(f)
  return ','.join(f'{label(k)}={plain(v)}' for k, v in overrides.items()) or 'base'
