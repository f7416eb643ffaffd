"""Flattens a config to dotted field names."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def flat(config: ConfigDict | Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns the values of a config by dotted name, such as 'optim.lr'; `prefix` is put before each name."""
  out = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict | dict):
      out |= flat(value, f'{prefix}{name}.')
    else:
      out[f'{prefix}{name}'] = value
  return out
