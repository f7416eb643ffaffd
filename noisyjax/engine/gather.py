"""From the walks of an epoch to the rows of one step, and from rows to their images.

A step is rows → gather → views. Here are the first two: which rows a step has follows from walks and tick alone, and
their images come from an array on the device, or from wherever a host keeps them. What the step makes of a row depends
on its number and its pixels, not on how these were gathered.
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
  """The rows of one stream in one step; a leading M where each network walks its own.

  Attributes:
    index: int32 [B] or [M, B], row numbers.
    visit: int32, likewise; how often the stream had passed the row before in this epoch.
    valid: bool, likewise; False where the stream has no rows, and the index means nothing.
  """

  index: Array
  visit: Array
  valid: Array


class Gathered(struct.PyTreeNode):
  """All that a step reads of the training images.

  Attributes:
    rows: stream → Rows.
    images: stream → uint8 [B, H, W, C] or [M, B, H, W, C], the images of these rows.
  """

  rows: dict[str, Rows]
  images: dict[str, Any]


def rows_of(strategy: Strategy, batch_size: int, walks: dict[str, walk.Walk], tick: Array) -> dict[str, Rows]:
  """Returns the rows of each stream in the step `tick` of the epoch with these walks."""
  size = lambda name: batch_size * strategy.streams[name].ratio
  return {name: Rows(*walk.rows(walks[name], tick, size(name))) for name in strategy.streams}


def on_device(rows: dict[str, Rows], images: Array) -> Gathered:
  """Gathers from all images, uint8 [N, H, W, C], on the device; may be traced."""
  return Gathered(rows, {name: images[r.index] for name, r in rows.items()})


def on_host(rows: dict[str, Rows], images: Images) -> Gathered:
  """Gathers from images wherever they are kept: only those of the step travel to the device."""

  def one(index: np.ndarray) -> np.ndarray:
    found = np.asarray(images.take(index.reshape(-1)))
    return found.reshape(*index.shape, *found.shape[1:])

  return Gathered(rows, {name: one(np.asarray(r.index)) for name, r in rows.items()})


@functools.partial(jax.jit, static_argnames='batch_size')
def next_rows(strategy: Strategy, batch_size: int, walks: dict[str, walk.Walk], tick: Array) -> dict[str, Rows]:
  """`rows_of`, compiled: for a host that gathers the images itself."""
  return rows_of(strategy, batch_size, walks, tick)
