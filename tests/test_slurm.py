"""A sweep on a real Slurm of one node, disturbed: a job is cancelled, a worker is killed, and the results are the same.

Run by `make test-slurm`, which installs Slurm. The GPUs are simulated: the test sees that no two runs share one.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import slurm_cluster
from test_processes import differences

import runs
from noisyjax.experiments import grid, sweep
from noisyjax.runs import cancel, launch, presence, standing, status
from noisyjax.runs.engines import engine, fan_out

pytestmark = [
  pytest.mark.slurm,
  pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing()),
]
HEAD = (
  f'import sys; sys.path.insert(0, {str(runs.ROOT)!r}); import noisyjax.models as m; '
  f'm.__path__.append({runs.PLUGINS!r}); import noisyjax.reports.report as r; r.write_report = lambda f: None; '
  'from noisyjax.cli.main import run; run()'
)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
  with contextlib.ExitStack() as stack:
    try:
      conf = stack.enter_context(slurm_cluster.started(tmp_path / 'cluster'))
    except RuntimeError as error:  # a container may forbid what its daemons need
      pytest.skip(f'Slurm does not start here: {error}')
    monkeypatch.setenv('SLURM_CONF', str(conf))
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
    monkeypatch.setattr(fan_out, 'program', lambda: [sys.executable, '-c', HEAD])
    yield


class Disturber:
  """Watches the runs of a folder, cancels the job of one that runs, and kills the worker of one in another job.

  Args:
    folder: folder of the runs.
  """

  def __init__(self, folder: Path) -> None:
    self.folder, self.cancelled, self.killed, self.shared = folder, '', 0, []
    self.devices: set[str] = set()
    self._thread = threading.Thread(target=self._watch, daemon=True)
    self._done = threading.Event()

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *unused):
    self._done.set()
    self._thread.join()

  def _watch(self) -> None:
    while not self._done.wait(0.1):
      at_work = [there for path in self.folder.glob('*/running.json') if (there := presence.of(path.parent))]
      self._pinned(at_work)
      with contextlib.suppress(IndexError, ProcessLookupError, FileNotFoundError):
        if not self.cancelled:
          job = at_work[0].jobs['slurm']
          subprocess.run(['scancel', job], check=True)
          self.cancelled = job
        elif not self.killed:
          pid = next((there.pid for there in at_work if there.jobs['slurm'] != self.cancelled), 0)
          worker = int(Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])
          if 'spawn_main' in Path(f'/proc/{worker}/cmdline').read_text():  # one of Parsl's workers
            os.kill(worker, signal.SIGKILL)
            self.killed = worker

  def _pinned(self, at_work) -> None:
    """Records which device each process sees, and processes that share one."""
    found = []
    for pid in {there.pid for there in at_work}:
      with contextlib.suppress(OSError):
        text = Path(f'/proc/{pid}/environ').read_bytes().decode()
        found += re.findall(r'CUDA_VISIBLE_DEVICES=([^\0]*)', text)
    self.devices |= {*found}
    if len(set(found)) < len(found):
      self.shared.append(found)


def test_a_sweep_survives_a_cancelled_job_and_a_killed_worker(tmp_path, cluster):
  start = time.monotonic()
  points = list(grid.grid(['optim.lr=0.02,0.05,0.1', 'batch_size=32,24', 'seed=0,1']))
  made = lambda name: sweep.jobs(runs.recipe(epochs=30), points, str(tmp_path / name))
  own = made('slurm')
  with Disturber(tmp_path / 'slurm') as disturber:
    results = launch.launch(own, engine=engine.load('slurm:nodes=2,gpus=2,poll=2,group=3'))
  print(f'{time.monotonic() - start:.0f} s on the cluster, {disturber.devices}')
  assert disturber.cancelled and disturber.killed
  assert not disturber.shared and disturber.devices <= set('0123') and len(disturber.devices) > 1
  here = launch.launch(made('here'))
  assert len(results) == len(here) == 12
  for one, other in zip(own, made('here')):
    runs.assert_same(runs.outputs(one.workdir), runs.outputs(other.workdir))
    assert not standing.waits(one.workdir)
  left = subprocess.run(['squeue', '-h'], capture_output=True, text=True, check=True).stdout
  assert all(' CG ' in line for line in left.splitlines()), left
  assert [row.state for row in status.rows(tmp_path / 'slurm')] == ['finished'] * 12
  assert not (tmp_path / 'slurm' / 'engine' / 'jobs.json').exists()


def test_a_requeued_job_changes_no_result(tmp_path, cluster):
  made = lambda name: sweep.jobs(runs.recipe(epochs=60), [{'seed': 0}, {'seed': 1}], str(tmp_path / name))
  own, requeued = made('slurm'), []

  def requeue() -> None:
    while not requeued:
      time.sleep(0.1)
      for job in own:
        there = presence.of(job.workdir)
        if there and (job.workdir / 'metrics.jsonl').exists():
          requeued.append(there.jobs['slurm'])
          subprocess.run(['scontrol', 'requeue', requeued[0]], check=True)
          break
    while subprocess.run(['scontrol', 'update', f'JobId={requeued[0]}', 'StartTime=now'], check=False).returncode:
      time.sleep(1)  # it is still ending; Slurm would let it wait for two minutes

  thread = threading.Thread(target=requeue, daemon=True)
  thread.start()
  results = launch.launch(own, engine=engine.load('slurm:nodes=1,gpus=1,poll=2'))
  thread.join()
  assert requeued and all(isinstance(found, dict) for found in results)
  launch.launch(made('here'))
  for one, other in zip(own, made('here')):
    runs.assert_same(runs.outputs(one.workdir), runs.outputs(other.workdir))


def test_srun_starts_one_run_in_two_processes(tmp_path, cluster):
  data = runs.npz(tmp_path / 'data.npz')
  recipe = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(data))
  train = [sys.executable, '-c', HEAD, 'train', f'--config={recipe}', f'--workdir={tmp_path / "two"}']
  done = subprocess.run(
    ['srun', '--ntasks=2', '--kill-on-bad-exit=1', *train], cwd=runs.ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert '2 processes, 2 devices.' in done.stderr
  runs.fit(runs.recipe(data), tmp_path / 'one')
  gaps = differences(tmp_path / 'one', tmp_path / 'two')
  assert {name: gap for name, gap in gaps.items() if gap > 1e-5} == {}


DRIVER = """
import sys
from noisyjax.runs.engines import fan_out
fan_out.program = lambda: [sys.executable, '-c', {head!r}]
from noisyjax.cli.main import run
run()
"""


def test_after_the_driver_was_killed_its_runs_end_and_cancel_ends_its_jobs(tmp_path, cluster):
  folder = tmp_path / 'slurm'
  recipe = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(epochs=100_000))
  arguments = [f'--config={recipe}', '--grid=seed=0', f'--workdir={folder}', '--engine=slurm:gpus=1,poll=2']
  code = HEAD.rpartition('from noisyjax.cli')[0] + DRIVER.format(head=HEAD)
  driver = subprocess.Popen([sys.executable, '-c', code, 'sweep', *arguments], cwd=runs.ROOT)
  try:
    while not (at_work := presence.of(folder / 'seed=0')):
      assert driver.poll() is None
      time.sleep(0.2)
    children = subprocess.run(['pgrep', '-P', str(driver.pid)], capture_output=True, text=True, check=True).stdout
    interchange = [int(pid) for pid in children.split() if 'parsl' in Path(f'/proc/{pid}/cmdline').read_text()]
    assert interchange
  finally:
    driver.kill()
    driver.wait()
  said = cancel.cancel(folder)
  assert f'slurm job {at_work.jobs["slurm"]}' in said
  while presence.of(folder / 'seed=0') or any(Path(f'/proc/{pid}').exists() for pid in interchange):
    time.sleep(0.2)
  left = subprocess.run(['squeue', '-h'], capture_output=True, text=True, check=True).stdout
  assert all(' CG ' in line for line in left.splitlines()), left
  (row,) = status.rows(folder)
  assert row.state == 'waiting' and (folder / 'seed=0' / 'checkpoints').is_dir()
