"""Recipes: Python files with a function `get_config()`, and the flags `--config.field=value` that change its config.

A recipe is a program: loading one runs it.
"""

import importlib.machinery
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config import recipe_files
from noisyjax.config.check import complete
from noisyjax.config.plugin_fields import adopt
from noisyjax.system import plugins
from noisyjax.system.errors import UserError


def load(text: str) -> ConfigDict:
  """Returns the config of a recipe.

  Args:
    text: a file or the name of a shipped recipe; what follows a colon is passed to its get_config.
  Raises:
    UserError: no such file, or one that cannot be run or gives no config; naming the file and line.
  """
  name, colon, argument = text.partition(':')
  file = recipe_files.located(name, '--config')
  config = run(file, 'get_config', *([argument] if colon else []))
  if not isinstance(config, ConfigDict):
    raise UserError(
      f'{file}: get_config() returns a {type(config).__name__}; expected a ConfigDict, as base.get_config().'
    )
  complete(config, str(file))
  adopt(config, file.parent)
  return config


def run(file: Path, function: str, *arguments: str) -> Any:
  """Runs a Python file and returns what its `function` returns.

  Raises:
    UserError: whatever the file raises, in one line that names the file and the line.
  """
  loader = importlib.machinery.SourceFileLoader(file.stem, str(file))
  spec = importlib.util.spec_from_loader(file.stem, loader)
  module = importlib.util.module_from_spec(spec)  # pyrefly: ignore[bad-argument-type]  # a loader of a file has one
  with plugins.running(file), recipe_files.importing(file):
    loader.exec_module(module)
    if not hasattr(module, function):
      raise UserError(f'{file}: has no function {function}().')
    found = getattr(module, function)(*arguments)
    return list(found) if isinstance(found, Iterator) else found


def take_fields(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
  """Parts a command line into all else and field → text of its `--config.field=value`, `--config.field value`,
  `--config.field` (true) and `--noconfig.field` (false); the last word on a field counts."""
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
