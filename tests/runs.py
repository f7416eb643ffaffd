"""Whole runs for tests: a recipe of a second, data of known truth, child processes, and what two runs must share."""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import jax
import numpy as np

import noisyjax.models

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = str(Path(__file__).parent / 'plugins')
if PLUGINS not in noisyjax.models.__path__:  # the model "dense"; before configs lists the models
  noisyjax.models.__path__.append(PLUGINS)
if str(ROOT) not in sys.path:
  sys.path.insert(0, str(ROOT))

from configs import digits  # noqa: E402
from noisyjax.config.flat import flat  # noqa: E402
from noisyjax.config.override import override  # noqa: E402
from noisyjax.runs import run, work  # noqa: E402
from noisyjax.system import formats, interrupt, parquet, storage  # noqa: E402

CLASSES = ('ant', 'bee', 'cat')
TRAIN, VAL, TEST = 96, 32, 40  # rows of the npz, in this order
TIMES = ('seconds', 'images_per_second')


def recipe(path: str | Path = '', **overrides):
  """Digits (or the npz at `path`) and the model "dense": 3 epochs of 3 steps; overrides as `optim__lr=0.1`."""
  c = digits.get_config()
  c.model.name = 'dense'
  c.model.mean, c.model.std = (80.0,), (90.0,)  # static: with the same numbers, runs of other rows compile nothing
  c.epochs, c.batch_size, c.eval_batch_size, c.steps_per_epoch, c.optim.lr = 3, 32, 40, 0, 0.05
  c.augment.weak = ()
  c.data.train, c.data.val, c.data.test = '0:96', '96:128', '128:168'
  if path:
    c.data.source, c.data.path, c.data.trusted, c.noise.kind = 'npz', str(path), 0.0, 'none'
  override(c, {field.replace('__', '.'): value for field, value in overrides.items()}, 'test')
  return c


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
  """Three classes that can be told apart (a bright third of the image), 30 % of the given labels wrong."""
  rng = np.random.default_rng(seed)
  count = TRAIN + VAL + TEST
  true = rng.permutation(np.arange(count) % 3).astype(np.int32)
  images = rng.integers(0, 120, (count, 8, 8, 1))
  for third in range(3):
    images[true == third, :, 3 * third : 3 * third + 2] += 100
  wrong = rng.random(count) < 0.3
  given = np.where(wrong, (true + rng.integers(1, 3, count)) % 3, true).astype(np.int32)
  verified = np.where(np.arange(count) % 4 == 0, true, -1).astype(np.int32)
  return {
    'images': images.astype(np.uint8),
    'labels': given,
    'verified': verified,
    'true': true,
    'classes': np.array(CLASSES),
  }


def npz(path: Path, **changed) -> Path:
  """Writes `arrays()` with some of them replaced."""
  np.savez(path, **arrays() | changed)
  return path


def fit(config, folder, monkeypatch=None) -> dict:
  """Runs in this process; with a monkeypatch, without the pictures of the report, which take most of such a run."""
  if monkeypatch is not None:
    monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
  return run.run(config, folder, ['test'])


def lines(folder, name: str = 'metrics.jsonl') -> list[dict]:
  """Returns a log without its times."""
  records = storage.read_lines(Path(folder) / name)
  return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def weights(folder) -> dict[str, np.ndarray]:
  """Returns all finished weights, by file and path inside."""
  import orbax.checkpoint as ocp

  found = {}
  for part in sorted((Path(folder) / 'weights').iterdir()):
    with ocp.StandardCheckpointer() as reader:
      found |= {f'{part.name}{path}': array for path, array in reader.restore(part.resolve() / 'state').items()}
  return found


def outputs(folder) -> dict:
  """Returns all that a run writes outside the audit, times, memory and config aside."""
  result = formats.read_json(formats.RUN, Path(folder) / 'result.json')
  for field in ('audit', 'files', 'seconds', 'peak_memory_mb'):
    del result[field]
  columns, notes = parquet.read(Path(folder) / 'samples.parquet')
  return (
    {'metrics': lines(folder), 'result': result, 'notes': notes}
    | {f'samples {k}': v for k, v in columns.items()}
    | {f'weights {k}': v for k, v in weights(folder).items()}
  )


def assert_same(one: dict, other: dict) -> None:
  """Compares two `outputs` bit by bit."""
  assert one.keys() == other.keys()
  for name, value in one.items():
    if isinstance(value, np.ndarray):
      assert value.dtype == other[name].dtype, name
      np.testing.assert_array_equal(value, other[name], name)
    else:
      assert value == other[name], name


def _child(code: str, *arguments: str, cwd: Path) -> subprocess.Popen:
  head = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import noisyjax.models as m; m.__path__.append({PLUGINS!r})\n'
  cache = {
    'JAX_COMPILATION_CACHE_DIR': jax.config.jax_compilation_cache_dir or '',
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PLATFORMS': 'cpu',
  }
  return subprocess.Popen(
    [sys.executable, '-c', head + code, *map(str, arguments)],
    cwd=cwd,
    env=os.environ | cache,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def start(*arguments: str, cwd: Path = ROOT) -> subprocess.Popen:
  """Starts `launch.py` with these arguments (and the test models) in a separate process."""
  return _child('from noisyjax.cli.main import run; run()', *arguments, cwd=cwd)


# Each command line in a fork of one process: what they import, they import once. (JAX's threads start later.)
_FORKS = """
import io, json, os, traceback
from noisyjax.cli import main
from noisyjax.experiments import sweep
from noisyjax.reports import report
from noisyjax.runs import run
from configs import base
out = []
for arguments in json.load(sys.stdin):
  ends = [os.pipe(), os.pipe()]
  pid = os.fork()
  if not pid:
    for target, (_, end) in zip((1, 2), ends):
      os.dup2(end, target)
    sys.argv = ['launch.py', *arguments]
    code = 1
    try:
      main.run()
    except SystemExit as exit:
      code = exit.code or 0
    except BaseException:
      traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
  for _, end in ends:
    os.close(end)
  texts = [os.fdopen(end).read() for end, _ in ends]
  out.append([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *texts])
json.dump(out, sys.stdout)
"""


def launch_all(commands: list[list[str]], cwd: Path = ROOT) -> list[tuple[int, str, str]]:
  """Runs command lines, none of which may get as far as training; returns exit code, stdout and stderr of each."""
  process = _child(_FORKS, cwd=cwd)
  out, err = process.communicate(json.dumps([list(map(str, c)) for c in commands]), timeout=300)
  assert process.returncode == 0, err
  return json.loads(out)


def launch(*arguments: str, cwd: Path = ROOT) -> tuple[int, str, str]:
  """Runs `launch.py` to its end; returns exit code, stdout and stderr."""
  process = start(*arguments, cwd=cwd)
  out, err = process.communicate(timeout=300)
  return process.returncode, out, err


def recipe_file(path: Path, config) -> Path:
  """Writes a recipe whose get_config() gives this config, for a child process."""
  values = {k: v for k, v in flat(config).items() if not isinstance(v, type(None))}
  path.write_text(
    'from configs import base\nfrom noisyjax.config.override import override\n\n\ndef get_config():\n'
    '  c = base.get_config()\n'
    f'  override(c, {values!r}, "recipe")\n  return c\n'
  )
  return path


def read_json(path) -> dict:
  return json.loads(Path(path).read_text())


class InThisProcess:
  """A pool that executes commands at once; after `most` of them, it is as if the whole program was asked to end."""

  width = 3

  def __init__(self, most=99):
    self.most, self.done = most, []

  def open(self, folder):
    pass

  close = check = lambda self: None

  def submit(self, command, log):
    if len(self.done) == self.most:
      raise interrupt.Stopped('stopped', 15)
    folders = [Path(folder) for folder in re.split(r',(?=/)', command[-1].removeprefix('--workdir='))]
    self.done += [folder.name for folder in folders]
    work.work(folders)
    future: Future[int] = Future()
    future.set_result(0)
    return future
