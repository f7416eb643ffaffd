"""Recipes, Python files with a function `get_config()`, and flags `--config.field=value` that override their fields.

Loading a recipe executes the file.
"""

import importlib.machinery
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config import fields, recipe_files
from noisyjax.config.check import complete
from noisyjax.config.plugin_fields import adopt
from noisyjax.system import plugins
from noisyjax.system.errors import UserError, listed


def load(text: str) -> ConfigDict:
  """Returns the config of a recipe.

  Args:
    text: path of a file or name of a shipped recipe; text after a colon is passed to its `get_config`.

  Raises:
    UserError: there is no such file, executing it fails, or it does not return a config.
  """
  name, colon, argument = text.partition(':')
  file = recipe_files.located(name, '--config')
  config = run(file, 'get_config', *([argument] if colon else []))
  if not isinstance(config, ConfigDict):
    raise UserError(
      f'{file}: get_config() returns a {type(config).__name__}; expected a ConfigDict, as base.get_config() returns.'
    )
  complete(config, str(file))
  adopt(config, file.parent)
  return config


def run(file: Path, function: str, /, *arguments: Any, **named: str) -> Any:
  """Executes a Python file, calls a function that it defines, and returns the result; an iterator as a list.

  Args:
    file: path of the file.
    function: name of the function.
    *arguments: arguments of the function.
    **named: texts of arguments of the function, by name. Each becomes a value of the type of the argument's default;
      without a default, or if that is None, it stays a text. Numbers are 0 or more.

  Raises:
    UserError: the file or the function raises an exception, there is no such function, it has no such argument, or a
      text does not fit.
  """
  loader = importlib.machinery.SourceFileLoader(file.stem, str(file))
  spec = importlib.util.spec_from_loader(file.stem, loader)
  module = importlib.util.module_from_spec(spec)  # pyrefly: ignore[bad-argument-type]  # a loader of a file has one
  with plugins.running(file), recipe_files.importing(file):
    loader.exec_module(module)
    if not hasattr(module, function):
      raise UserError(f'{file}: has no function {function}(); expected a file that defines it.')
    called = getattr(module, function)
    if unknown := named.keys() - (known := inspect.signature(called).parameters).keys():
      raise UserError(f'{file}: {function}() has no argument {min(unknown)!r}; it has {listed(known) or "none"}.')
    try:
      inspect.signature(called).bind(*arguments, **named)
    except TypeError as error:
      expected = 'no text after a colon' if arguments else f'a text after a colon, as in {file.name}:TEXT'
      raise UserError(f'{file}: {function}{inspect.signature(called)}: {error}; expected {expected}.') from None
    found = called(*arguments, **{name: _fitting(file, name, known[name].default, named[name]) for name in named})
    return list(found) if isinstance(found, Iterator) else found


def _fitting(file: Path, name: str, default: Any, text: str) -> Any:
  """Returns the value of an argument from its text; raises UserError if that does not fit."""
  try:
    value = fields.converted(name, default, text)
    if isinstance(value, int | float) and value not in fields.Range():
      raise ValueError(f'at most {fields.LARGE}' if value > 0 else fields.Range())
  except ValueError as error:
    raise UserError(f'{file}: {name}={fields.shown(text)}: expected {error}.') from None
  return value


def take_fields(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
  """Separates the config flags of a command line from its other arguments.

  Config flags are `--config.field=value`, `--config.field value`, `--config.field` (true) and `--noconfig.field`
  (false). The last flag of a field wins.

  Returns:
    The other arguments, and the text of each field by dotted name.
  """
  rest, fields, queue = [], {}, list(arguments)
  while queue:
    argument = queue.pop(0)
    found = re.fullmatch(r'--?(no)?config\.([^=]*)(?:=(.*))?', argument, re.DOTALL)
    if not found:
      rest.append(argument)
    elif found[3] is not None:
      fields[found[2]] = found[3]
    elif found[1]:
      fields[found[2]] = 'false'
    else:
      fields[found[2]] = queue.pop(0) if queue and not queue[0].startswith('--') else 'true'
  return rest, fields
