"""Determines the rows of a step and gathers their images.

The rows of a step depend only on the walks and the step's number in the epoch. Their images come from an array on the
device or from the host. The step's results depend on row numbers and pixels, not on how the images were gathered.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.sharding import Mesh

from noisyjax.data.images import Images
from noisyjax.engine import placement, walk
from noisyjax.engine.strategy import Strategy
from noisyjax.system import threads

MOST = 8  # calls whose images are gathered ahead, at most; and
BYTES = 2**27  # their bytes, at most, unless one call takes more


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


def on_host(rows: dict[str, Rows], images: Images, mesh: Mesh | None = None) -> Gathered:
  """Gathers the images of `rows` on the host, so that the devices hold only the images of one step.

  Args:
    rows: stream → rows of the step; every process has the same.
    images: all training images.
    mesh: devices that share the batch; each process gathers only the images of its own devices.
  """
  taken = lambda index: placement.taken(mesh, images, np.asarray(index))
  return Gathered(placement.everywhere(mesh, rows), {name: taken(r.index) for name, r in rows.items()})


@functools.partial(jax.jit, static_argnames=('batch_size', 'count'))
def next_rows(
  strategy: Strategy, batch_size: int, walks: dict[str, walk.Walk], tick: Array, count: int = 1
) -> dict[str, Rows]:
  """Compiled `rows_of`, for a host that gathers the images itself; with `count` > 1, of as many steps [count, …]."""
  one = lambda tick: rows_of(strategy, batch_size, walks, tick)
  return one(tick) if count == 1 else jax.vmap(one)(tick + jnp.arange(count))


def ahead(
  strategy: Strategy,
  batch_size: int,
  walks: dict[str, walk.Walk],
  images: Images,
  calls: Sequence[tuple[int, int]],
  mesh: Mesh | None,
) -> Iterator[Gathered]:
  """Yields the rows and images of each call, which threads gather while the device computes.

  Args:
    strategy: strategy of the phase; its streams are used.
    batch_size: rows per step in a stream of ratio 1.
    walks: stream → walk of this epoch.
    images: all training images.
    calls: for each compiled call, the number of earlier steps in the epoch, and the number of its steps. The arrays of
      a call of several steps have them as a leading axis.
    mesh: devices that share the batches; None for one device.
  """
  walks = jax.device_get(walks)
  with contextlib.suppress(RuntimeError):  # on the host the rows need not wait for the steps that the device has queued
    walks = jax.device_put(walks, jax.local_devices(backend='cpu')[0])

  def gathered(call: tuple[int, int]) -> Gathered:
    tick, count = call
    rows = jax.device_get(next_rows(strategy, batch_size, walks, np.int32(tick), count))
    return on_host(rows, images, mesh)

  rows = sum(view.ratio for view in strategy.streams.values()) * strategy.networks * batch_size
  size = rows * math.prod(images.shape[1:]) * max((count for _, count in calls), default=1)
  yield from threads.ahead(gathered, calls, max(1, min(MOST, BYTES // size)))
