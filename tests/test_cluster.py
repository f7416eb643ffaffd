"""Engines of clusters without a cluster: what is asked for, how silent blocks and lost workers are told apart.

Needs Parsl, and for pods the package kubernetes: `make test-slurm` installs them. The pods were never run.
"""

import re
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

import runs
from noisyjax.experiments import sweep
from noisyjax.runs.engines import engine
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.system.errors import UserError

parsl = pytest.importorskip('parsl')
from parsl.executors.errors import BadStateException  # noqa: E402
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost  # noqa: E402
from parsl.jobs.states import JobState, JobStatus  # noqa: E402

from noisyjax.runs.engines import cluster, scripts  # noqa: E402
from noisyjax.runs.engines.pool import Lost  # noqa: E402

GOLDENS = Path(__file__).parent / 'goldens'
START = 'process_worker_pool.py'


def plain(text: str) -> str:
  """Returns a script with the folders of this machine replaced."""
  return text.replace(str(cluster.PROGRAMS), 'VENV/bin').replace(str(runs.ROOT), 'CHECKOUT')


VALUES = 'partition=gpu,nodes=3,gpus=4,hours=2.5,cores=16,memory=64,init=module load cuda'


def slurm(more=''):
  return engine.load(f'slurm:{VALUES}{more}')


def test_the_script_of_a_job_is_as_it_was():
  made = slurm(',options=#SBATCH --constraint=a100')
  assert plain(scripts.batch(made.pool._provider, START)) == (GOLDENS / 'job.sh').read_text()
  assert made.pool.width == 12 and not made.pool._provider.resources


@pytest.mark.parametrize('name', ['1' * 32, 'f' * 32])
def test_the_spec_of_a_pod_is_as_it_was_and_valid(name, monkeypatch):
  """Also if the random name of the job looks like a number, which YAML puts in quotes."""
  kube = pytest.importorskip('parsl.providers.kubernetes.kube')
  monkeypatch.setattr(kube.uuid, 'uuid4', lambda: SimpleNamespace(hex=name))
  pytest.importorskip('kubernetes')
  validate = pytest.importorskip('kubernetes_validate')
  import yaml

  made = engine.load('kubernetes:image=REGISTRY/noisyjax:1,pods=4,gpus=2,claim=work')
  spec = scripts.pod(made.pool._provider, START)
  assert spec == (GOLDENS / 'pod.yaml').read_text() and made.pool.width == 8
  validate.validate(yaml.safe_load(spec), '1.32', strict=True)
  with pytest.raises(validate.ValidationError):
    validate.validate(
      yaml.safe_load(spec.replace('restart', 'restert').replace('image:', 'imege:')), '1.32', strict=True
    )
  with pytest.raises(UserError, match='expected image=REGISTRY/NAME:TAG and claim='):
    engine.load('kubernetes:pods=2')


def test_a_dry_run_shows_commands_and_script_and_submits_nothing(tmp_path):
  made, recipe = engine.load('slurm:nodes=1,gpus=2'), runs.recipe()
  text = made.text(sweep.jobs(recipe, [{'seed': i} for i in range(4)], str(tmp_path)))
  assert text.startswith('2 commands, 2 at once, on at most 1 blocks of 2 workers:\n')
  assert len(re.findall(r'^  .* work --workdir=', text, re.MULTILINE)) == 2
  assert '#SBATCH --gres=gpu:2' in text and '--max_workers_per_node=2' in text and not list(tmp_path.iterdir())


def test_a_lost_worker_is_no_failure_and_blocks_that_fail_are_one(tmp_path, monkeypatch):
  pool, asked = slurm().pool, []
  pool._run = lambda *arguments: asked.append(Future()) or asked[-1]
  outcomes = [
    3,
    WorkerLost(0, 'node'),
    ManagerLost(b'm', 'node'),
    BadStateException(SimpleNamespace(label='noisyjax'), ValueError('no gres\nhere')),
  ]
  futures = [pool.submit(['x'], tmp_path / 'x.log') for _ in outcomes]
  for future, outcome in zip(asked, outcomes):
    future.set_exception(outcome) if isinstance(outcome, Exception) else future.set_result(outcome)
  assert futures[0].result(timeout=5) == 3
  for lost in futures[1:3]:
    with pytest.raises(Lost):
      lost.result(timeout=5)
  with pytest.raises(UserError, match=r'the blocks fail: .*no gres here'):
    futures[3].result(timeout=5)


def test_what_a_silent_block_printed_is_shown_once(tmp_path, monkeypatch, caplog):
  pool, now = slurm().pool, [0.0]
  (tmp_path / 'err').write_text('module: command not found\n')
  monkeypatch.setattr(cluster.time, 'monotonic', lambda: now[0])
  pool._folder = tmp_path
  pool._provider.resources = {
    '7': {'job_stderr_path': str(tmp_path / 'err'), 'job_stdout_path': str(tmp_path / 'none')}
  }
  connected = []
  pool._executor = SimpleNamespace(
    status_facade={'0': JobStatus(JobState.RUNNING), '1': JobStatus(JobState.PENDING)},
    blocks_to_job_id={'0': '7', '1': '8'},
    connected_blocks=lambda: connected,
  )
  caplog.set_level('WARNING', 'noisyjax')
  for seconds in (0, 30, 59):
    now[0] = seconds
    pool.check()
  assert not caplog.records and (tmp_path / 'jobs.json').exists()
  for seconds in (61, 90):
    now[0] = seconds
    pool.check()
  assert [record.getMessage() for record in caplog.records] == [
    'job 7 has run for 60 s, and none of its workers has connected. It printed:\nmodule: command not found'
  ]
  pool._executor.status_facade['1'] = JobStatus(JobState.RUNNING)
  connected.append('1')
  now[0] = 300
  pool.check()
  assert len(caplog.records) == 1


def test_any_config_of_parsl_is_an_engine(tmp_path):
  (tmp_path / 'mine.py').write_text(
    'import parsl\nfrom parsl.providers import LocalProvider\n'
    'from noisyjax.runs.engines.cluster import Cluster, executor\n'
    'from noisyjax.runs.engines.fan_out import FanOut\n\n\n'
    'def get_engine():\n'
    "  return FanOut(Cluster(lambda: parsl.Config([executor(LocalProvider(max_blocks=2), 3)]), 'local'))\n"
  )
  made = engine.load(str(tmp_path / 'mine.py'))
  assert isinstance(made, FanOut) and made.pool.width == 6
  assert 'A block' not in made.text(sweep.jobs(runs.recipe(), [{'seed': 0}], str(tmp_path)))


@pytest.mark.slurm
def test_a_pool_opens_again_as_in_each_round_of_a_loop(tmp_path):
  from parsl.providers import LocalProvider

  provider = LocalProvider(init_blocks=0, max_blocks=1, worker_init=cluster.worker_init())
  pool = cluster.Cluster(lambda: cluster.config(provider, 1, 0.5), 'local')
  for code in (0, 3):
    pool.open(tmp_path)
    try:
      assert pool.submit(['sh', '-c', f'exit {code}'], tmp_path / 'log').result() == code
    finally:
      pool.close()
