"""One run in a workdir: a finished run is kept, an interrupted one continues, one with another config is refused."""

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
from noisyjax.engine import together
from noisyjax.engine.together import Steps
from noisyjax.models.protocol import is_trained
from noisyjax.reports import report
from noisyjax.runs import classic, identity, networks, presence
from noisyjax.runs.result import knowledge
from noisyjax.system import formats, lock, memory, processes, storage, version
from noisyjax.system.log import log

Load = Callable[[ConfigDict], tuple[Prepared, Audit]]


def run(
  config: ConfigDict | Plan,
  workdir: str | os.PathLike,
  command: list[str] | None = None,
  *,
  rerun: bool = False,
  load: Load | None = None,
  page: bool = True,
) -> dict:
  """Executes one run and returns its result. If the run is finished, returns the stored result.

  Args:
    config: a config that begins with that of `configs/base.py`, or its plan from `check.plan_of`.
    workdir: folder of the run; created if missing.
    command: command line to record; None = that of this process.
    rerun: whether a run with another config, on other data or (if finished) by other code is removed and repeated.
    load: loads the data; None = `prepare`.
    page: whether the report with its pictures is written.

  Returns:
    The content of result.json.

  Raises:
    Stale: the workdir holds a run with another config or on other data, and `rerun` is False.
    UserError: the config or the data are invalid, or another process uses the workdir.
    Diverged: a loss or a parameter is NaN or infinite.
    Stopped: Ctrl-C or SIGTERM, after the state was saved.
  """
  return together.alone(steps(config, workdir, command, rerun=rerun, load=load, page=page))


def steps(
  config: ConfigDict | Plan,
  workdir: str | os.PathLike,
  command: list[str] | None = None,
  *,
  rerun: bool = False,
  load: Load | None = None,
  page: bool = True,
  replicas: int = 1,
) -> Steps[dict]:
  """Executes one run as `run` does, but yields each call of the compiled step and receives its outcome.

  Args:
    config: see `run`.
    workdir: see `run`.
    command: see `run`.
    rerun: see `run`.
    load: see `run`.
    page: see `run`.
    replicas: maximum number of runs that train side by side, to record.

  Returns:
    The content of result.json.
  """
  plan = config if isinstance(config, Plan) else plan_of(config)
  config = plan.config
  folder = Path(workdir)
  with lock.held(folder):
    with contextlib.suppress(OSError):  # Linux: resets the peak memory, which otherwise includes earlier runs
      Path('/proc/self/clear_refs').write_text('5')
    loaded = functools.cache(functools.partial(load or prepare, config))
    environment = _environment(command) | {'replicas': replicas}
    try:
      result = finished(plan, folder, lambda config: loaded())
      processes.barrier('look at the run')  # before process 0 changes what the others look at
      changed = _other_code(folder, environment) if result else []
      if changed and rerun:
        raise identity.stale(folder, 'was run by other code')
    except identity.Stale:
      if not rerun:
        raise
      loaded()  # before `_clear`: data that cannot be read must not cost the old run
      processes.barrier('replace the run')
      _clear(folder)
      processes.barrier('remove the run')
      result = None
    if result:
      return _believed(folder, result, changed, page)
    with presence.shown(folder, plan.epochs):
      return (yield from _trained(plan, folder, *loaded(), environment, page))


def _trained(plan: Plan, folder: Path, prepared: Prepared, audit: Audit, environment: dict, page: bool) -> Steps[dict]:
  """Executes a run that is not finished, from the beginning or from its last checkpoint, and returns its result."""
  memory.release()
  if not prepared.train.images.resident:
    memory.return_large()
  for note in prepared.notes:
    log.info('data: %s', note)
  if told := knowledge(plan, prepared):
    log.info('The method is told: %s.', '; '.join(told))
  environment['data'] = identity.parts(prepared)
  if _traces(folder):  # a resumed run also records the environments of its earlier attempts
    before = formats.read_json(formats.RUN, folder / 'environment.json')
    environment['earlier'] = [*before.pop('earlier', []), before]
  formats.write_json(formats.RUN, folder / 'environment.json', environment)
  formats.write_json(formats.RUN, folder / 'config.json', identity.plain(plan))
  processes.barrier('begin the run')
  if is_trained(find_model(plan.config.model.name)):
    result = yield from networks.fit(plan, folder, prepared, audit, environment['replicas'])
  else:
    result = classic.fit(plan, folder, prepared, audit)
  result |= {'code': version.code(environment), 'files': _digests(folder)}
  formats.write_json(formats.RUN, folder / 'result.json', result)
  if page and storage.writes():
    memory.release()
    report.write_report(folder)
  processes.barrier('read the result')
  return formats.read_json(formats.RUN, folder / 'result.json')


def finished(plan: Plan, folder: Path, load: Load) -> dict | None:
  """Returns the result of a finished run, or None if the run is unfinished or missing.

  Args:
    plan: plan to compare with that of the run.
    folder: the workdir.
    load: loads the data to compare with those of the run; called only if there is a run.

  Raises:
    Stale: the run, finished or not, has another config or other data.
  """
  if not _traces(folder):
    return None
  identity.check_config(folder, identity.plain(plan))
  identity.check_data(folder, *load(plan.config))
  path = folder / 'result.json'
  return formats.read_json(formats.RUN, path) if path.exists() else None


def _believed(folder: Path, result: dict, changed: list[str], page: bool) -> dict:
  """Returns the result of a finished run after logging that it is kept.

  Args:
    folder: folder of the run.
    result: its result.
    changed: differences of the code.
    page: whether a missing report is written.
  """
  log.info('%s: already finished.', folder)
  if changed:
    log.warning('%s: was run by other code (%s); --rerun runs it again.', folder, '; '.join(changed))
  # The report is missing if the process was killed between result.json and the report.
  if page and storage.writes() and not (folder / 'report.html').exists():
    report.write_report(folder)
  return result


def _other_code(folder: Path, environment: dict) -> list[str]:
  """Returns the differences between the code that ran and the code here."""
  path = folder / 'environment.json'
  return version.code_difference(formats.read_json(formats.RUN, path), environment) if path.exists() else []


def _traces(folder: Path) -> list[Path]:
  """Returns the files that show that a run has started here; a run that was refused leaves none."""
  traces = ('result.json', 'metrics.jsonl', 'checkpoints/*')
  found = (path for trace in traces for path in folder.glob(trace))
  return [path for path in found if path.is_dir() or path.stat().st_size]


# The files of a run, in the order of their removal. Without result.json the run is unfinished; config.json, which the
# other files belong to, goes last.
FILES = (
  'result.json',
  'analysis',
  'checkpoints',
  'metrics.jsonl',
  'audit.jsonl',
  'weights',
  'weights.npz',
  'model.json',
  'report.html',
  'curves.png',
  'confusion.png',
  'calibration.png',
  'samples.parquet',
  'audit.parquet',
  'tensorboard',
  'environment.json',
  'config.json',
)


# Files whose digests are stored in result.json, because their formats have no place for a seal.
SEALED = ('metrics.jsonl', 'audit.jsonl', 'samples.parquet', 'audit.parquet')


def _digests(folder: Path) -> dict[str, str]:
  """Returns name → sha256 of the SEALED files that exist."""
  return {name: storage.sha256(folder / name) for name in SEALED if (folder / name).exists()}


def _clear(folder: Path) -> None:
  """Removes a run. If the process is killed meanwhile, an unfinished run with the old config remains."""
  for name in FILES:
    storage.remove(folder / name)


def _environment(command: list[str] | None) -> dict:
  """Returns what the run depends on besides config and data: command, git revision, versions and device."""
  return {
    'command': sys.argv if command is None else command,
    **version.versions(),
    'python': platform.python_version(),
    'device': [d.device_kind for d in jax.devices()],
    'backend': jax.default_backend(),
    'processes': jax.process_count(),
    'cores': os.cpu_count(),
  }
