"""Finished work is reused if its config and data are unchanged; otherwise it is refused or repeated."""

import json
import logging
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import noisyjax
import runs
from noisyjax.analysis import file_issues, out_of_fold
from noisyjax.data import prepare
from noisyjax.experiments import grid, kfold, sweep
from noisyjax.reports import report
from noisyjax.reports.record import read
from noisyjax.runs import checkpoint, in_memory, result as result_of_run, run
from noisyjax.runs.identity import Stale
from noisyjax.system import formats, seal, storage, version
from noisyjax.system.errors import UserError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


@pytest.fixture
def path(tmp_path):
  return runs.npz(tmp_path / 'data.npz')


def recipe(path, **overrides):
  """The histogram model: nothing is compiled."""
  return runs.recipe(path, model__name='histogram', **overrides)


def change(path, **changes):
  """Changes rows of the data: `given=[(row, label)]`, an array by its name; pixels of `images` are inverted."""
  arrays = dict(np.load(path))
  for name, rows in changes.items():
    arrays[name] = arrays[name].copy()
    for row in rows:
      arrays[name][row] = 255 - arrays[name][row] if name == 'images' else (arrays[name][row] + 1) % 3
  np.savez(path, **arrays)


def refused(call, *said: str) -> None:
  with pytest.raises(Stale) as error:
    call()
  for text in said:
    assert text in str(error.value), (text, str(error.value))


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    ({'labels': [0, 3, 100]}, ["given labels: 3 of 128 rows differ, first '0' "]),
    ({'images': [5]}, ["images: 1 of 128 rows differ, first '5'"]),
    ({'verified': [8]}, ["verified labels: 1 of 128 rows differ, first '8' "]),
    ({'images': [130], 'true': [131, 132]}, ['test images: 1 of 40 rows', 'labels of the test rows: 2 of 40 rows']),
    ({'true': [1, 2]}, ["true labels of the training rows: 2 of 96 rows differ, first '1' "]),
  ],
)
def test_a_run_finished_on_other_data_is_refused_with_what_differs(path, tmp_path, changes, said):
  config, folder = recipe(path), tmp_path / 'w'
  result = run.run(config, folder)
  assert run.run(config, folder) == result
  change(path, **changes)
  before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
  refused(lambda: run.run(config, folder), 'the data here are not those the run began with', '--rerun', *said)
  assert {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()} == before
  again = run.run(config, folder, rerun=True)
  assert (again['data'], again['audit']) != (result['data'], result['audit'])
  assert run.run(config, folder) == run.run(config, folder, rerun=True) == again  # of today: it stays


def test_rows_that_moved_from_part_to_part_came_or_went_are_counted(path, tmp_path):
  held = tmp_path / 'val.txt'
  held.write_text('\n'.join(map(str, range(96, 128))))
  config = recipe(path, data__train='0:128', data__val=f'@{held}')
  run.run(config, tmp_path / 'w')
  held.write_text('\n'.join(map(str, range(90, 128))))
  refused(lambda: run.run(config, tmp_path / 'w'), "splits: 6 of 128 rows differ, first '90' train → val")
  held.write_text('\n'.join(map(str, range(96, 128))))
  arrays = dict(np.load(path))
  arrays |= {k: v[:-1] for k, v in arrays.items() if k != 'classes'}
  np.savez(path, **arrays | {'classes': np.array(['ant', 'bee', 'cow'])})
  config.data.test, config.data.train = '', '0:120'
  with pytest.raises(Stale, match=r"another config[\s\S]*data.test: '128:168' → ''"):
    run.run(config, tmp_path / 'w')


def test_a_run_of_another_config_is_run_anew_only_on_request(path, tmp_path):
  first = run.run(recipe(path), tmp_path / 'w')
  other = recipe(path, data__val='96:120')
  refused(lambda: run.run(other, tmp_path / 'w'), "data.val: '96:128' → '96:120'", '--rerun')
  assert run.run(recipe(path), tmp_path / 'w') == first
  assert run.run(other, tmp_path / 'w', rerun=True)['data']['rows']['val'] == 24


def test_data_that_cannot_be_read_spoil_no_finished_run(path, tmp_path):
  config, folder = recipe(path), tmp_path / 'w'
  run.run(config, folder)
  path.write_bytes(b'')
  for rerun in (False, True):
    with pytest.raises(UserError, match=r'data\.npz'):
      run.run(config, folder, rerun=rerun)
  assert (folder / 'result.json').exists()


def test_a_run_by_other_code_is_believed_with_a_warning_and_marked(path, tmp_path, caplog, monkeypatch):
  config, folder = recipe(path), tmp_path / 'w'
  result = run.run(config, folder)
  assert version.source() in result['code']
  monkeypatch.setattr(version, 'source', lambda: 'c0ffee')
  with caplog.at_level(logging.WARNING, 'noisyjax'):
    assert run.run(config, folder) == result
  assert 'was run by other code (source ' in caplog.text and '→ c0ffee); --rerun' in caplog.text
  new = run.run(recipe(path, seed=1), tmp_path / 'new')
  monkeypatch.setattr(version, 'code_today', lambda: result['code'])
  text = str(report.table([result, new], ('seed',)))
  assert '| 1 † ' in text and '| 0 ' in text and f'† by other code than {result["code"]}: {new["code"]}.' in text
  assert 'c0ffee' in run.run(config, folder, rerun=True)['code']


def test_without_config_json_a_run_is_not_gone_on_with(path, tmp_path):
  config, folder = recipe(path), tmp_path / 'w'
  run.run(config, folder)
  (folder / 'config.json').unlink()
  refused(lambda: run.run(config, folder), 'holds a run, but no config.json', '--rerun')
  (folder / 'result.json').unlink()
  refused(lambda: run.run(config, folder), 'holds a run, but no config.json')
  run.run(config, folder, rerun=True)
  run.run(config, folder)


def test_an_interrupted_run_of_other_data_begins_anew_on_request(path, tmp_path, monkeypatch):
  config, folder = recipe(path), tmp_path / 'w'
  with monkeypatch.context() as patch:
    patch.setattr(result_of_run, 'summarized', lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
      run.run(config, folder)
  change(path, labels=[0])
  refused(lambda: run.run(config, folder), 'the given labels differ')
  run.run(config, folder, rerun=True)


@pytest.mark.parametrize('number', [-1, 99, 'x', True])
def test_another_format_is_refused_by_name(path, tmp_path, number):
  config, folder = recipe(path), tmp_path / 'w'
  run.run(config, folder)
  for name in ('config.json', 'environment.json', 'result.json', 'model.json'):
    assert storage.read_json(folder / name)['format'] == 1
  file = folder / 'config.json'
  storage.write_json(file, storage.read_json(file) | {'format': number})
  said = rf'config\.json: written by an? (older|newer) noisyjax, format {number!r}; this version reads formats 0 to 1'
  for call in (lambda: run.run(config, folder), lambda: noisyjax.load(folder), lambda: report.compare([folder])):
    with pytest.raises(UserError, match=said):
      call()


def test_a_run_from_before_the_formats_is_read(path, tmp_path):
  """Format 0: no numbers, no seals, no fingerprint of what scores."""
  config, folder = recipe(path), tmp_path / 'w'
  result = run.run(config, folder)
  arrays = dict(np.load(folder / 'weights.npz'))
  np.savez(folder / 'weights.npz', **{k: v for k, v in arrays.items() if k != 'seal'})
  for name in ('config.json', 'environment.json', 'result.json', 'model.json'):
    content = storage.read_json(folder / name)
    del content['format'], content['seal']
    for lately in ('source', 'data') if name == 'environment.json' else ('code', 'files'):
      content.pop(lately, None)
    if name == 'result.json':
      content['audit'] = {k: v for k, v in content['audit'].items() if k not in ('fingerprint', 'source')}
    storage.write_json(folder / name, content)
  old = run.run(config, folder)
  assert old['audit']['last'] == result['audit']['last'] and noisyjax.load(folder).classes == runs.CLASSES
  change(path, labels=[1])
  refused(lambda: run.run(config, folder), 'given labels: 1 of 128 rows differ')


def test_a_file_of_another_program_lacks_a_field_by_name(path, tmp_path):
  config, folder = recipe(path), tmp_path / 'w'
  run.run(config, folder)
  storage.write_json(folder / 'result.json', {'accuracy': 0.9})
  for call in (lambda: run.run(config, folder), lambda: noisyjax.load(folder), lambda: report.compare([folder])):
    with pytest.raises(UserError, match=r"result\.json: has no field '\w+'; expected a file that noisyjax wrote"):
      call()


@pytest.mark.parametrize('change', ['number', 'key', 'type', 'seal'])
@pytest.mark.parametrize('name', ['config.json', 'environment.json', 'result.json', 'model.json'])
def test_a_json_file_that_is_not_what_was_written_is_refused(path, tmp_path, name, change):
  config, folder = recipe(path), tmp_path / 'w'
  run.run(config, folder)
  content = storage.read_json(folder / name)
  key = next(k for k, value in content.items() if k not in ('format', 'seal') and isinstance(value, dict | list | str))
  if change == 'number':
    content = json.loads(re.sub('[1-8]', '9', json.dumps(content | {'format': None}))) | {'format': content['format']}
  elif change == 'key':
    del content[key]
  elif change == 'type':
    content[key] = 10**40
  else:
    del content['seal'], content[key]
  storage.write_json(folder / name, content)
  readers = {'environment.json': lambda: run.run(config, folder), 'model.json': lambda: noisyjax.load(folder)}
  with pytest.raises(UserError, match=rf'{name}: the file was damaged or edited after it was written'):
    readers.get(name, lambda: report.compare([folder]))()


@pytest.mark.parametrize('name', run.SEALED)
def test_a_log_or_table_that_is_not_what_was_written_is_refused(path, tmp_path, name):
  run.run(recipe(path, data__test='0.2'), tmp_path / 'w')
  record = read(tmp_path / 'w')
  assert record.metrics and record.audit and record.scored
  content = bytearray((tmp_path / 'w' / name).read_bytes())
  digit = next(m.start() for m in re.finditer(rb'[0-9]', content))
  content[digit] ^= 1  # a valid log of another number
  (tmp_path / 'w' / name).write_bytes(content)
  record = read(tmp_path / 'w')
  with pytest.raises(UserError, match=f'{name}: was changed or damaged after the run wrote it'):
    _ = record.metrics, record.audit, record.samples, record.truth
  (tmp_path / 'w' / name).unlink()
  with pytest.raises(UserError, match=f'{name}: cannot read'):
    _ = record.metrics, record.audit, record.samples, record.truth


# Weights and checkpoints.


def test_weights_of_another_run_or_beside_changed_facts_are_refused(path, tmp_path):
  for seed in range(2):
    run.run(recipe(path, seed=seed), tmp_path / str(seed))
  shutil.copy(tmp_path / '1/weights.npz', tmp_path / '0/weights.npz')
  with pytest.raises(UserError, match=r'config\.json: is not the one that the weights beside it were written with'):
    noisyjax.load(tmp_path / '0')
  model = formats.read_json(formats.RUN, tmp_path / '1/model.json')
  formats.write_json(formats.RUN, tmp_path / '1/model.json', model | {'classes': ['bee', 'ant', 'cat']})
  with pytest.raises(UserError, match=r'model\.json: is not the one'):
    noisyjax.load(tmp_path / '1')


def test_changed_numbers_in_an_npz_of_weights_are_refused(path, tmp_path):
  run.run(recipe(path), tmp_path / 'w')
  file = tmp_path / 'w/weights.npz'
  arrays = dict(np.load(file))
  arrays['coef'].view(np.uint64)[0, 0] ^= 1  # one bit, and a zip whose checksums are right
  np.savez(file, **arrays)
  with pytest.raises(UserError, match=r'weights\.npz: no readable weights: the content is not what was written'):
    noisyjax.load(tmp_path / 'w')


def test_a_flipped_bit_anywhere_in_weights_changes_no_prediction_without_a_word(path, tmp_path):
  folder = tmp_path / 'w'
  run.run(runs.recipe(path, epochs=1), folder)
  images = np.load(path)['images']
  expected = noisyjax.load(folder).probs(images)
  rng, refusals = np.random.default_rng(0), 0
  files = [p for p in (folder / 'weights/best').rglob('*') if p.is_file() and p.stat().st_size]
  for _ in range(25):
    file = files[rng.integers(len(files))]
    content = file.read_bytes()
    bit = int(rng.integers(8 * len(content)))
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    file.write_bytes(flipped)
    try:
      np.testing.assert_array_equal(noisyjax.load(folder).probs(images), expected, f'{file} {bit}')
    except UserError as error:
      assert 'weights/best' in str(error)
      refusals += 1
    file.write_bytes(content)
  assert refusals  # of 25, when a bit in 2.5 matters


def test_a_seal_breaks_with_any_array_name_type_shape_or_fact():
  arrays = {'a': np.arange(6, dtype=np.float32), 'b': np.zeros((), bool), 'c': np.zeros((0, 3))}
  sealed = seal.sealed('weights', arrays, {'data': 'f00'})
  assert seal.opened('weights', dict(reversed(arrays.items())), sealed, 'here') == {'data': 'f00'}
  for bad in (
    arrays | {'a': arrays['a'].reshape(2, 3)},
    arrays | {'a': arrays['a'].view(np.int32)},
    {**arrays, 'd': arrays['b']},
    arrays | {'b': np.ones((), bool)},
    {'a': arrays['a'], 'c': arrays['c']},
  ):
    with pytest.raises(ValueError, match='not what was written'):
      seal.opened('weights', bad, sealed, 'here')
  with pytest.raises(ValueError, match='not what was written'):
    seal.opened('weights', arrays, sealed | {'data': 'bee'}, 'here')
  with pytest.raises(ValueError, match='not what was written'):
    seal.opened('weights', arrays, {k: v for k, v in sealed.items() if k != 'sha256'}, 'here')


def test_a_checkpoint_with_a_changed_bit_is_passed_over_by_name(tmp_path, caplog):
  state = {'a': np.arange(20_000, dtype=np.float32), 'b': np.zeros((), np.int32)}
  kept = checkpoint.Checkpoints(tmp_path / 'c', 2)
  for step in (1, 2):
    kept.save(step, state | {'b': np.int32(step)}, {'seconds': 0.5 * step})
  real = seal.sealed
  with pytest.MonkeyPatch.context() as patch:  # a bit changed on its way to the disk: every checksum below is right
    patch.setattr(seal, 'sealed', lambda kind, arrays, facts: real(kind, arrays | {"['b']": np.int32(7)}, facts))
    kept.save(3, state, {})
  with caplog.at_level(logging.WARNING, 'noisyjax'):
    found, record = kept.latest(lambda record: state)
  assert 'checkpoint 3 cannot be read (the content is not what was written' in caplog.text
  assert int(found['b']) == 2 and record == {'seconds': 1.0}
  assert kept.record(2)['format'] == formats.WRITTEN[formats.CHECKPOINT]


# Sweeps and folds.


def test_a_point_finished_on_other_data_stops_a_sweep_before_anything_runs(path, tmp_path):
  config, folder = recipe(path), tmp_path / 'w'
  sweep.sweep(config, list(grid.grid(['seed=0,1'])), str(folder))
  change(path, labels=range(0, 120, 2))
  points = list(grid.grid(['seed=2,0,1']))
  said = ('2 of 3 points are of other data or another config', 'seed=0, seed=1', 'given labels: 60 of 128 rows differ')
  refused(lambda: sweep.sweep(config, points, str(folder)), *said)
  assert not (folder / 'seed=2').exists()
  results, table = sweep.sweep(config, points, str(folder), rerun=True)
  assert len({r['data']['fingerprint'] for r in results}) == 1 and '± 0.00 (3)' in table


def test_points_that_share_their_data_load_them_once(path, tmp_path, monkeypatch):
  calls = []
  real = prepare.prepare
  monkeypatch.setattr(prepare, 'prepare', lambda config: calls.append(1) or real(config))
  points = list(grid.grid(['seed=0,1,2']))
  sweep.sweep(recipe(path), points, str(tmp_path / 'w'))
  sweep.sweep(recipe(path), points, str(tmp_path / 'w'))
  assert len(calls) == 2


def test_folds_of_other_data_are_refused_and_their_rows_left_alone(path, tmp_path):
  config, folder = recipe(path, data__train='0:128', data__val=''), tmp_path / 'w'
  first, _ = kfold.kfold(config, 3, str(folder))
  before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
  for rows in ([0], range(0, 120, 2)):  # the same division, and another one
    change(path, labels=rows)
    refused(lambda: kfold.kfold(config, 3, str(folder)), 'fold=0: the data here', 'given labels: ')
    assert {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()} == before
  refused(lambda: kfold.kfold(config, 4, str(folder)), 'fold=0: ')
  second, _ = kfold.kfold(config, 3, str(folder), rerun=True)
  assert all(a['data']['fingerprint'] != b['data']['fingerprint'] for a, b in zip(first, second))
  assert kfold.kfold(config, 3, str(folder))[0] == second


def test_runs_of_other_data_share_no_row_of_a_table(path, tmp_path):
  for seed in range(3):
    run.run(recipe(path, seed=seed), tmp_path / str(seed))
    if seed == 1:
      change(path, labels=range(0, 120, 2))
  text = report.compare([tmp_path / str(seed) for seed in range(3)])
  rows = [line for line in text.splitlines() if line.startswith('| naive')]
  assert len(rows) == 2 and '(2)' in rows[0] and '(1)' in rows[1] and 'data seen' in text


# find.


@pytest.fixture
def photos(tmp_path):
  """36 PNGs of two classes, and their labels."""
  rng = np.random.default_rng(0)
  (tmp_path / 'images').mkdir()
  for i in range(36):
    Image.fromarray(rng.integers(0, 100, (8, 8), np.uint8) + 120 * (i % 2)).save(tmp_path / f'images/{i:02d}.png')
  (tmp_path / 'labels.csv').write_text('image,label\n' + ''.join(f'{i:02d}.png,{"ab"[i % 2]}\n' for i in range(36)))
  return tmp_path


def search(photos, folder='issues', **arguments):
  config = in_memory.recipe()
  config.model.name, config.mixup, config.data.cache, config.data.size = 'histogram', 0.0, False, 8
  for field in ('data_seed',):
    config.data.seed = arguments.pop(field, 0)
  return file_issues.find_files(
    str(photos / 'images'), str(photos / 'labels.csv'), photos / folder, config=config, folds=3, **arguments
  )[0]


def test_a_finished_search_is_not_trained_again_and_ends_the_same(photos, monkeypatch):
  search(photos)
  before = {p.name: p.read_bytes() for p in (photos / 'issues').iterdir()}
  assert {'find.json', 'find.parquet', 'issues.csv', 'issues.html', 'probs.npy', 'lock'} == before.keys()
  with monkeypatch.context() as patch:
    patch.setattr(out_of_fold, '_held_out', lambda *arguments: pytest.fail('it trained again'))
    search(photos)
    search(photos, rerun=True)
  assert {p.name: p.read_bytes() for p in (photos / 'issues').iterdir()} == before


def test_issues_of_other_data_or_another_config_are_refused_or_found_anew(photos):
  search(photos)
  refused(lambda: search(photos, data_seed=1), 'found with another config', 'data.seed: 0 → 1', '--rerun')
  labels = (photos / 'labels.csv').read_text()
  (photos / 'labels.csv').write_text(labels.replace('00.png,a', '00.png,b'))
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(photos / 'images/35.png')
  (photos / 'images/01.png').unlink()
  (photos / 'labels.csv').write_text((photos / 'labels.csv').read_text().replace('01.png,b\n', ''))
  refused(
    lambda: search(photos),
    'holds issues of other data',
    'images: 1 of 36 are gone, 0 are new',
    "images: 1 of 35 rows differ, first '35.png'",
    "given labels: 1 of 35 rows differ, first '00.png' a → b",
  )
  found = search(photos, rerun=True)
  assert len(found.row) == 35 and len((photos / 'issues/issues.csv').read_text().splitlines()) == 36
  search(photos)


def test_issues_without_find_json_or_with_changed_probabilities_are_not_believed(photos):
  search(photos)
  content = bytearray((photos / 'issues/probs.npy').read_bytes())
  content[-1] ^= 1
  (photos / 'issues/probs.npy').write_bytes(content)
  refused(lambda: search(photos), 'probs.npy was changed or damaged after it was written')
  (photos / 'issues/find.json').unlink()
  refused(lambda: search(photos), 'holds issues.csv, but no find.json')
  search(photos, rerun=True)
  path = photos / 'issues/find.json'
  storage.write_json(path, storage.read_json(path) | {'format': 7})
  with pytest.raises(UserError, match=r'find\.json: written by a newer noisyjax, format 7'):
    search(photos)


def test_a_search_that_died_begins_anew_and_keeps_nothing_of_before(photos, monkeypatch):
  search(photos)
  (photos / 'labels.csv').write_text((photos / 'labels.csv').read_text().replace('00.png,a', '00.png,b'))
  with monkeypatch.context() as patch:
    patch.setattr(file_issues, 'to_html', lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
      search(photos, rerun=True)
  assert not (photos / 'issues/probs.npy').exists()
  found = search(photos)  # the same command goes on, without --rerun
  assert found.given[found.row == 0] == 1
