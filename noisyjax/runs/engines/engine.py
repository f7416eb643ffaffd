"""Reads an engine from its file: --engine=configs/engines/processes.py:at_once=4,cores=2."""

import jax

from noisyjax.config import recipe, recipe_files
from noisyjax.runs.launch import Engine, Here, SideBySide
from noisyjax.system.errors import UserError

FUNCTION = 'get_engine'


def load(text: str, replicas: int = 1) -> Engine:
  """Returns the engine of a file, or of a shipped one by name; '' = `Here()`.

  With an engine that starts others, this process uses the CPU alone: the accelerators are for the processes that train.

  Args:
    text: path of the file, and values of the arguments of its get_engine() after a colon, see `recipe.run`.
    replicas: maximum number of runs that train side by side in this process.

  Raises:
    UserError: there is no such file, it has no such argument, a value does not fit, executing it fails, or `replicas`
      is above 1 beside it.
  """
  if not text:
    return Here() if replicas == 1 else SideBySide(replicas)
  if replicas > 1:
    raise UserError(
      f'--replicas: found {replicas} with --engine={text}; expected one of them: --replicas trains runs side by side '
      'in this process.'
    )
  name, _, rest = text.partition(':')
  file = recipe_files.located(name, '--engine', 'engines')
  values = dict(map(_value, rest.split(','))) if rest else {}
  engine = recipe.run(file, FUNCTION, **values)
  if not (hasattr(engine, 'launch') and hasattr(engine, 'text')):
    raise UserError(
      f'{file}: {FUNCTION}() returns a {type(engine).__name__}; expected an engine, as those of configs/engines.'
    )
  if not isinstance(engine, Here):
    jax.config.update('jax_platforms', 'cpu')
  return engine


def _value(part: str) -> tuple[str, str]:
  name, equals, value = part.partition('=')
  if not equals or not name.isidentifier():
    raise UserError(f'--engine: found {part!r} after the colon; expected key=value,key=value,….')
  return name, value
