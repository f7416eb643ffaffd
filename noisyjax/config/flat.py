"""A config as one level of dotted names."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def flat(config: ConfigDict | Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns dotted name → value."""
  out = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict | dict):
      out |= flat(value, f'{prefix}{name}.')
    else:
      out[f'{prefix}{name}'] = value
  return out
