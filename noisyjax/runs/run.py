"""One run: a workdir, its lock, fit, evaluation and result; finished runs stay, interrupted ones go on."""

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict

from noisyjax.config.build import find_model
from noisyjax.config.check import plan_of
from noisyjax.config.plan import Plan
from noisyjax.data.prepare import Audit, Prepared, prepare
from noisyjax.models.protocol import is_trained
from noisyjax.reports import report
from noisyjax.runs import classic, identity, networks
from noisyjax.system import formats, lock, storage, version
from noisyjax.system.log import log

Load = Callable[[ConfigDict], tuple[Prepared, Audit]]


def run(
  config: ConfigDict | Plan,
  workdir: str | os.PathLike,
  command: list[str] | None = None,
  *,
  rerun: bool = False,
  load: Load | None = None,
) -> dict:
  """Trains one run in `workdir` and returns its result; returns the old result at once if it is finished.

  Args:
    config: as `configs/base.py` builds it, or its plan, checked.
    workdir: made if missing. command: what to record as the command line.
    rerun: removes what lies there of another config, of other data or (if finished) by other code, and begins anew.
    load: `prepare`, or what remembers what it returned.
  Raises:
    Stale: a run of another config or of other data in `workdir`, without `rerun`.
    UserError: bad config or data; a workdir in use by another process; a loss that is NaN.
    Stopped: after Ctrl-C or SIGTERM while it trains, with everything saved.
  """
  plan = config if isinstance(config, Plan) else plan_of(config)
  config = plan.config
  folder = Path(workdir)
  with lock.held(folder):
    with contextlib.suppress(OSError):  # the peak of this run, not of the runs before it in this process (Linux)
      Path('/proc/self/clear_refs').write_text('5')
    loaded = functools.cache(functools.partial(load or prepare, config))
    environment = _environment(command)
    try:
      result = finished(plan, folder, lambda config: loaded())
      changed = _other_code(folder, environment) if result else []
      if changed and rerun:
        raise identity.stale(folder, 'was run by other code')
    except identity.Stale:
      if not rerun:
        raise
      prepared, audit = loaded()  # data that cannot be read spoil no run
      _clear(folder)
      result = None
    if result:
      return _believed(folder, result, changed)
    prepared, audit = loaded()
    for note in prepared.notes:
      log.info('data: %s', note)
    environment['data'] = identity.parts(prepared)
    if _traces(folder):  # a resume: what the earlier attempts ran under is part of the record
      before = formats.read_json(formats.RUN, folder / 'environment.json')
      environment['earlier'] = [*before.pop('earlier', []), before]
    formats.write_json(formats.RUN, folder / 'environment.json', environment)
    formats.write_json(formats.RUN, folder / 'config.json', identity.plain(plan))
    kind = networks if is_trained(find_model(config.model.name)) else classic
    result = kind.fit(plan, folder, prepared, audit) | {'code': version.code(environment), 'files': _digests(folder)}
    formats.write_json(formats.RUN, folder / 'result.json', result)
    report.write_report(folder)
    return formats.read_json(formats.RUN, folder / 'result.json')


def finished(plan: Plan, folder: Path, load: Load) -> dict | None:
  """Returns the result of a finished run, None of an unfinished one; config and data are compared in both cases.

  Args:
    plan: of today. folder: the workdir. load: config → its data; only called where a run lies there.
  Raises:
    Stale: a run of another config, or of other data.
  """
  if not _traces(folder):
    return None
  identity.check_config(folder, identity.plain(plan))
  identity.check_data(folder, *load(plan.config))
  path = folder / 'result.json'
  return formats.read_json(formats.RUN, path) if path.exists() else None


def _believed(folder: Path, result: dict, changed: list[str]) -> dict:
  """Returns the result of a finished run, and says so."""
  log.info('%s: already finished.', folder)
  if changed:
    log.warning('%s: was run by other code (%s); --rerun runs it anew.', folder, '; '.join(changed))
  if not (folder / 'report.html').exists():  # killed between the two
    report.write_report(folder)
  return result


def _other_code(folder: Path, environment: dict) -> list[str]:
  path = folder / 'environment.json'
  return version.code_difference(formats.read_json(formats.RUN, path), environment) if path.exists() else []


def _traces(folder: Path) -> list[Path]:
  """Returns the files that show that a run was begun here; one that was refused at once left none."""
  traces = ('result.json', 'metrics.jsonl', 'checkpoints/*')
  found = (path for trace in traces for path in folder.glob(trace))
  return [path for path in found if path.is_dir() or path.stat().st_size]


# What a run writes: first what makes it finished, last what says of which config the rest is.
FILES = (
  'result.json',
  'checkpoints',
  'metrics.jsonl',
  'audit.jsonl',
  'weights',
  'weights.npz',
  'model.json',
  'report.html',
  'samples.parquet',
  'audit.parquet',
  'tensorboard',
  'environment.json',
  'config.json',
)


# What result.json seals, since it has no room for a seal of its own.
SEALED = ('metrics.jsonl', 'audit.jsonl', 'samples.parquet', 'audit.parquet')


def _digests(folder: Path) -> dict[str, str]:
  return {name: storage.sha256(folder / name) for name in SEALED if (folder / name).exists()}


def _clear(folder: Path) -> None:
  """Removes a run; a kill in between leaves an unfinished one, of the config it was of."""
  for name in FILES:
    storage.remove(folder / name)


def _environment(command: list[str] | None) -> dict:
  """Returns what else decided the run: command, git revision, versions, device."""
  return {
    'command': sys.argv if command is None else command,
    **version.versions(),
    'python': platform.python_version(),
    'device': [d.device_kind for d in jax.devices()],
    'backend': jax.default_backend(),
    'cores': os.cpu_count(),
  }
