"""Seals of stored arrays: metadata ("facts") and a sha256 of both that detects any changed bit."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from noisyjax.system import formats


def sealed(kind: str, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the seal of arrays: the facts, the format number of `kind`, and the sha256 of arrays and facts."""
  facts = formats.stamped(kind, facts)
  return {**facts, 'sha256': _sha256(arrays, facts)}


def opened(kind: str, arrays: Mapping[str, np.ndarray], seal: Mapping[str, Any], where: Any) -> dict[str, Any]:
  """Checks a seal and returns its facts.

  A seal without a format number was written by an older version and has no checksum; it is returned as it is.

  Args:
    kind: the kind of file, see `formats`.
    arrays: the arrays that were read.
    seal: the seal that was read.
    where: the name of the file in messages.

  Raises:
    UserError: this version cannot read the format.
    ValueError: the arrays or the facts have changed since they were sealed.
  """
  facts = formats.read(kind, seal, where)
  if 'format' not in seal:
    return facts
  written = facts.pop('sha256', None)
  found = _sha256(arrays, {k: v for k, v in seal.items() if k != 'sha256'})
  if found != written:
    raise ValueError(f'the content is not what was written: its sha256 is {found[:12]}…, not {str(written)[:12]}…')
  return facts


def _sha256(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
  """Returns the sha256 (hex) of the facts and of each array's name, type, shape and content."""
  out = hashlib.sha256(formats.digest(facts).encode())
  for name in sorted(arrays):
    array = np.ascontiguousarray(arrays[name])
    out.update(f'\n{name} {array.dtype} {array.shape}\n'.encode())
    out.update(array.reshape(-1).view(np.uint8).data)
  return out.hexdigest()
