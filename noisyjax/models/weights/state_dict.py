"""Fills the variables of Linen networks from a state dict with PyTorch's names and layout."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from noisyjax.system.errors import UserError, listed

PyTree = Any

_LEAVES = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
_HEAD = 'head'  # the last layer of every model


def fill(variables: PyTree, tensors: dict[str, np.ndarray], name_of: Callable[[str], str], where: str) -> PyTree:
  """Returns the variables with the values of the tensors, which are the same for each network.

  The head keeps its values unless the tensors contain a head of its shape, because pretrained weights usually have
  other classes.

  Args:
    variables: {"params": …, "batch_stats": …}; each leaf has a leading axis M.
    tensors: name → array.
    name_of: maps a layer's path, such as "stage1_block1/conv1", to its name in the state dict.
    where: name of the state dict in messages.

  Raises:
    UserError: tensors are missing, unexpected or of another shape.
  """
  flat: dict[tuple[str, ...], Any] = dict(flatten_dict(variables))
  names = {path: f'{name_of("/".join(path[1:-1]))}.{_LEAVES[path[-1]]}' for path in flat}
  wanted = {path: tuple(leaf.shape[1:]) for path, leaf in flat.items()}
  found = {path: _ours(tensors[name], path[-1]) for path, name in names.items() if name in tensors}
  head = {path for path in flat if path[1] == _HEAD}
  if any(path not in found or found[path].shape != wanted[path] for path in head):
    found = {path: array for path, array in found.items() if path not in head}
  body = flat.keys() - head
  missing = [names[path] for path in flat if path in body - found.keys()]
  unexpected = [name for name in tensors if name not in names.values()]
  misshapen = [
    f'{names[path]} {found[path].shape} instead of {wanted[path]}'
    for path in flat
    if path in body & found.keys() and found[path].shape != wanted[path]
  ]
  groups = {'missing': missing, 'unexpected': unexpected, "of another shape (in Flax's layout)": misshapen}
  if any(groups.values()):
    said = '; '.join(f'{what}: {listed(which)}' for what, which in groups.items() if which)
    raise UserError(f'{where}: the weights do not fit the network. Tensors {said}. Expected weights of this model.')
  filled = {path: jnp.broadcast_to(found[path], leaf.shape) if path in found else leaf for path, leaf in flat.items()}
  return unflatten_dict(filled)


def _ours(array: np.ndarray, leaf: str) -> np.ndarray:
  """Returns a tensor in Flax's layout: kernels are [h, w, in, out] or [in, out]."""
  if leaf != 'kernel':
    return array
  return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
