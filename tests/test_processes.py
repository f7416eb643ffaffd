"""A run in two processes of two devices each, as child processes: equal to the run in one, stopped and killed."""

import os
import signal
import time

import numpy as np
import pytest
import several

import runs
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.runs import run
from noisyjax.system import parquet, plugins, processes, storage
from noisyjax.system.errors import UserError

SETTINGS = {'ema': 0.9, 'stop__patience': 2, 'data__trusted': 0.0, 'eval_batch_size': 38}
# AUM would keep one row of so small a data set: its gradient is 0 but for rounding, which Adam divides by its own size.
OWN = {'aum': {'strategy__aum__percentile': 1.0}}


@pytest.fixture(autouse=True)
def none_is_left(monkeypatch):
  """Kills what a failed test has left."""
  children, execute = [], several.execute

  def kept(*arguments):
    children.extend(made := execute(*arguments))
    return made

  monkeypatch.setattr(several, 'execute', kept)
  yield
  for child in children:
    child.kill()
    child.wait()


def finished(children, seconds=600):
  """Returns the exit code and the output of each process."""
  outputs = [child.communicate(timeout=seconds)[0] for child in children]
  return [(child.returncode, output) for child, output in zip(children, outputs)]


def differences(one, many):
  """Returns name → the largest difference between two runs, of what they trained and of their logs."""
  tables = [parquet.read(folder / 'samples.parquet')[0] for folder in (one, many)]
  found = {}
  for name in tables[0]:
    a, b = (table[name] for table in tables)
    if a.dtype.kind not in 'iufb':
      assert (a == b).all(), name
    else:
      a, b = (np.nan_to_num(values.astype(float), nan=-1) for values in (a, b))
      power = 2 if name == 'std_confidence' else 1  # a root of a difference of sums, which magnifies their rounding
      gap = np.abs(a**power - b**power)
      found[name] = float(gap.max())
  logs = [storage.read_lines(folder / 'metrics.jsonl') for folder in (one, many)]
  assert len(logs[0]) == len(logs[1])
  for a, b in zip(*logs):
    found |= {name: abs(a[name] - b[name]) for name in a if isinstance(a[name], float) and name not in runs.TIMES}
  return found


def compared(tmp_path, names):
  """Runs strategies in two processes and in this one; returns strategy → differences above 1e-5."""
  data = runs.npz(tmp_path / 'data.npz')
  settings = {name: SETTINGS | {'strategy__name': name, 'epochs': 2} | OWN.get(name, {}) for name in names}
  children = several.start([(tmp_path / name, settings[name]) for name in names])
  for name in names:
    run.run(runs.recipe(data, **settings[name]), tmp_path / f'{name}_alone', page=False)
  for code, output in finished(children):
    assert code == 0, output[-3000:]
  found = {name: differences(tmp_path / f'{name}_alone', tmp_path / name) for name in names}
  return {name: {k: v for k, v in gaps.items() if v > 1e-5} for name, gaps in found.items()}


def test_two_processes_train_as_one_does(tmp_path):
  """A loss, a selection and variables of each row; with an average of the networks and early stopping."""
  names = ['naive', 'co_teaching', 'sop']
  assert compared(tmp_path, names) == {name: {} for name in names}


@pytest.mark.slow
@pytest.mark.parametrize('part', range(4))
def test_every_strategy_trains_in_two_processes_as_in_one(tmp_path, part):
  names = plugins.names(STRATEGIES, 'Strategy')[part::4]
  assert compared(tmp_path, names) == {name: {} for name in names}


def after_an_epoch(folder, children):
  """Waits until a run has logged an epoch."""
  log = folder / 'metrics.jsonl'
  while not (log.exists() and storage.read_lines(log)):
    assert all(child.poll() is None for child in children)
    time.sleep(0.02)


LONG = SETTINGS | {'epochs': 30, 'stop__patience': 0, 'checkpoint__every': '1 steps', 'strategy__name': 'elr'}


@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on_bit_for_bit(tmp_path):
  runs.npz(tmp_path / 'data.npz')
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  assert [code for code, _ in finished(several.start([(whole, LONG)]))] == [0, 0]
  for victim in (1, 0):
    children = several.start([(killed, LONG)], silence=8.0)
    after_an_epoch(killed, children)
    os.kill(children[victim].pid, signal.SIGKILL)
    ended = finished(children)
    assert ended[victim][0] == -signal.SIGKILL
    code, output = ended[1 - victim]
    assert code == processes.GO_ON, output[-3000:]
    assert 'died or lost its connection; the same command goes on' in output
    assert not (killed / 'result.json').exists()
  assert [code for code, _ in finished(several.start([(killed, LONG)]))] == [0, 0]
  a, b = runs.weights(whole), runs.weights(killed)
  assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
  assert runs.lines(whole) == runs.lines(killed)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_one_process_goes_on(tmp_path):
  data = runs.npz(tmp_path / 'data.npz')
  children = several.start([(tmp_path / 'run', LONG)])
  after_an_epoch(tmp_path / 'run', children)
  children[1].send_signal(signal.SIGTERM)
  (code, output), (other, _) = finished(children)
  assert (code, other) == (128 + signal.SIGTERM,) * 2, output[-3000:]
  assert 'stopped by SIGTERM at step' in output
  before = len(storage.read_lines(tmp_path / 'run' / 'metrics.jsonl'))
  assert 0 < before < 30
  for folder in ('run', 'alone'):  # one process, with its one device
    run.run(runs.recipe(data, **LONG), tmp_path / folder, page=False)
  gaps = differences(tmp_path / 'alone', tmp_path / 'run')
  assert {name: gap for name, gap in gaps.items() if gap > 1e-4} == {}  # 90 steps: rounding grows


@pytest.mark.slow
def test_two_processes_go_on_where_one_was_killed(tmp_path):
  data, settings = runs.npz(tmp_path / 'data.npz'), LONG | {'epochs': 10}
  children = several.start([(tmp_path / 'run', settings)], count=1)
  after_an_epoch(tmp_path / 'run', children)
  children[0].kill()
  children[0].communicate()
  assert not (tmp_path / 'run' / 'result.json').exists()
  for code, output in finished(several.start([(tmp_path / 'run', settings)])):
    assert code == 0, output[-3000:]
  run.run(runs.recipe(data, **settings), tmp_path / 'alone', page=False)
  gaps = differences(tmp_path / 'alone', tmp_path / 'run')
  assert {name: gap for name, gap in gaps.items() if gap > 1e-5} == {}


ENDING = """
import os, signal, sys
from noisyjax.system import interrupt, processes
from noisyjax.system.errors import UserError
from noisyjax.system.log import show
coordinator, index, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
show()
processes.join(coordinator, 2, index, silence=6.0)
with processes.ending_together(), interrupt.watched():
  votes = processes.Votes()
  for step in range(1, 5000):
    _, stop = votes.now(0, interrupt.asked() or 0)
    if stop:
      raise interrupt.stopped('run', f'at step {step}', stop)
    if step == 20 and what == 'end':
      break
    if step == 20 and what.endswith(str(index)):
      if what.startswith('mistake'):
        raise UserError('found a mistake')
      os.kill(os.getpid(), {'kill': signal.SIGKILL, 'term': signal.SIGTERM}[what[:4]])
    if step == 20 and what == 'mistake of both':
      raise UserError('found a mistake')
"""
DIED = 'has died or lost its connection; the same command goes on from the last checkpoint.'


@pytest.mark.slow
@pytest.mark.parametrize(
  'what, codes, texts',
  [
    ('end', (0, 0), ('', '')),
    ('kill1', (processes.GO_ON, -9), (DIED, '')),  # it may be a failed exchange that shows it, which names no process
    ('kill0', (-9, processes.GO_ON), ('', DIED)),
    ('term1', (143, 143), ('run: stopped by SIGTERM at step 2', '')),
    ('mistake1', (2, 2), ('', 'process 1: error: found a mistake')),
    ('mistake of both', (2, 2), ('error: found a mistake', '')),
  ],
)
def test_how_one_process_ends_the_others(what, codes, texts):
  children = several.execute(['-c', ENDING], [what])
  ended = finished(children)
  assert tuple(code for code, _ in ended) == codes, ended
  for (_, output), text in zip(ended, texts):
    assert text in output and (text or 'error: ' not in output)


def test_arguments_that_contradict_one_another_are_refused():
  with pytest.raises(UserError, match='HOST:PORT'):
    processes.join('node1', 2, 0)
  with pytest.raises(UserError, match='from 0 to 1'):
    processes.join('node1:1234', 2, 2)


@pytest.mark.parametrize(
  'environment, expected',
  [
    ({}, False),
    ({'SLURM_JOB_ID': '1', 'SLURM_NTASKS': '4'}, False),  # in a batch script, outside srun
    ({n: '1' for n in ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NTASKS')}, False),
    (
      {n: '2' for n in ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_NTASKS')},
      True,
    ),
    ({'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_RANK': '0'}, True),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, True),
  ],
)
def test_the_environment_says_whether_there_are_others(monkeypatch, environment, expected):
  for name in list(os.environ):
    if name.startswith(('SLURM_', 'OMPI_', 'TPU_', 'KUBERNETES_')):
      monkeypatch.delenv(name)
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  assert processes.announced() == expected


def step(local: int, tasks: str, node: int = 0, seen: str = '', on_node: int = 0) -> dict[str, str]:
  """Returns what `srun` sets, as a Slurm with simulated GPUs did."""
  gpus = {'CUDA_VISIBLE_DEVICES': seen, 'SLURM_GPUS_ON_NODE': str(on_node)} if seen else {}
  return {'SLURM_LOCALID': str(local), 'SLURM_NODEID': str(node), 'SLURM_STEP_TASKS_PER_NODE': tasks, **gpus}


def mpi(local: int, size: int, **more: str) -> dict[str, str]:
  return {'OMPI_COMM_WORLD_LOCAL_RANK': str(local), 'OMPI_COMM_WORLD_LOCAL_SIZE': str(size), **more}


@pytest.mark.parametrize(
  'environment, expected',
  [
    ({'CUDA_VISIBLE_DEVICES': '0,1'}, None),  # processes that were started by hand
    (step(1, '2'), [1]),  # without GPUs
    (step(1, '2', seen='1', on_node=2), [0]),  # --ntasks=2 --gpus-per-task=1
    (step(1, '2', seen='2,3', on_node=4), [0, 1]),  # --ntasks=2 --gpus-per-task=2
    (step(1, '2', seen='0,1', on_node=2), [1]),  # --ntasks=2 --gres=gpu:2
    (step(1, '2', seen='0,1,2,3', on_node=4), [2, 3]),  # --ntasks=2 --gres=gpu:4
    (step(0, '2(x2),1', node=2, seen='0,1,2,3', on_node=4), [0, 1, 2, 3]),  # alone on its node
    (step(1, '2(x2),1', node=1, seen='0,1,2,3', on_node=4), [2, 3]),
    (mpi(3, 8), [3]),
    (mpi(0, 1), []),  # alone on its node
    (step(0, '1(x2)', node=1), []),
    (mpi(3, 8, CUDA_VISIBLE_DEVICES='3'), [0]),
    (mpi(1, 2, CUDA_VISIBLE_DEVICES='0,1,2,3'), [2, 3]),
    (step(1, '2', seen='1', on_node=2) | {'JAX_LOCAL_DEVICE_IDS': '0'}, None),
  ],
)
def test_each_process_of_a_node_takes_its_own_gpus(environment, expected):
  assert processes.own_gpus(environment) == expected


@pytest.mark.parametrize(
  'error, code, text',
  [
    (OSError(28, 'No space left on device', '/barrier/x'), 2, 'error: /barrier/x: No space left on device.'),
    (MemoryError('7 GB'), 2, 'error: not enough memory (7 GB).'),
    (RuntimeError('Gloo: connection closed by peer'), processes.GO_ON, 'the same command goes on'),
    (ValueError('barrier'), 1, 'ValueError: barrier'),
  ],
)
def test_only_the_loss_of_a_process_asks_to_be_tried_again(error, code, text):
  found, printed = processes._verdict(error)
  assert found == code and text in printed
