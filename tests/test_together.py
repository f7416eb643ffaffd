"""Runs side by side: each ends as if it had trained alone, whatever the others do, and after any interruption."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
import types
import weakref

import jax
import numpy as np
import pytest

import runs
import tiny
from noisyjax.data.images import ArrayImages, as_images
from noisyjax.engine import placement, together, train
from noisyjax.experiments import kfold, sweep
from noisyjax.reports import report
from noisyjax.runs import launch, recorder
from noisyjax.runs.engines import engine
from noisyjax.strategies import co_teaching, divide_mix, elr, naive, sop
from noisyjax.system import interrupt
from noisyjax.system.errors import Diverged, UserError

METHODS = {'naive': naive, 'elr': elr, 'sop': sop, 'co_teaching': co_teaching, 'divide_mix': divide_mix}
SILENT = types.SimpleNamespace(**{name: lambda *seen: None for name in ('begin', 'step', 'epoch')})
BOTH = pytest.mark.parametrize('vmap', [False, pytest.param(True, marks=pytest.mark.slow)], ids=['in turn', 'vmap'])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
  monkeypatch.setattr('noisyjax.reports.collection.write', lambda folder: 'the table')


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture
def programs(monkeypatch):
  """The number of runs in each call of a program."""
  seen, made = [], together._made

  def counted(calls, vmap):
    seen.append(len(calls))
    return made(calls, vmap)

  monkeypatch.setattr(together, '_made', counted)
  return seen


def assert_close(one, other, tolerance=1e-5):
  """Compares trees leaf by leaf, against the largest number of the leaf."""
  for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(
      a, b, rtol=0, atol=tolerance * max(1.0, np.abs(a[np.isfinite(a)]).max(initial=0)), err_msg=name
    )


def run_of(method, number, data, per_call=1):
  """Returns what calls `train.fit` or `train.steps` with a run of its own seed, rate and number of epochs."""
  strategy = METHODS[method].Strategy.build()
  hyper = tiny.hyper(lr=0.02 * (1 + number), epochs=3)
  phase = tiny.phase(
    strategy, tiny.spec(strategy.networks, ema=True, ops=('flip',)), hyper, 2 + number % 2, per_call=per_call
  )
  return lambda function: function([phase], data, None, jax.random.key(number), SILENT)


QUICK = {('naive', False, 1), ('elr', True, 3)}
CASES = [
  pytest.param(*case, id='-'.join(map(str, case)), marks=() if case in QUICK else pytest.mark.slow)
  for case in itertools.product(METHODS, (False, True), (1, 3))
]


@pytest.mark.parametrize('method, vmap, per_call', CASES)
def test_runs_side_by_side_end_as_alone(method, vmap, per_call, data, programs):
  """A network with batch norm, a moving average, and walks that differ: all that a state holds."""
  begun = [run_of(method, number, data, per_call) for number in range(3)]
  steps = {str(number): one(train.steps) for number, one in enumerate(begun)}
  found = together.side_by_side(steps, 3, vmap)
  assert programs[: 6 // per_call] == [3] * (6 // per_call) and programs[-1] == 1  # the second run has a third epoch
  for number, one in enumerate(begun):
    state, position = one(train.fit)
    other, elsewhere = found[str(number)]
    assert_close(state, other)
    assert position.images == elsewhere.images and position.passes == elsewhere.passes


class Streamed(ArrayImages):
  """Images of which training reads those of one call at a time."""

  resident = False


@pytest.mark.slow
@pytest.mark.parametrize('vmap, per_call', list(itertools.product((False, True), (1, 3))))
def test_images_that_are_not_in_memory_are_gathered_for_each_run(data, vmap, per_call):
  streamed = dataclasses.replace(data, images=Streamed(np.asarray(data.images)))
  begun = [run_of('naive', number, streamed, per_call) for number in range(2)]
  found = together.side_by_side({str(i): one(train.steps) for i, one in enumerate(begun)}, 2, vmap)
  for number, (state, _) in enumerate(found.values()):
    assert_close(run_of('naive', number, data)(train.fit)[0], state)


@pytest.mark.slow
def test_runs_side_by_side_on_four_devices_end_as_alone_on_one():
  script = """
import dataclasses
import jax, tiny
import test_together as t
from noisyjax.engine import together, train
from noisyjax.strategies import naive
mesh, data = jax.make_mesh((4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)), tiny.data()
def run_of(number, function, mesh):
  phase = tiny.phase(naive.Strategy.build(), tiny.spec(1, mesh=mesh), tiny.hyper(lr=0.02 * (1 + number)), epochs=2)
  return function([phase], data, None, jax.random.key(number), t.SILENT)
alone = [run_of(number, train.fit, None)[0] for number in range(2)]
for vmap in (False, True):
  found = together.side_by_side({str(i): run_of(i, train.steps, mesh) for i in range(2)}, 2, vmap)
  for state, (other, _) in zip(alone, found.values(), strict=True):
    t.assert_close(state, other)
assert together._mapped._cache_size() == 1
print('equal')
"""
  environment = os.environ | {
    'XLA_FLAGS': '--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=4',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': f'{runs.ROOT / "tests"}{os.pathsep}{runs.ROOT}',
  }
  done = subprocess.run([sys.executable, '-c', script], env=environment, capture_output=True, text=True, check=False)
  assert done.stdout == 'equal\n', done.stderr[-2000:]


def jobs(path, folder, *points, **fields):
  return sweep.jobs(runs.recipe(path, **fields), list(points), str(folder))


def assert_alike(one, other, name=''):
  """Compares what two runs wrote: numbers to rounding, all else exactly."""
  if isinstance(one, dict):
    assert one.keys() == other.keys(), name
    for key, value in one.items():
      assert_alike(value, other[key], f'{name}/{key}')
  elif isinstance(one, list):
    assert len(one) == len(other), name
    for i, (a, b) in enumerate(zip(one, other)):
      assert_alike(a, b, f'{name}/{i}')
  elif isinstance(one, float) or (isinstance(one, np.ndarray) and one.dtype.kind == 'f'):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)
  else:
    np.testing.assert_array_equal(one, other, name)


def assert_same_runs(one, other):
  for a, b in zip(one, other, strict=True):
    found = runs.outputs(b.workdir)
    assert found['result'].pop('replicas') == 3
    assert_alike(runs.outputs(a.workdir), found, a.workdir.name)
    assert_alike(runs.lines(a.workdir, 'audit.jsonl'), runs.lines(b.workdir, 'audit.jsonl'), a.workdir.name)


SEEDS = [{'seed': seed, 'optim.lr': 0.02 * (1 + seed)} for seed in range(3)]


@pytest.fixture(scope='module')
def alone(npz, tmp_path_factory):
  """Three runs, one after another."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
    found = jobs(npz, tmp_path_factory.mktemp('alone'), *SEEDS)
    launch.launch(found)
  return found


@BOTH
def test_a_run_that_stops_early_or_diverges_disturbs_no_other_and_the_next_takes_its_place(
  npz, tmp_path, alone, programs, vmap
):
  points = [*SEEDS[:2], {'seed': 3, 'optim.lr': 2e9}, {'seed': 4, 'stop.patience': 1, 'optim.lr': 1e-9}, *SEEDS[2:]]
  found = jobs(npz, tmp_path / 'together', *points)
  results = launch.launch(found, engine=launch.SideBySide(3, vmap))
  assert isinstance(results[2], Diverged) and (found[2].workdir / 'failed.json').exists()
  assert results[3]['epochs'] == 2 and [results[i]['epochs'] for i in (0, 1, 4)] == [3, 3, 3]
  assert_same_runs(alone, [found[i] for i in (0, 1, 4)])
  assert set(programs) == {1, 2, 3} and programs.count(3) >= 9
  by_itself = runs.read_json(alone[0].workdir / 'result.json') | {'strategy': 'alone'}
  assert 'which share their seconds: 3' in str(report.table([results[0], by_itself], ('strategy',)))
  programs.clear()
  assert [isinstance(r, dict) for r in launch.launch(found[:2], engine=launch.SideBySide(3))] == [True, True]
  assert not programs  # finished runs are kept
  (found[1].workdir / 'result.json').unlink()
  kept, again = launch.launch(found[:2], engine=launch.SideBySide(3))
  assert kept['replicas'] == 3 and 'replicas' not in again  # alone this time


def test_runs_at_different_epochs_go_on_together(npz, tmp_path, alone, monkeypatch, programs):
  found = jobs(npz, tmp_path / 'together', *SEEDS, checkpoint__every='2 steps')
  with monkeypatch.context() as patch:
    dying(patch, 'seed=1', 5)
    with pytest.raises(Death):
      launch.launch(found[1:2])
  with monkeypatch.context() as patch:
    dying(patch, 'seed=2', 3)
    with pytest.raises(Death):
      launch.launch(found, engine=launch.SideBySide(3))
  assert [int(max(p.name for p in (job.workdir / 'checkpoints').iterdir())) for job in found] == [2, 6, 2]
  programs.clear()
  launch.launch(found, engine=launch.SideBySide(3))
  assert programs[:3] == [3, 3, 3]
  for one, other in zip(alone, found):
    assert_alike(runs.lines(one.workdir), runs.lines(other.workdir))
    assert_alike(runs.weights(one.workdir), runs.weights(other.workdir))


class Death(BaseException):
  """What no handler of the program catches."""


def dying(patch, name, step):
  """Lets a run die after one of its steps."""
  real = recorder.Recorder.step

  def call(self, phase, position, state, count, tick):
    real(self, phase, position, state, count, tick)
    if name in self._folder.name and self._step >= step:
      raise Death

  patch.setattr(recorder.Recorder, 'step', call)


def test_a_signal_stops_all_after_a_checkpoint_and_the_same_command_goes_on(npz, tmp_path, alone, monkeypatch):
  found, real = jobs(npz, tmp_path / 'together', *SEEDS, checkpoint__every='1000 seconds'), recorder.Recorder.step

  def call(self, phase, position, state, count, tick):
    if 'seed=1' in self._folder.name and self._step == 4:
      signal.raise_signal(signal.SIGTERM)
    real(self, phase, position, state, count, tick)

  with monkeypatch.context() as patch:
    patch.setattr(recorder.Recorder, 'step', call)
    with pytest.raises(interrupt.Stopped, match=r'stopped by SIGTERM at step \d; the same command goes on') as error:
      launch.launch(found, engine=launch.SideBySide(3))
  assert error.value.signal == signal.SIGTERM
  saved = [[p.name for p in (job.workdir / 'checkpoints').iterdir()] for job in found]
  assert saved == [['6'], ['5'], ['5']]  # the first had its fifth step behind it when the signal came
  launch.launch(found, engine=launch.SideBySide(3))
  for one, other in zip(alone, found):
    assert_alike(runs.weights(one.workdir), runs.weights(other.workdir))


def test_runs_that_cannot_be_stacked_say_so_and_train_by_themselves(npz, tmp_path, programs, caplog):
  points = [{'data.train': f'0:{rows}', 'seed': seed} for rows, seed in ((96, 0), (96, 1), (90, 0))]
  points.append({'batch_size': 24, 'seed': 0})
  found = jobs(npz, tmp_path / 'together', *points, epochs=1)
  with caplog.at_level('INFO', logger='noisyjax'):
    launch.launch(found, engine=launch.SideBySide(4))
  said = [record.getMessage() for record in caplog.records if 'by itself' in record.getMessage()]
  assert len(said) == 2
  assert said[0].startswith('batch_size=24,seed=0: a static field differs')
  assert 'train=0_90,seed=0 trains by itself for now' in said[1] and '(90 here)' in said[1]
  assert sorted(programs) == [1] * (3 + 4) + [2] * 3


def test_an_error_while_a_program_is_traced_is_that_of_its_runs(data, monkeypatch):
  def fails(calls, vmap):
    raise UserError('no such loss')

  def guarded(steps):
    try:
      return (yield from steps)
    except UserError as error:
      return str(error)

  monkeypatch.setattr(together, '_made', fails)
  steps = {str(number): guarded(run_of('naive', number, data)(train.steps)) for number in range(3)}
  assert together.side_by_side(steps, 2, False) == dict.fromkeys('012', 'no such loss')


def test_a_lone_run_hears_of_an_error_of_its_step(data, monkeypatch):
  closed = []

  def guarded(steps):
    try:
      return (yield from steps)
    finally:
      closed.append(True)

  monkeypatch.setattr(together.step, 'train_step', lambda *arguments: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    together.alone(guarded(run_of('naive', 0, data)(train.steps)))
  assert closed


def test_sizes_are_few_and_no_step_is_computed_for_nothing():
  parted = lambda count, full: [len(part) for part in together._parted(list('abcdefgh'[:count]), full)]
  assert parted(8, 8) == [8] and parted(7, 8) == [4, 2, 1] and parted(3, 3) == [3] and parted(6, 7) == [4, 2]


def test_replicas_and_an_engine_exclude_each_other():
  assert engine.load('', 4) == launch.SideBySide(4) and engine.load('') == launch.Here()
  with pytest.raises(UserError, match=r'--replicas: found 4 with --engine=processes; expected one of them'):
    engine.load('processes', 4)


def test_a_plan_is_told(npz, tmp_path):
  text = launch.SideBySide(2).text(jobs(npz, tmp_path, *SEEDS[:2], {'batch_size': 8}))
  assert text.count('\n') == 2 and 'at most 2 at once' in text


@pytest.mark.slow
def test_folds_of_equal_size_train_side_by_side(npz, tmp_path, programs):
  config = runs.recipe(npz, data__train='0:128', data__val='')
  together_, _ = kfold.kfold(config, 4, str(tmp_path / 'together'), engine=launch.SideBySide(4))
  assert max(programs) > 1
  alone_, _ = kfold.kfold(config, 4, str(tmp_path / 'alone'))
  for one, other in zip(alone_, together_):
    assert_alike(one['validation'], other['validation'])


@pytest.mark.slow
@pytest.mark.parametrize('method', ['naive', 'co_teaching'])
def test_kill_9_at_random_moments_changes_nothing_but_rounding(npz, tmp_path, method):
  fields = {'strategy__name': method, 'epochs': 30, 'checkpoint__every': '2 steps'}
  one, other = (jobs(npz, tmp_path / name, *SEEDS, **fields) for name in ('alone', 'together'))
  launch.launch(one)
  recipe, rng = runs.recipe_file(tmp_path / 'r.py', runs.recipe(npz, **fields)), np.random.default_rng(0)
  lines = '\n'.join(f'    yield {point!r}' for point in SEEDS)
  (tmp_path / 'points.py').write_text(f'def sweep():\n{lines}\n')
  command = ('sweep', f'--config={recipe}', f'--sweep={tmp_path / "points.py"}', '--replicas=3')
  for _ in range(3):
    saved = set(tmp_path.glob('together/*/checkpoints/*'))
    process = runs.start(*command, f'--workdir={tmp_path / "together"}')
    while process.poll() is None and set(tmp_path.glob('together/*/checkpoints/*')) <= saved:
      time.sleep(0.005)
    time.sleep(float(rng.uniform(0, 1)))
    process.kill()
    process.communicate()
  assert not all((job.workdir / 'result.json').exists() for job in other)
  code, _, err = runs.launch(*command, f'--workdir={tmp_path / "together"}')
  assert code == 0, err
  for a, b in zip(one, other):
    assert_alike(runs.lines(a.workdir), runs.lines(b.workdir))
    assert_alike(runs.weights(a.workdir), runs.weights(b.workdir))


def test_runs_on_the_same_images_have_one_copy_of_them(data):
  images = as_images(np.asarray(data.images))
  first = placement.shared(None, images)
  assert placement.shared(None, images) is first
  gone = weakref.ref(first)
  del first
  assert gone() is None  # as soon as nobody trains on it
