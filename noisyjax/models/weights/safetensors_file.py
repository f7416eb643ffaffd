"""Reads `.safetensors` files: the header's length (8 bytes), a JSON header (name → dtype, shape, offsets), numbers."""

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np

from noisyjax.system.reading import reading

_DTYPES = {
  'F64': np.dtype('<f8'),
  'F32': np.dtype('<f4'),
  'F16': np.dtype('<f2'),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'I64': np.dtype('<i8'),
  'I32': np.dtype('<i4'),
  'I16': np.dtype('<i2'),
  'I8': np.dtype('i1'),
  'U8': np.dtype('u1'),
  'BOOL': np.dtype('?'),
}


def read(path: Path) -> dict[str, np.ndarray]:
  """Returns name → array.

  Raises:
    UserError: the file does not exist or is damaged.
  """
  with reading(path, 'safetensors'):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], 'little')
    if len(data) < 8 or start > len(data):
      raise ValueError(f'the header should end at byte {start}, but the file has {len(data)} bytes')
    header = json.loads(data[8:start])
    if not isinstance(header, dict):
      raise ValueError('the header is not a dictionary')
    return {name: _array(data, start, name, **entry) for name, entry in header.items() if name != '__metadata__'}


def _array(data: bytes, start: int, name: str, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
  if dtype not in _DTYPES:
    raise ValueError(f'tensor {name} has the unknown type {dtype!r}')
  begin, end = data_offsets
  if not (0 <= begin <= end <= len(data) - start) or math.prod(shape) * _DTYPES[dtype].itemsize != end - begin:
    raise ValueError(f'tensor {name} of shape {shape} does not fit bytes {begin} to {end} of {len(data) - start}')
  return np.frombuffer(data[start + begin : start + end], _DTYPES[dtype]).reshape(shape)
