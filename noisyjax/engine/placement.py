"""Where the arrays of a run lie, if several devices share it: a mesh of one axis, "data", over those of all processes.

The state of a run, with its arrays over the training rows, has a copy on every device; batches are spread over them.
The largest arrays over rows are [N, C] (soft targets, the memory of ELR, the variables of SOP): 125 MB each for 310,000
rows of 101 classes, beside which a network and its activations take gigabytes.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from noisyjax.data import images as data_images
from noisyjax.data.images import Images
from noisyjax.engine.state import PyTree


def mesh_of(tree: PyTree) -> Mesh | None:
  """Returns the mesh on which the arrays of a tree lie; None if that is one device, or the tree has no JAX arrays."""
  found = (getattr(getattr(leaf, 'sharding', None), 'mesh', None) for leaf in jax.tree.leaves(tree))
  return next((mesh for mesh in found if isinstance(mesh, Mesh) and mesh.size > 1), None)


def everywhere(mesh: Mesh | None, tree: PyTree) -> PyTree:
  """Returns a tree with a copy of each array on every device of the mesh.

  Args:
    mesh: None: the tree is returned as it is.
    tree: arrays and random keys; every process has the same ones.
  """
  if mesh is None:
    return tree
  sharding = NamedSharding(mesh, PartitionSpec())

  def one(leaf: Any) -> Array:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if sharding.is_fully_addressable or not getattr(leaf, 'is_fully_addressable', True):
      return jax.device_put(leaf, sharding)
    # `device_put` would send the array to the other processes, to compare it with theirs.
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda where: whole[where])

  return jax.tree.map(one, tree)


_placed: weakref.WeakKeyDictionary[Images, weakref.ref[Array]] = weakref.WeakKeyDictionary()


def shared(mesh: Mesh | None, images: Images) -> Array:
  """Returns all images on every device of the mesh, uint8 [N, H, W, C]; one copy for all that use it at the time.

  Args:
    mesh: None for one device.
    images: images in memory.
  """
  there = _placed.get(images)
  array = there() if there is not None else None
  if array is None or mesh_of(array) != mesh:
    array = everywhere(mesh, jnp.asarray(images))
    _placed[images] = weakref.ref(array)
  return array


def settled(mesh: Mesh | None, tree: PyTree) -> PyTree:
  """Returns the results of a compiled function with a copy on every device: the compiler might spread them."""
  return tree if mesh is None else jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def traced_for(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
  """Returns a context that tells `apart` which devices share what is traced in it; None for one device."""
  return contextlib.nullcontext() if mesh is None else jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def apart(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a function that each device computes for itself, from whole arguments; unchanged outside of `traced_for`.

  Rows are looked up and their state is updated in this way. Otherwise XLA spreads this work as it spreads the images:
  each device updates its copy of an array over all rows by its own part of the batch, and then the copies are added up.
  """
  if jax.sharding.get_abstract_mesh().empty:
    return function
  return jax.shard_map(function, in_specs=PartitionSpec(), out_specs=PartitionSpec())


def gathered(array: Array) -> Array:
  """Returns an array that is spread over the devices with a copy on each; unchanged outside of `traced_for`."""
  none = jax.sharding.get_abstract_mesh().empty
  return array if none else jax.lax.with_sharding_constraint(array, PartitionSpec())


def mine(mesh: Mesh | None, index: np.ndarray) -> np.ndarray:
  """Returns the part of a batch's rows that the devices of this process hold.

  Args:
    mesh: None: all rows.
    index: int [..., B], row numbers, the same in every process; the mesh's size divides B.
  """
  if mesh is None:
    return index
  parts = _spread(mesh, index.ndim).addressable_devices_indices_map(index.shape).values()
  starts = sorted({(part[-1].start or 0, part[-1].stop or index.shape[-1]) for part in parts if part})
  return np.concatenate([index[..., start:stop] for start, stop in starts], -1)


def joined(mesh: Mesh | None, part: np.ndarray, axis: int, count: int) -> Any:
  """Returns a batch that is spread over the devices, from the part that each process has.

  Args:
    mesh: None: the part is the whole, and returned as it is.
    part: array of the rows of `mine`.
    axis: axis of the rows.
    count: number of rows of the batch.
  """
  if mesh is None:
    return part
  shape = (*part.shape[:axis], count, *part.shape[axis + 1 :])
  return jax.make_array_from_process_local_data(_spread(mesh, axis + 1), part, shape)


def _spread(mesh: Mesh, axes: int) -> NamedSharding:
  """Returns the sharding of arrays whose rows are the last of the first `axes` axes."""
  return NamedSharding(mesh, PartitionSpec(*[None] * (axes - 1), 'data'))


def taken(mesh: Mesh | None, images: Images, index: np.ndarray) -> Any:
  """Returns the images of rows int [..., B], spread over the devices; each process takes those of its own devices."""
  rows = mine(mesh, index)
  axis, count = index.ndim - 1, index.shape[-1]
  if _on_devices(images):
    return images.take(joined(mesh, rows, axis, count))
  found = np.asarray(images.take(rows.reshape(-1)))
  return joined(mesh, found.reshape(*rows.shape, *found.shape[1:]), axis, count)


def in_turn(mesh: Mesh | None, images: Images, chunks: np.ndarray) -> Iterator[tuple[Any, Any]]:
  """Yields the rows int [B] and the images of each chunk, both spread over the devices.

  Args:
    mesh: devices that share a chunk; None for one device.
    images: the images. What is not in memory is read ahead; each process reads the images of its own devices.
    chunks: int [chunks, B], row numbers.
  """
  place = lambda part: joined(mesh, part, 0, chunks.shape[1])
  if _on_devices(images):
    for index in chunks:
      rows = place(mine(mesh, index))
      yield rows, images.take(rows)
  else:
    found = data_images.in_turn(images, (mine(mesh, index) for index in chunks))
    for index, pixels in zip(chunks, found):
      yield place(mine(mesh, index)), place(np.asarray(pixels))


def _on_devices(images: Images) -> bool:
  """Returns whether each device has a copy of all images."""
  return isinstance(getattr(images, 'array', None), Array)


def whole(tree: PyTree) -> PyTree:
  """Returns the arrays as NumPy arrays, in every process."""
  if (mesh := mesh_of(tree)) is not None and not NamedSharding(mesh, PartitionSpec()).is_fully_addressable:
    tree = jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
  return jax.device_get(tree)


def divisible(mesh: Mesh | None, count: int) -> int:
  """Returns `count`, or the next larger number that the devices share evenly."""
  return count if mesh is None else -(-count // mesh.size) * mesh.size
