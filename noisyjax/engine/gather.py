"""Determines the rows of a step and gathers their images.

The rows of a step depend only on the walks and the step's number in the epoch. Their images come from an array on the
device or from the host. The step's results depend on row numbers and pixels, not on how the images were gathered.
"""

import functools
from typing import Any

import jax
import numpy as np
from flax import struct
from jax import Array

from noisyjax.data.images import Images
from noisyjax.engine import walk
from noisyjax.engine.strategy import Strategy


class Rows(struct.PyTreeNode):
  """The rows of one stream in one step.

  Attributes:
    index: int32 [B], row numbers; [M, B] if each network has its own rows.
    visit: int32, same shape; number of earlier visits to the row in this epoch.
    valid: bool, same shape; False if the stream has no rows, in which case `index` is meaningless.
  """

  index: Array
  visit: Array
  valid: Array


class Gathered(struct.PyTreeNode):
  """The rows of one step and their images.

  Attributes:
    rows: stream → Rows.
    images: stream → images of these rows, uint8 [B, H, W, C] or [M, B, H, W, C].
  """

  rows: dict[str, Rows]
  images: dict[str, Any]


def rows_of(strategy: Strategy, batch_size: int, walks: dict[str, walk.Walk], tick: Array) -> dict[str, Rows]:
  """Returns the rows of each stream in one step.

  Args:
    strategy: strategy of the phase; its streams are used.
    batch_size: rows per step in a stream of ratio 1.
    walks: stream → walk of this epoch.
    tick: int32, number of earlier steps in this epoch.
  """
  size = lambda name: batch_size * strategy.streams[name].ratio
  return {name: Rows(*walk.rows(walks[name], tick, size(name))) for name in strategy.streams}


def on_device(rows: dict[str, Rows], images: Array) -> Gathered:
  """Gathers the images of `rows` from uint8 [N, H, W, C] on the device; can be traced."""
  return Gathered(rows, {name: images[r.index] for name, r in rows.items()})


def on_host(rows: dict[str, Rows], images: Images) -> Gathered:
  """Gathers the images of `rows` on the host, so that the device holds only the images of one step."""

  def one(index: np.ndarray) -> np.ndarray:
    found = np.asarray(images.take(index.reshape(-1)))
    return found.reshape(*index.shape, *found.shape[1:])

  return Gathered(rows, {name: one(np.asarray(r.index)) for name, r in rows.items()})


@functools.partial(jax.jit, static_argnames='batch_size')
def next_rows(strategy: Strategy, batch_size: int, walks: dict[str, walk.Walk], tick: Array) -> dict[str, Rows]:
  """Compiled `rows_of`, for a host that gathers the images itself."""
  return rows_of(strategy, batch_size, walks, tick)
