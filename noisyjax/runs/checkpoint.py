"""Checkpoints of a run and its finished weights. Only this file uses orbax.

Where a run spans several JAX processes, all of them call the functions that save; orbax waits for all, and writes in
process 0 only.
"""

import contextlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from noisyjax.system import formats, seal, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

PyTree = Any


def _flatten(tree: PyTree) -> dict[str, np.ndarray]:
  """Returns path → array. This layout does not depend on dataclasses, so that `_fill` can name what is missing."""
  return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree_util.tree_leaves_with_path(tree)}


def _fill(template: PyTree, flat: dict[str, np.ndarray]) -> PyTree:
  """Returns the template's structure with the saved values; raises ValueError if their leaves differ."""

  def one(path: tuple[Any, ...], leaf: Any) -> jax.Array:
    name = jax.tree_util.keystr(path)
    if name not in flat or flat[name].shape != leaf.shape or flat[name].dtype != leaf.dtype:
      raise ValueError(f'{name} is missing or of another shape')
    return jax.numpy.array(flat[name], leaf.dtype, copy=True)

  spare = flat.keys() - _flatten(jax.tree.map(lambda leaf: 0, template)).keys()
  if spare:
    raise ValueError(f'{min(spare)} is saved, and not expected')
  return jax.tree_util.tree_map_with_path(one, template)


@contextlib.contextmanager
def _writing(folder: Path, what: str, flat: dict[str, np.ndarray]) -> Iterator[None]:
  """Turns an error of the file system into one UserError, and removes the partial checkpoint.

  For a full disk, tensorstore raises ValueError and orbax logs a traceback for each of its threads. Therefore the free
  space is compared with the size of the arrays first.

  Args:
    folder: parent folder of the checkpoint; exists.
    what: name of the checkpoint in messages.
    flat: the arrays to be saved.
  """
  needed = sum(a.nbytes for a in flat.values())
  if storage.writes() and (free := shutil.disk_usage(folder).free) < needed:
    raise UserError(f'{folder}: cannot write {what}: it takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free.')
  _hush()
  log_of_orbax = logging.getLogger('absl')
  level = log_of_orbax.level
  log_of_orbax.setLevel(logging.CRITICAL)
  try:
    yield
  except Exception as error:
    if storage.writes():
      for part in folder.glob('*.orbax-checkpoint-tmp'):
        shutil.rmtree(part, ignore_errors=True)
    refused = re.search(r"os_error_code='(\d+)'", str(error))
    if not refused and not isinstance(error, OSError):
      raise
    reason = os.strerror(int(refused[1])) if refused else getattr(error, 'strerror', None) or error
    raise UserError(f'{folder}: cannot write {what}: {reason}.') from error
  finally:
    log_of_orbax.setLevel(level)


def _hush() -> None:
  """Suppresses the messages of tensorstore's threads and tasks about failures that orbax has already reported."""
  logging.getLogger('asyncio').addFilter(_unreported)  # the same function again changes nothing
  shown = sys.unraisablehook
  if getattr(shown, 'hushed', False):
    return

  def hook(found: Any) -> None:
    if not isinstance(found.exc_value, RuntimeError) or str(found.exc_value) != 'Event loop is closed':
      shown(found)

  setattr(hook, 'hushed', True)  # noqa: B010
  sys.unraisablehook = hook


def _unreported(record: logging.LogRecord) -> bool:
  """Returns False for asyncio's record of a write that the system refused: `_writing` reports it."""
  error = record.exc_info[1] if record.exc_info else None
  return not ('exception was never retrieved' in record.getMessage() and 'os_error_code=' in str(error))


class Checkpoints:
  """The last few states of a run, by step, each with a record of plain numbers. A save is complete or absent.

  Args:
    folder: folder of the checkpoints; created if missing.
    keep: number of checkpoints to keep; older ones are deleted.
  """

  def __init__(self, folder: Path, keep: int) -> None:
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, create=True, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    self._manager = ocp.CheckpointManager(folder.resolve(), options=options)
    self.folder = folder

  def save(self, step: int, state: PyTree, record: dict) -> None:
    """Saves a state; does nothing if there is a checkpoint of this step.

    Args:
      step: number of the step.
      state: pytree of arrays.
      record: plain numbers and texts, stored as JSON beside the state.

    Raises:
      UserError: the disk is full or read-only; the message names the folder.
    """
    if step in self._manager.all_steps():
      return
    flat = _flatten(state)
    record = seal.sealed(formats.CHECKPOINT, flat, record)
    items = ocp.args.Composite(state=ocp.args.StandardSave(flat), record=ocp.args.JsonSave(record))
    with _writing(self.folder, f'checkpoint {step}', flat):
      self._manager.save(step, args=items)

  def record(self, step: int) -> dict:
    """Returns the record of the checkpoint of a step, with its seal."""
    return self._manager.restore(step, args=ocp.args.Composite(record=ocp.args.JsonRestore()))['record']

  def latest(self, template: Callable[[dict], PyTree]) -> tuple[PyTree, dict] | None:
    """Returns the newest readable state and its record; None if there is no checkpoint.

    Damaged checkpoints are logged, and deleted once an older one was read.

    Args:
      template: function from a record to a state with the structure that was saved.

    Raises:
      UserError: the checkpoints have another format, are of another kind of run, or none of them can be read; nothing
        is deleted then.
    """
    _hush()
    damaged = []
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        record = self.record(step)
        items = ocp.args.Composite(state=ocp.args.StandardRestore())
        flat = self._manager.restore(step, args=items)['state']
        record = seal.opened(formats.CHECKPOINT, flat, record, f'{self.folder}: checkpoint {step}')
      except UserError:  # of another version
        raise
      except Exception as error:  # orbax and tensorstore raise many kinds for a damaged file
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        log.warning('checkpoint %d cannot be read (%s); falling back to the one before.', step, reason)
        damaged.append(step)
        continue
      try:
        state = _fill(template(record), flat)
      except ValueError as error:
        raise UserError(
          f'{self.folder}: checkpoint {step} is of another kind of run ({error}). Expected one that this version of '
          'noisyjax wrote for this config; choose another workdir.'
        ) from error
      for wrong in damaged:
        self._manager.delete(wrong)
      return state, record
    if damaged:
      raise UserError(
        f'{self.folder}: none of the checkpoints {damaged} can be read; restore one, or remove the folder to train '
        'from the beginning.'
      )
    return None

  def close(self) -> None:
    """Releases the resources of orbax."""
    self._manager.close()


def save_weights(folder: Path, tree: PyTree, facts: dict) -> None:
  """Writes finished weights to a folder of their own, and replaces those that were there.

  Args:
    folder: folder of the weights.
    tree: pytree of arrays.
    facts: digests of the config, model and data that the weights belong to, JSON-ready; sealed with the arrays.

  Raises:
    UserError: the disk is full or read-only; the message names the folder.
  """
  flat = _flatten(tree)
  sealed = seal.sealed(formats.WEIGHTS, flat, facts)
  items = ocp.args.Composite(state=ocp.args.StandardSave(flat), seal=ocp.args.JsonSave(sealed))
  storage.make_folder(folder.parent)
  saver = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
  with _writing(folder.parent, f'weights {folder.name!r}', flat), saver:
    saver.save(folder.resolve(), args=items, force=True)


def weights_digest(folder: Path) -> str | None:
  """Returns the sha256 in the seal of finished weights; None if there are none, or they have no seal."""
  path = folder / 'seal' / 'metadata'
  return storage.read_json(path).get('sha256') if path.exists() else None


def load_weights(folder: Path, template: PyTree) -> tuple[PyTree, dict]:
  """Reads finished weights.

  Args:
    folder: folder of the weights.
    template: pytree with the structure, shapes and types that were saved.

  Returns:
    The tree, and the facts that were sealed with it; {} for weights of format 0, which have no seal.

  Raises:
    UserError: the weights are missing, damaged, changed or of another format; the message names the folder.
  """
  _hush()
  try:
    if not (folder / 'seal').exists():  # format 0
      with ocp.StandardCheckpointer() as saver:
        return _fill(template, saver.restore(folder.resolve())), {}
    items = ocp.args.Composite(state=ocp.args.StandardRestore(), seal=ocp.args.JsonRestore())
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as saver:
      found = saver.restore(folder.resolve(), args=items)
    facts = seal.opened(formats.WEIGHTS, found['state'], found['seal'], folder)
    return _fill(template, found['state']), facts
  except UserError:
    raise
  except Exception as error:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    raise UserError(f'{folder}: no readable weights: {reason}') from error
