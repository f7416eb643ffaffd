"""Folds of out-of-fold predictions: one trains in memory on the rows of the others and predicts its own.

An engine executes them as it executes runs. Their folder F holds

F/rows.json, …         the rows of all folds, see `data.training_files`
F/fold=i/fold.json     the rows of a fold, and a digest of all that its predictions depend on
F/fold=i/probs.npy     its predictions
F/fold=i/result.json   the digest of what they were made from: the fold is finished
"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.config.plan import Plan
from noisyjax.data import training_files
from noisyjax.data.images import as_images
from noisyjax.data.training import Status, TrainData
from noisyjax.engine import train
from noisyjax.runs import identity, in_memory, launch, presence, run
from noisyjax.runs.job import Job
from noisyjax.system import formats, interrupt, lock, storage, version
from noisyjax.system.errors import Diverged, UserError

ABOUT, PROBS = 'fold.json', 'probs.npy'


class Place(NamedTuple):
  """Where folds are executed.

  Attributes:
    engine: executes them.
    folder: for their files; they are adopted by a later call with the same rows, config and code.
  """

  engine: launch.Engine
  folder: Path


class Fold(Job):
  """A fold to execute, whose workdir holds ABOUT."""

  def execute(self, load: run.Load) -> dict:
    with lock.held(self.workdir), presence.shown(self.workdir):
      if found := self.finished(load):
        return found
      about = formats.read_json(formats.FIND, self.workdir / ABOUT)
      data = training_files.read(self.workdir.parent)
      held = np.array(about['rows'])
      probs = held_out(self.plan, data, held, about['chunk'], _Watch(self.workdir))
      content = storage.npy(probs)
      storage.write_bytes(self.workdir / PROBS, content)
      result = {'inputs': about['inputs'], 'sha256': hashlib.sha256(content).hexdigest()}
      formats.write_json(formats.RUN, self.workdir / 'result.json', result)
      return result

  def finished(self, load: run.Load) -> dict | None:
    path = self.workdir / 'result.json'
    if not path.exists():
      return None
    found, about = formats.read_json(formats.RUN, path), formats.read_json(formats.FIND, self.workdir / ABOUT)
    return found if found['inputs'] == about['inputs'] else None

  def probs(self, result: dict[str, str]) -> np.ndarray:
    """Returns the predictions of the finished fold, float32 [n, C].

    Raises:
      UserError: the file changed after it was written.
    """
    content = storage.read_bytes(self.workdir / PROBS)
    if hashlib.sha256(content).hexdigest() != result['sha256']:
      raise UserError(f'{self.workdir / PROBS}: was changed or damaged; remove {self.workdir}, and predict again.')
    return np.load(io.BytesIO(content), allow_pickle=False)


class _Watch(in_memory.Silent):
  """The hooks of a fold in a process of its own: they check whether it was asked to end."""

  def __init__(self, folder: Path) -> None:
    self._folder = folder

  def step(self, phase: Any, position: Any, state: Any, count: int, tick: int) -> None:
    interrupt.check(f'{self._folder}', 'and starts again from its beginning.')


def held_out(plan: Plan, data: TrainData, held: np.ndarray, chunk: int, hooks: train.Hooks) -> np.ndarray:
  """Trains without some rows and returns their probabilities, float32 [n, C].

  Args:
    plan: the config.
    data: all rows.
    held: int [n], rows to predict, which neither labels nor images of the training come from.
    chunk: images per forward pass.
    hooks: see `in_memory.fit`.

  Raises:
    Diverged: a loss, parameter or prediction is NaN or infinite.
  """
  status = data.status.copy()
  status[held] = Status.HELD
  trained = in_memory.fit(plan, dataclasses.replace(data, status=status), hooks)
  return trained.probs(as_images(data.images).select(held), chunk)


def predicted(place: Place, plan: Plan, data: TrainData, parts: Sequence[np.ndarray], chunk: int) -> list[np.ndarray]:
  """Executes folds with an engine and returns the probabilities of their rows, float32 [n, C] for each.

  Args:
    place: the engine, and a folder.
    plan: the config of all folds.
    data: all rows.
    parts: rows of each fold, int [n].
    chunk: images per forward pass.

  Raises:
    UserError: a fold failed; the others have finished and are adopted by the next call.
    Stopped: a signal; finished folds are adopted by the next call.
  """
  storage.make_folder(place.folder)
  common = {'data': training_files.write(place.folder, data), 'config': identity.plain(plan), 'code': version.source()}
  jobs = [Fold(plan, place.folder / f'fold={i}') for i in range(len(parts))]
  for job, held in zip(jobs, parts):
    about = {'rows': held.tolist(), 'chunk': chunk}
    storage.make_folder(job.workdir)
    formats.write_json(formats.FIND, job.workdir / ABOUT, {'inputs': formats.digest(about | common), **about})
  results = launch.launch(jobs, engine=place.engine)
  if failed := [found for found in results if isinstance(found, UserError)]:
    kind = Diverged if all(isinstance(found, Diverged) for found in failed) else UserError
    raise kind(f'{place.folder}: {len(failed)} of {len(jobs)} folds failed. The first: {failed[0]}')
  return [job.probs(found) for job, found in zip(jobs, results) if isinstance(found, dict)]
