import errno
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import noisyjax
import runs
from noisyjax.config.plan import Plan
from noisyjax.data import prepare
from noisyjax.engine import dynamics, step
from noisyjax.runs import checkpoint, networks, recorder, result as results, run, samples
from noisyjax.system import formats, lock, parquet, storage
from noisyjax.system.errors import UserError

FILES = (
  'config.json',
  'environment.json',
  'metrics.jsonl',
  'audit.jsonl',
  'samples.parquet',
  'audit.parquet',
  'result.json',
  'model.json',
  'curves.png',
  'confusion.png',
  'calibration.png',
  'report.html',
  'weights',
  'checkpoints',
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(scope='module')
def finished(data, tmp_path_factory):
  """One run of the recipe with all its files; tests read it and do not write."""
  folder = tmp_path_factory.mktemp('runs') / 'naive'
  return folder, runs.fit(runs.recipe(data), folder)


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
  """No pictures, except where the test asks for them."""
  if 'finished' not in request.fixturenames:
    monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


# What a workdir holds.


def test_a_run_writes_every_promised_file(finished):
  folder, _ = finished
  assert set(FILES) <= {p.name for p in folder.iterdir()}
  assert not list(folder.rglob('*.part')) and not list(folder.rglob('*-tmp'))
  html = (folder / 'report.html').read_text()
  assert 'src="data:image' in html and 'http' not in html.replace('http://www.w3.org', '')  # self-contained


def test_result_json_says_what_was_done_and_what_the_method_was_told(finished):
  folder, result = finished
  assert result == formats.read_json(formats.RUN, folder / 'result.json')
  expected = {
    'strategy': 'naive',
    'model': 'dense',
    'seed': 0,
    'networks': 1,
    'epochs': 3,
    'steps': 9,
    'knowledge': [],
    'selected': 'best',
    'images_seen': 288,
    'noise': {'kind': 'none'},
  }
  assert {k: result[k] for k in expected} == expected
  assert result['passes'] == 3 * 288  # forward and backward
  assert result['parameters'] == 64 * 16 + 16 + 2 * 16 + 16 * 3 + 3
  assert result['peak_memory_mb'] > 50 and result['seconds'] > 0 and result['device']
  assert result['code'].startswith(f'noisyjax {noisyjax.__version__} (source ')
  data = result['data']
  assert (data['source'], data['rows'], data['classes']) == (
    'npz',
    {'train': 96, 'val': 32, 'trusted': 24, 'unlabeled': 0},
    list(runs.CLASSES),
  )
  metrics = runs.lines(folder)
  values = [m['val_accuracy'] for m in metrics]
  assert result['validation'] == {'labels': 'given', 'rows': 32, 'last': values[-1], 'best': max(values)}
  assert result['best_epoch'] == 1 + values.index(max(values))
  audit, tested = result['audit'], [a['test_accuracy'] for a in runs.lines(folder, 'audit.jsonl')]
  assert audit['test_rows'] == 40 and audit['test_labels'] == 'true'
  assert audit['last'] == tested[-1] and audit['oracle'] == max(tested)
  assert audit['best_by_validation'] == audit['selected'] == tested[result['best_epoch'] - 1]
  assert audit['mean_last_10'] == pytest.approx(np.mean(tested))
  assert set(audit['report']) >= set(runs.CLASSES)


def test_environment_json_and_config_json_are_enough_to_repeat_the_run(finished):
  folder, _ = finished
  facts = runs.read_json(folder / 'environment.json')
  assert facts['command'] == ['test'] and facts['backend'] == 'cpu' and facts['versions']['jax']
  config = runs.read_json(folder / 'config.json')
  assert config['format'] == 1 and set(config['model']) == {
    'name',
    'dtype',
    'conv',
    'mean',
    'std',
    'weights',
    'freeze_stats',
    'vmap',
    'dense',
  }  # no other model's fields
  assert config['optim']['lr'] == 0.05


def test_metrics_lines_hold_what_is_promised_and_samples_one_row_an_image(finished, data):
  folder, _ = finished
  for number, line in enumerate(storage.read_lines(folder / 'metrics.jsonl'), 1):
    assert (line['epoch'], line['phase_epoch'], line['step']) == (number, number, 3 * number)
    assert {'phase', 'strategy', 'loss', 'accuracy', 'lr', 'val_loss', 'val_accuracy', *runs.TIMES} <= line.keys()
    assert not any('test' in key or 'true' in key for key in line)
  samples, notes = parquet.read(folder / 'samples.parquet')
  arrays = np.load(data)
  assert samples['row'].tolist() == list(range(128)) and samples['split'].tolist() == ['train'] * 96 + ['val'] * 32
  np.testing.assert_array_equal(samples['given'], arrays['labels'][:128])
  np.testing.assert_array_equal(samples['verified'], arrays['verified'][:128])
  np.testing.assert_array_equal(samples['label'], np.append(arrays['labels'][:96], np.full(32, -1)))
  assert 'true' not in samples and notes['fingerprint']
  assert (samples['count'][:96] == 3).all()  # each row once an epoch
  assert np.isfinite(samples['mean_margin'][:96]).all() and np.isnan(samples['mean_margin'][96:]).all()
  audit, _ = parquet.read(folder / 'audit.parquet')
  np.testing.assert_array_equal(audit['true'], np.append(arrays['true'][:96], arrays['true'][128:]))


def test_predictions_in_samples_are_those_of_the_weights_the_run_stands_for(finished, data):
  folder, _ = finished
  probs = noisyjax.load(folder).probs(np.load(data)['images'][:128])
  samples, _ = parquet.read(folder / 'samples.parquet')
  np.testing.assert_array_equal(samples['predicted'], probs.argmax(1))
  np.testing.assert_allclose(samples['confidence'], probs.max(1), rtol=1e-5)


# Repeating, selecting.


def test_same_config_and_seed_twice_are_identical_and_another_seed_is_not(finished, data, tmp_path):
  folder, _ = finished
  runs.fit(runs.recipe(data), tmp_path / 'again')
  runs.assert_same(runs.outputs(folder), runs.outputs(tmp_path / 'again'))
  assert runs.lines(folder, 'audit.jsonl') == runs.lines(tmp_path / 'again', 'audit.jsonl')
  runs.fit(runs.recipe(data, seed=1), tmp_path / 'other')
  assert runs.lines(tmp_path / 'other') != runs.lines(folder)


def test_select_decides_which_epoch_a_run_stands_for(data, tmp_path):
  # At this rate the last epoch is not the best one.
  found = {}
  for select in ('best', 'last'):
    runs.fit(runs.recipe(data, select=select, epochs=6, optim__lr=3.0), tmp_path / select)
    found[select] = runs.read_json(tmp_path / select / 'result.json')
  best, last = found['best'], found['last']
  assert best['best_epoch'] == last['best_epoch'] < 6 and best['validation'] == last['validation']
  tested = [a['test_accuracy'] for a in runs.lines(tmp_path / 'last', 'audit.jsonl')]
  assert best['audit']['selected'] == tested[best['best_epoch'] - 1]
  assert last['audit']['selected'] == last['audit']['last'] == tested[-1]
  assert runs.weights(tmp_path / 'best').keys() == runs.weights(tmp_path / 'last').keys()


def test_without_validation_the_last_epoch_stands_and_there_is_no_best(data, tmp_path):
  result = runs.fit(runs.recipe(data, data__val=''), tmp_path / 'w')
  assert (result['selected'], result['best_epoch'], result['validation']) == ('last', None, None)
  assert result['audit']['best_by_validation'] is None and result['audit']['selected'] == result['audit']['last']
  assert not (tmp_path / 'w/weights/best').exists()
  assert not any(key.startswith('val_') for m in runs.lines(tmp_path / 'w') for key in m)
  with pytest.raises(UserError, match="has no 'best' weights; the run had no validation"):
    noisyjax.load(tmp_path / 'w', 'best')


def test_the_histogram_model_goes_through_the_same_files(data, tmp_path, request):
  request.getfixturevalue('monkeypatch').undo()  # with pictures
  result = runs.fit(runs.recipe(data, model__name='histogram'), tmp_path / 'w')
  assert set(FILES) - {'weights', 'checkpoints'} <= {p.name for p in (tmp_path / 'w').iterdir()}
  assert result['model'] == 'histogram' and result['epochs'] == 1
  assert result['audit']['selected'] == result['audit']['last']
  predictor = noisyjax.load(tmp_path / 'w')
  samples, _ = parquet.read(tmp_path / 'w/samples.parquet')
  np.testing.assert_array_equal(predictor(np.load(data)['images'][:128]), samples['predicted'])


def test_a_sweep_over_numbers_traces_the_step_once(data, tmp_path):
  runs.fit(runs.recipe(data, strategy__name='co_teaching'), tmp_path / '0')
  traced = step.train_step._cache_size()
  changes = {
    'optim__lr': 0.01,
    'optim__decay': 0.0,
    'strategy__co_teaching__forget': 0.1,
    'seed': 3,
    'epochs': 2,
    'strategy__co_teaching__ramp': 2,
    'schedule__final': 0.1,
    'optim__momentum': 0.5,
  }
  for i, (field, value) in enumerate(changes.items(), 1):
    result = runs.fit(runs.recipe(data, strategy__name='co_teaching', **{field: value}), tmp_path / str(i))
    assert result['networks'] == 2
  assert step.train_step._cache_size() == traced
  losses = {runs.lines(tmp_path / str(i))[-1]['loss'] for i in range(1 + len(changes))}
  assert len(losses) == 1 + len(changes)  # and each number did something


def test_a_finished_workdir_is_not_run_twice(finished, monkeypatch):
  folder, result = finished
  before = {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.name != 'lock'}
  for place, name in ((networks, 'fit'), (run, '_clear')):
    monkeypatch.setattr(place, name, lambda *arguments: pytest.fail('it ran again'))
  assert runs.fit(runs.recipe(runs.read_json(folder / 'config.json')['data']['path']), folder) == result
  assert {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.name != 'lock'} == before


# What stops a run.


def test_a_workdir_of_another_config_is_refused_and_the_difference_shown(finished, data):
  folder, _ = finished
  with pytest.raises(UserError) as error:
    runs.fit(runs.recipe(data, optim__lr=0.1, epochs=4), folder)
  text = str(error.value)
  assert 'holds a run of another config' in text
  assert 'optim.lr: 0.05 → 0.1' in text and 'epochs: 3 → 4' in text and text.count('→') == 3  # one in the sentence


@pytest.mark.parametrize('batch, said', [(32, True), (8, False)])
def test_an_epoch_of_few_steps_is_said(data, tmp_path, caplog, batch, said):
  with caplog.at_level('INFO', logger='noisyjax'):
    runs.fit(runs.recipe(data, batch_size=batch, epochs=2), tmp_path / 'w')
  assert ('an epoch is only 3 step(s) (batch_size 32), 6 in all; steps_per_epoch=-50' in caplog.text) == said


def test_a_run_that_was_refused_at_once_does_not_hold_its_workdir(data, tmp_path):
  with pytest.raises(UserError, match=r"freeze: 'nothing' matches no parameter"):
    runs.fit(runs.recipe(data, freeze='nothing'), tmp_path / 'w')
  runs.fit(runs.recipe(data, batch_size=32), tmp_path / 'w')


@pytest.mark.parametrize(
  ('overrides', 'size', 'steps'),
  [
    ({'batch_size': 100}, 64, 2),
    ({'batch_size': 100, 'steps_per_epoch': -5}, 64, 5),
    ({'batch_size': 96}, 96, 1),
    ({'batch_size': 100, 'steps_per_epoch': 3}, 100, 3),
  ],
)
def test_a_batch_larger_than_the_rows_shrinks_and_is_told(data, tmp_path, caplog, monkeypatch, overrides, size, steps):
  with caplog.at_level(logging.INFO, 'noisyjax'):
    result = runs.fit(runs.recipe(data, epochs=1, **overrides), tmp_path / 'w', monkeypatch)
  assert (result['batch_size'], result['steps'], result['images_seen']) == (size, steps, size * steps)
  said = f"batch_size: 100 is larger than the 96 rows that phase 'naive' trains on; {size} is used." in caplog.text
  assert said == (size == 64)


def test_a_second_run_in_the_same_workdir_is_told(data, tmp_path):
  with lock.held(tmp_path / 'w'), pytest.raises(UserError, match=r'w: in use by (process|another process)'):
    runs.fit(runs.recipe(data), tmp_path / 'w')
  runs.fit(runs.recipe(data), tmp_path / 'w')  # the lock went with its holder


def test_tensorboard_without_the_package_names_it(data, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(UserError, match='pip install tensorboardX'):
    runs.fit(runs.recipe(data, tensorboard=True), tmp_path / 'w')


def test_tensorboard_events_lie_beside_the_metrics(data, tmp_path):
  pytest.importorskip('tensorboardX')
  runs.fit(runs.recipe(data, tensorboard=True), tmp_path / 'w')
  assert list((tmp_path / 'w/tensorboard').glob('events.*'))


def test_a_file_in_place_of_the_workdir_is_one_clear_error(data, tmp_path):
  (tmp_path / 'w').write_text('')
  with pytest.raises(UserError, match='w: cannot use this workdir: File exists'):
    runs.fit(runs.recipe(data), tmp_path / 'w')


def test_a_read_only_workdir_is_one_clear_error(data, tmp_path, monkeypatch):
  folder = tmp_path / 'w'
  folder.mkdir()

  def refuse(path, *args, **kwargs):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

  monkeypatch.setattr(lock.os, 'open', refuse)
  with pytest.raises(UserError, match='w: cannot use this workdir: Permission denied'):
    runs.fit(runs.recipe(data), folder)
  assert not list(folder.iterdir())


@pytest.mark.parametrize('name', ['config.json', 'metrics.jsonl', 'samples.parquet', 'result.json'])
def test_a_disk_that_fills_up_is_one_clear_error_and_the_same_command_goes_on(data, tmp_path, monkeypatch, name):
  folder = tmp_path / 'w'
  real = os.fsync

  def fsync(number):
    if name in Path(f'/proc/self/fd/{number}').readlink().name:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(number)

  monkeypatch.setattr(os, 'fsync', fsync)
  with pytest.raises(UserError, match=f'{name}: cannot write this file: No space left on device'):
    runs.fit(runs.recipe(data), folder)
  assert not (folder / 'result.json').exists() and not list(folder.rglob('*.part'))
  monkeypatch.setattr(os, 'fsync', real)
  runs.fit(runs.recipe(data), folder)
  runs.fit(runs.recipe(data), tmp_path / 'whole')
  runs.assert_same(runs.outputs(folder), runs.outputs(tmp_path / 'whole'))


@pytest.mark.parametrize('what', ['checkpoint 9', "weights 'last'"])
def test_no_room_for_arrays_is_one_clear_error(data, tmp_path, monkeypatch, what):
  class Usage:
    free = 1000

  real = shutil.disk_usage
  full = lambda folder: Usage if ('checkpoints' in str(folder)) == ('checkpoint' in what) else real(folder)
  monkeypatch.setattr(shutil, 'disk_usage', full)
  with pytest.raises(UserError, match=f'cannot write {what}: it takes .* MB, and 0.0 MB are free'):
    runs.fit(runs.recipe(data), tmp_path / 'w')
  assert not (tmp_path / 'w/result.json').exists()


def test_a_disk_that_fills_up_within_a_checkpoint_leaves_no_half_of_it(tmp_path):
  import resource
  import signal

  state = {'a': np.arange(200_000, dtype=np.float32)}
  kept = checkpoint.Checkpoints(tmp_path / 'checkpoints', 2)
  kept.save(1, state, {'data': 1})
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # what the kernel does here, it does on a full disk
  try:
    with pytest.raises(UserError, match='checkpoints: cannot write checkpoint 2: File too large'):
      kept.save(2, state, {'data': 2})
    with pytest.raises(UserError, match="cannot write weights 'last': File too large"):
      checkpoint.save_weights(tmp_path / 'weights/last', state, {})
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, ignored)
  assert [p.name for p in (tmp_path / 'checkpoints').iterdir()] == ['1'] and not list((tmp_path / 'weights').iterdir())
  kept.save(3, state, {'data': 3})
  found, record = kept.latest(lambda record: state)
  assert record == {'data': 3} and (found['a'] == state['a']).all()


@pytest.mark.parametrize(
  'form',
  [
    "Failed to write: File too large [os_error_code='27']",
    'Error opening "zarr" driver: Failed to write [tensorstore_spec=\'{"a":1}\'] [os_error_code=\'27\']',
  ],
)
def test_what_the_system_refused_is_told_in_any_form(tmp_path, form):
  with (
    pytest.raises(UserError, match='cannot write weights: File too large'),
    checkpoint._writing(tmp_path, 'weights', {}),
  ):
    raise ValueError(form)


def test_a_quota_within_a_checkpoint_is_told_without_the_noise_of_threads(tmp_path):
  code = """
import resource, signal, sys, numpy as np
from pathlib import Path
from noisyjax.runs import checkpoint
from noisyjax.system.errors import UserError
kept, state = checkpoint.Checkpoints(Path(sys.argv[1]), 2), {name: np.random.rand(99_999) for name in 'abcd'}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
for step in range(4):
  try:
    kept.save(step, state, {})
  except UserError as error:
    print(error)
"""
  done = subprocess.run([sys.executable, '-c', code, tmp_path / 'c'], cwd=runs.ROOT, capture_output=True, text=True)
  assert done.stdout.count('cannot write checkpoint') == 4, done.stderr
  assert 'Event loop' not in done.stderr and 'Traceback' not in done.stderr


def test_a_refused_write_in_a_task_is_told_once_and_other_failures_of_tasks_are_kept():
  code = """
import asyncio, gc
from noisyjax.runs import checkpoint
checkpoint._hush()
async def fail(text):
  raise ValueError(text)
async def main():
  for text in ("os_error_code='27'", 'another failure'):
    task = asyncio.ensure_future(fail(text))
    await asyncio.sleep(0.01)
    del task
    gc.collect()
asyncio.run(main())
"""
  done = subprocess.run([sys.executable, '-c', code], cwd=runs.ROOT, capture_output=True, text=True, check=True)
  assert 'os_error_code' not in done.stderr and 'another failure' in done.stderr


def _stopped(config, folder, monkeypatch, at):
  """Runs until step `at`, and dies there."""
  real = recorder.Recorder.step

  def dying(self, phase, position, state, count, tick):
    real(self, phase, position, state, count, tick)
    if self._step >= at:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(recorder.Recorder, 'step', dying)
    with pytest.raises(KeyboardInterrupt):
      runs.fit(config, folder)


def test_a_truncated_checkpoint_falls_back_to_the_one_before_and_says_so(data, tmp_path, monkeypatch, caplog):
  config = runs.recipe(data, checkpoint__every='2 steps')
  runs.fit(config, tmp_path / 'whole')
  folder = tmp_path / 'w'
  _stopped(config, folder, monkeypatch, 8)
  steps = sorted(int(p.name) for p in (folder / 'checkpoints').iterdir())
  assert steps == [6, 8]
  for path in (folder / 'checkpoints/8').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with caplog.at_level(logging.INFO, 'noisyjax'):
    runs.fit(config, folder)
  said = [r.getMessage() for r in caplog.records]
  assert any('checkpoint 8 cannot be read' in s and 'falling back to the one before' in s for s in said)
  assert any('goes on from step 6' in s for s in said)
  assert checkpoint.Checkpoints(folder / 'checkpoints', 2).record(8)  # written anew
  runs.assert_same(runs.outputs(folder), runs.outputs(tmp_path / 'whole'))


def test_when_no_checkpoint_can_be_read_nothing_is_thrown_away(data, tmp_path, monkeypatch):
  config = runs.recipe(data, checkpoint__every='2 steps', checkpoint__keep=1)
  folder = tmp_path / 'w'
  _stopped(config, folder, monkeypatch, 7)
  for path in (folder / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  lines = (folder / 'metrics.jsonl').read_text()
  with pytest.raises(UserError, match=r'none of the checkpoints \[6\] can be read'):
    runs.fit(config, folder)
  assert (folder / 'checkpoints' / '6').exists() and (folder / 'metrics.jsonl').read_text() == lines


def test_a_run_does_not_go_on_with_other_data_under_the_same_name(tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  config = runs.recipe(path, checkpoint__every='2 steps')
  _stopped(config, tmp_path / 'w', monkeypatch, 8)
  labels = runs.arrays()['labels']
  labels[0] = (labels[0] + 1) % 3
  runs.npz(path, labels=labels)
  with pytest.raises(UserError, match=r'the data here are not those the run began with[\s\S]*the given labels differ'):
    runs.fit(config, tmp_path / 'w')


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(data, tmp_path):
  config = runs.recipe(data, optim__lr=2e9, checkpoint__every='1 steps', epochs=20)
  with pytest.raises(UserError) as error:
    runs.fit(config, tmp_path / 'w')
  text = str(error.value)
  assert 'not finite at step' in text and '(looked at after steps ' in text and 'smaller optim.lr' in text
  assert not (tmp_path / 'w/result.json').exists()
  found = sorted(int(p.name) for p in (tmp_path / 'w/checkpoints').iterdir())
  bad = int(text.split('at step ')[1].split(' ')[0])
  assert found and max(found) == bad - 1
  # The kept state is made of numbers, and the same command stops at the same place.
  with pytest.raises(UserError, match=f'not finite at step {bad} '):
    runs.fit(config, tmp_path / 'w')


def test_an_epoch_that_diverged_leaves_no_line_and_no_checkpoint(data, tmp_path):
  with pytest.raises(UserError, match='the loss is not finite at step'):
    runs.fit(runs.recipe(data, optim__lr=2e9, steps_per_epoch=30), tmp_path / 'w')
  assert not (tmp_path / 'w/metrics.jsonl').exists() and not list((tmp_path / 'w/checkpoints').iterdir())
  runs.fit(runs.recipe(data, optim__lr=0.1), tmp_path / 'w')  # nothing is there to hold the folder


def test_parameters_that_are_not_finite_after_the_last_step_are_not_a_result(data, tmp_path, monkeypatch):
  real = recorder.Recorder.epoch

  def spoilt(self, phase, position, state, record):
    params = {**state.params, 'net': {**state.params['net']}}
    params['net']['head'] = {k: v * np.nan for k, v in params['net']['head'].items()}
    real(self, phase, position, state.replace(params=params), record)

  monkeypatch.setattr(recorder.Recorder, 'epoch', spoilt)
  with pytest.raises(UserError, match='the parameters are not finite at step 9'):
    runs.fit(runs.recipe(data), tmp_path / 'w')


# Early stopping, and what the method was told.


def test_early_stopping_ends_the_run_and_needs_validation(data, tmp_path):
  result = runs.fit(runs.recipe(data, stop__patience=1, optim__lr=0.0, epochs=5), tmp_path / 'w')
  assert result['epochs'] == 2  # the second epoch is no better
  with pytest.raises(UserError, match=r'stop\.patience: 1 needs validation rows, and data\.val is empty'):
    runs.fit(runs.recipe(data, stop__patience=1, data__val=''), tmp_path / 'v')


@pytest.mark.parametrize(
  ('overrides', 'told'),
  [
    ({}, []),
    ({'strategy__name': 'co_teaching'}, ['noise rate']),
    ({'strategy__name': 'clean_correction'}, ['24 verified labels']),
    ({'rows': 'trusted', 'labels': 'verified'}, ['24 verified labels']),
    ({'rows': 'untrusted'}, ['24 verified labels']),
    (
      {'strategy__name': 'forward', 'strategy__forward__matrix': ((0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))},
      ['transition matrix'],
    ),
    ({'strategy__name': 'loss_filter', 'strategy__loss_filter__rate': 0.4}, ['noise rate']),
    ({'strategy__name': 'loss_filter', 'strategy__loss_filter__rate': -1.0}, []),
    ({'data__val': '96:97,100:101,104:105', 'data__val_labels': 'verified'}, ['3 verified validation labels']),
  ],
)
def test_the_result_says_what_the_method_was_told(data, overrides, told):
  config = runs.recipe(data, **overrides)
  prepared, _ = prepare.prepare(config)
  assert results.knowledge(Plan.of(config), prepared) == told


def test_what_training_saw_of_a_row_is_averaged_over_its_visits():
  column = lambda *values: np.array(values).reshape(2, 1)  # of two networks, one row
  seen = dynamics.new(2, 1).replace(
    visits=column(1, 3),
    loss=column(2.0, 4.0),
    confidence=column(0.5, 0.7),
    square=column(0.2, 0.36),
    margin=column(1.0, 7.0),
    correct=column(1, 2),
    forgotten=column(0, 2),
    learned=column(1, 2),
    chosen=column(True, False),
  )
  targets = SimpleNamespace(label=np.array([1]), weight=np.ones(1))
  table = samples.dynamics_table(SimpleNamespace(dynamics=seen, targets=targets), np.ones(1, bool))
  names = (
    'count',
    'mean_loss',
    'mean_confidence',
    'std_confidence',
    'mean_margin',
    'correct',
    'forgotten',
    'learned',
    'chosen',
  )
  np.testing.assert_allclose([table[n][0] for n in names], [4, 1.5, 0.3, 0.05**0.5, 2.0, 3, 2, 1.5, 0.5], rtol=1e-6)


def test_a_run_counts_the_training_rows_that_have_no_label(tmp_path):
  data = runs.arrays()
  data['labels'][:5] = -1
  data['labels'][runs.TRAIN + runs.VAL] = -1  # a test row
  prepared, _ = prepare.prepare(runs.recipe(runs.npz(tmp_path / 'data.npz', **data)))
  assert prepared.record['rows'] == {
    'train': 96,
    'val': 32,
    'trusted': 24,
    'unlabeled': int((prepared.train.given < 0).sum()),
  }
  assert 0 < prepared.record['rows']['unlabeled'] <= 5
