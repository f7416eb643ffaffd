"""A run that is killed at any moment and resumed gives the same result, bit for bit."""

import signal
import time

import numpy as np
import pytest

import runs
from noisyjax.analysis import analyze
from noisyjax.data.prepare import prepare
from noisyjax.engine import step
from noisyjax.runs import checkpoint, identity, recorder, run, selected
from noisyjax.system import storage
from noisyjax.system.errors import UserError

# Each changes something else between steps, epochs and phases.
RUNS = {
  'co_teaching': {'strategy__name': 'co_teaching', 'augment__weak': ('crop',)},
  'clean_correction': {
    'strategy__name': 'clean_correction',
    'epochs': 4,
    'batch_size': 24,
  },  # two phases; the second relabels
  'loss_filter': {'strategy__name': 'loss_filter', 'strategy__loss_filter__warmup': 1.0},  # another subset each epoch
  'soft targets go over to the next phase': {
    'phases': (
      ('naive', 1, {'rows': 'trusted', 'labels': 'verified'}),
      ('clean_correction', 1, {'strategy.clean_correction.soft': True, 'reset': 'head'}),
      ('naive', 2, {'schedule.name': 'plateau', 'stop.patience': 5}),
    ),
    'ema': 0.9,
    'batch_size': 24,
  },
}


class Death(BaseException):
  """What no handler of the program catches."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture
def moments(monkeypatch):
  """The moments at which a run may die: before and after each step, file, line and checkpoint."""

  class Moments:
    step = 0  # the run's, as its recorder last saw it
    at = None  # die from this step on …
    after = 0  # … after as many moments

  def moment(owner):
    if isinstance(owner, recorder.Recorder):
      Moments.step = owner._step
    if Moments.at is not None and Moments.step >= Moments.at:
      Moments.after -= 1
      if Moments.after < 0:
        raise Death

  def watched(cls, name):
    real = getattr(cls, name)

    def call(owner, *args, **kwargs):
      moment(owner)
      result = real(owner, *args, **kwargs)
      moment(owner)
      return result

    monkeypatch.setattr(cls, name, call)

  watched(recorder.Recorder, 'step')
  watched(storage.JsonLines, 'append')
  watched(checkpoint.Checkpoints, 'save')
  watched(checkpoint, 'save_weights')
  watched(storage, 'write_bytes')
  return Moments


def die_and_go_on(config, folder, moments, rng, steps: int, deaths: int) -> None:
  """Dies once in each of `deaths` equal parts of a run's steps, at a random moment of it, and then ends the run."""
  for death in range(deaths):
    moments.step, moments.after = 0, int(rng.integers(6))
    moments.at = int(rng.uniform(death, death + 1) * steps / deaths)
    with pytest.raises(Death):
      run.run(config, folder)
  moments.at = None
  run.run(config, folder)


@pytest.mark.parametrize('name', RUNS)
def test_a_run_that_dies_between_any_two_writes_ends_as_if_it_had_not(data, tmp_path, moments, name):
  config = runs.recipe(data, checkpoint__every='2 steps', **RUNS[name])
  steps = run.run(config, tmp_path / 'whole')['steps']
  expected = runs.outputs(tmp_path / 'whole')
  rng = np.random.default_rng(len(name))
  traces = step.train_step._cache_size()
  die_and_go_on(config, tmp_path / 'w', moments, rng, steps, deaths=5)
  runs.assert_same(expected, runs.outputs(tmp_path / 'w'))
  assert runs.lines(tmp_path / 'w', 'audit.jsonl') == runs.lines(tmp_path / 'whole', 'audit.jsonl')
  assert step.train_step._cache_size() == traces  # a restored state is of the types of a fresh one


def test_a_log_that_lost_lines_is_not_gone_on_with(data, tmp_path, moments):
  config = runs.recipe(data, checkpoint__every='1 epoch')
  moments.at = 8
  with pytest.raises(Death):
    run.run(config, tmp_path / 'w')
  (tmp_path / 'w/metrics.jsonl').unlink()
  moments.at = None
  with pytest.raises(UserError, match=r'metrics\.jsonl: has 0 epochs, expected the \d before the checkpoint'):
    run.run(config, tmp_path / 'w')


def test_another_split_of_the_same_rows_is_not_gone_on_with(data, tmp_path, moments):
  """A checkpoint holds labels by place: under other rows in those places it would train on wrong pairs."""
  held = tmp_path / 'val.txt'
  held.write_text('\n'.join(map(str, range(20))))
  config = runs.recipe(data, checkpoint__every='1 epoch', data__train='0:128', data__val=f'@{held}')
  moments.at = 8
  with pytest.raises(Death):
    run.run(config, tmp_path / 'w')
  held.write_text('\n'.join(map(str, range(20, 40))))
  moments.at = None
  with pytest.raises(UserError, match=r'the data here are not those the run began with[\s\S]*the splits differ'):
    run.run(config, tmp_path / 'w')


def test_a_run_from_before_a_field_predicts_on_but_is_not_gone_on_with(data, tmp_path, monkeypatch):
  config, folder, plain = runs.recipe(data), tmp_path / 'w', identity.plain

  def older(plan):
    written = plain(plan)
    del written['noise']['count'], written['ema_ramp']
    return written

  with monkeypatch.context() as patched:
    patched.setattr(identity, 'plain', older)
    result = run.run(config, folder)
  with pytest.raises(UserError, match=r"ema_ramp: no such field → 0\.0\n  noise\.count: no such field → 'independent'"):
    run.run(config, folder)
  (folder / 'result.json').rename(tmp_path / 'result.json')
  with pytest.raises(UserError, match=r'another config[\s\S]*noise\.count: no such field'):  # nor is an unfinished one
    run.run(config, folder)
  (tmp_path / 'result.json').rename(folder / 'result.json')
  found = selected.load(folder)
  assert prepare(found.plan.config)[0].record['fingerprint'] == result['data']['fingerprint']
  assert found.look(np.zeros((2, 8, 8, 1), np.uint8))[0].shape == (2, 3)


def test_a_run_with_a_field_that_was_removed_is_read_on_but_not_gone_on_with(data, tmp_path, monkeypatch, caplog):
  config, folder, plain = runs.recipe(data), tmp_path / 'w', identity.plain

  def another(plan):
    written = plain(plan)
    written['optim']['gone'] = written['augment']['gone'] = written['strategy']['naive']['gone'] = 7
    return written

  with monkeypatch.context() as patched:
    patched.setattr(identity, 'plain', another)
    run.run(config, folder)
  with pytest.raises(UserError, match=r'augment\.gone: 7 → no such field\n  optim\.gone: 7 → no such field'):
    run.run(config, folder)
  found = selected.load(folder)
  assert 'augment.gone' in caplog.text and 'optim.gone' in caplog.text
  assert found.look(np.zeros((2, 8, 8, 1), np.uint8))[0].shape == (2, 3)
  assert found.plan.engine_phases(prepare(found.plan.config)[0].train)  # `analyze --folds` trains it anew
  assert analyze.analyze(folder).exists()


def wait_for(process, path) -> bool:
  """Waits until the file or folder has something in it; False if the process ended first."""
  while process.poll() is None:
    if path.exists() and (any(path.iterdir()) if path.is_dir() else path.stat().st_size):
      return True
    time.sleep(0.005)
  return False


def kill_and_go_on(config, folder, rng, kills: int) -> int:
  """Kills child processes at random moments after their first checkpoint; returns how many were killed in mid-run."""
  recipe = runs.recipe_file(folder.with_suffix('.py'), config)
  killed = 0
  for _ in range(kills):
    process = runs.start('train', f'--config={recipe}', f'--workdir={folder}')
    wait_for(process, folder / 'checkpoints')
    time.sleep(float(rng.uniform(0, 0.6)))
    process.kill()
    process.communicate()
    if (folder / 'result.json').exists():
      break
    killed += 1
  run.run(config, folder)
  return killed


def check_kills(data, tmp_path, name: str, kills: int, seed: int) -> None:
  config = runs.recipe(data, checkpoint__every='1000 seconds', **RUNS[name] | {'epochs': 30})
  run.run(config, tmp_path / 'whole')  # without checkpoints, which take most of such a run
  config.checkpoint.every = '2 steps'
  killed = kill_and_go_on(config, tmp_path / 'killed', np.random.default_rng(seed), kills)
  assert killed, 'every child ended before it was killed'
  runs.assert_same(runs.outputs(tmp_path / 'whole'), runs.outputs(tmp_path / 'killed'))


@pytest.mark.parametrize('name', ['co_teaching', 'clean_correction', 'loss_filter'])
def test_kill_9_at_random_moments_changes_nothing(data, tmp_path, name):
  check_kills(data, tmp_path, name, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(1, 6))
@pytest.mark.parametrize('name', ['co_teaching', 'clean_correction', 'loss_filter'])
def test_kill_9_at_many_random_moments_changes_nothing(data, tmp_path, name, seed):
  check_kills(data, tmp_path, name, kills=6, seed=seed)


def test_sigterm_saves_says_so_and_exits_with_143(data, tmp_path):
  # Checkpoints only because of the signal: none is due by time.
  config = runs.recipe(data, checkpoint__every='1000 seconds', epochs=150)
  folder = tmp_path / 'w'
  process = runs.start('train', f'--config={runs.recipe_file(tmp_path / "r.py", config)}', f'--workdir={folder}')
  assert wait_for(process, folder / 'metrics.jsonl')
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 143, err
  assert 'stopped by SIGTERM at step' in err and 'the same command goes on' in err and 'Traceback' not in err
  stopped = int(err.split('at step ')[1].split(';')[0])
  assert [p.name for p in (folder / 'checkpoints').iterdir()] == [str(stopped)] and stopped < 450
  run.run(config, folder)
  run.run(config, tmp_path / 'whole')
  runs.assert_same(runs.outputs(tmp_path / 'whole'), runs.outputs(folder))
