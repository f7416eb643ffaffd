"""Sweeps: names of settings in their tables, and rows held out of a fold."""

import numpy as np
import pytest

import runs
from noisyjax.config.check import plan_of
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import resolved
from noisyjax.data import prepare
from noisyjax.estimate.interval import wilson
from noisyjax.experiments import grid, kfold, rebuild, sweep
from noisyjax.runs import launch, run
from noisyjax.system import storage
from noisyjax.system.errors import Diverged, UserError


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
  """Text in pictures is slow: one test draws them."""
  if 'drawn' not in request.node.name:
    for name in ('comparison', 'axes'):
      monkeypatch.setattr(f'noisyjax.reports.pictures.{name}.draw', lambda *arguments: b'png')


def finish(config, folder, accuracy):
  """Writes the files of a finished run that a table is made of, and returns its result."""
  result = {'strategy': config.strategy.name, 'model': config.model.name, 'seed': config.seed, 'seconds': 1.0}
  result |= {
    'data': {'fingerprint': 'f00'},
    'audit': {'last': accuracy, 'selected': accuracy, 'test_rows': 9},
    'epochs': config.epochs,
  }
  folder.mkdir(parents=True, exist_ok=True)
  storage.write_json(folder / 'config.json', resolved(Plan.of(config)))
  storage.write_json(folder / 'result.json', result)
  for name in ('metrics.jsonl', 'audit.jsonl'):
    storage.JsonLines(folder / name).append({'epoch': 1, 'test_accuracy': accuracy})
  return result


def fake(plan, folder, **unused):
  """A result that tells its settings by its accuracy."""
  config = plan.config
  return finish(config, folder, config.noise.rate if config.noise.kind != 'none' else config.noise.seed / 10)


def test_settings_of_one_short_name_are_not_averaged_as_seeds(tmp_path, monkeypatch):
  data = runs.npz(tmp_path / 'data.npz')
  monkeypatch.setattr(run, 'run', fake)
  config = runs.recipe(data, noise__kind='symmetric')
  points = [{'noise.rate': r, 'strategy.loss_filter.rate': 0.5, 'seed': s} for r in (0.2, 0.5) for s in (0, 1)]
  _, text = sweep.sweep(config, points, str(tmp_path))
  rows = [line for line in text.splitlines() if '(2)' in line]
  assert len(rows) == 2 and '20.00 ± 0.00 (2)' in rows[0] and '50.00 ± 0.00 (2)' in rows[1]
  _, text = sweep.sweep(runs.recipe(data), [{'noise.seed': s} for s in (1, 2)], str(tmp_path))
  assert '10.00 (1)' in text and '20.00 (1)' in text  # another seed of the noise is not another seed of the run


def test_a_fold_trains_on_no_row_it_holds_out(tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  seen = []

  def watch(plan, folder, **unused):
    prepared, _ = prepare.prepare(plan.config)
    seen.append((set(prepared.rows.tolist()), set(prepared.val_rows.tolist())))
    return {'validation': {'labels': 'verified', 'rows': len(prepared.val_rows), 'last': 0.5, 'best': 0.5}}

  monkeypatch.setattr(run, 'run', watch)
  config = runs.recipe(path, data__train='0:128', data__val_labels='verified')
  kfold.kfold(config, 3, str(tmp_path))
  held = [h for _, h in seen]
  assert set.union(*held) == set(range(0, 128, 4))  # each verified row validates once
  kept = [k for k, _ in seen]
  assert sum(map(len, kept)) == 2 * 128  # a row that is held out trains nowhere else, whether verified or not
  assert all(not k & h for k, h in seen)


def test_noise_on_labels_with_a_known_truth_leaves_the_truth_alone(tmp_path):
  path = runs.npz(tmp_path / 'data.npz')
  config = runs.recipe(path)
  _, clean = prepare.prepare(config)
  config.noise.kind, config.noise.rate = 'symmetric', 0.5
  prepared, audit = prepare.prepare(config)
  np.testing.assert_array_equal(audit.truth, clean.truth)
  assert (prepared.data.given != audit.truth).mean() > 0.4


def test_a_point_that_fails_stops_no_other_and_the_table_has_the_rest(tmp_path, monkeypatch):
  def fail_at_a_high_rate(plan, folder, **unused):
    if plan.config.optim.lr > 1:
      raise Diverged(f'{folder}: the loss is not finite at step 3.')
    return finish(plan.config, folder, 0.5)

  monkeypatch.setattr(run, 'run', fail_at_a_high_rate)
  points = list(grid.grid(['optim.lr=0.1,30.0,0.01']))
  with pytest.raises(UserError, match=r'1 of 3 points diverged \(lr=30\.0\); .*table\.md has the others.*step 3'):
    sweep.sweep(runs.recipe(), points, str(tmp_path))
  table = (tmp_path / 'table.md').read_text()
  assert '0.01' in table and '0.1' in table and '30' not in table
  with pytest.raises(UserError, match='step 3'):
    sweep.sweep(runs.recipe(), points[1:2], str(tmp_path / 'alone'))


def test_folds_hold_out_no_row_that_cannot_be_scored(tmp_path, monkeypatch):
  data = runs.arrays()
  data['labels'][::5] = -1
  held = []

  def own(plan, folder, **unused):
    held.extend(map(int, (folder / 'held.txt').read_text().split()))
    prepare.prepare(plan.config)  # refuses what has no label
    return {'validation': {'labels': 'given', 'rows': 1, 'last': 0.5, 'best': 0.5}}

  monkeypatch.setattr(run, 'run', own)
  config = runs.recipe(runs.npz(tmp_path / 'data.npz', **data), data__val='')
  kfold.kfold(config, 3, str(tmp_path / 'folds'))
  assert sorted(held) == [row for row in range(96) if row % 5]


def row_of(table, first):
  return next(line for line in table.splitlines() if line.startswith(f'| {first} '))


def test_the_table_is_of_all_finished_runs_whenever_they_joined(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', fake)
  config = runs.recipe(noise__kind='symmetric')
  sweep.sweep(config, list(grid.grid(['noise.rate=0.2,0.4', 'seed=0,1'])), str(tmp_path))
  _, text = sweep.sweep(config, list(grid.grid(['noise.rate=0.4,0.1', 'seed=2'])), str(tmp_path))
  assert '20.00 ± 0.00 (2)' in row_of(text, '0.2') and '40.00 ± 0.00 (3)' in row_of(text, '0.4')
  assert '10.00 (1)' in row_of(text, '0.1')
  assert [line[2:5] for line in text.splitlines() if line.startswith('| 0')] == ['0.1', '0.2', '0.4']  # by number
  (tmp_path / 'table.md').unlink()
  assert str(rebuild.rebuild(tmp_path)) == text == (tmp_path / 'table.md').read_text()
  (tmp_path / 'rate=0.2,seed=1' / 'result.json').unlink()  # killed, or at work elsewhere
  assert '20.00 (1)' in row_of(str(rebuild.rebuild(tmp_path)), '0.2')
  (tmp_path / 'sweep.json').unlink()  # of runs that no sweep made
  assert '40.00 ± 0.00 (3)' in row_of(str(rebuild.rebuild(tmp_path)), '0.4')


def test_runs_of_other_data_are_never_averaged(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', fake)
  config = runs.recipe(noise__kind='symmetric')
  sweep.sweep(config, list(grid.grid(['seed=0,1,2'])), str(tmp_path))
  path = tmp_path / 'seed=1' / 'result.json'
  storage.write_json(path, storage.read_json(path) | {'data': {'fingerprint': 'beef1234ff'}})
  text = str(rebuild.rebuild(tmp_path))
  assert 'data seen' in text and '(2)' in row_of(text, 'naive') and '(3)' not in text
  assert 'beef1234' in text


def test_what_a_sweep_varies_is_no_unfair_comparison(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', fake)
  config = runs.recipe(noise__kind='symmetric')
  _, text = sweep.sweep(config, list(grid.grid(['epochs=1,3', 'noise.rate=0.2,0.4'])), str(tmp_path))
  assert 'Not equal' not in text
  for path in tmp_path.glob('*/result.json'):  # another machine is
    storage.write_json(path, storage.read_json(path) | {'device': path.parent.name})
  assert 'Not equal: device' in str(rebuild.rebuild(tmp_path))


def test_a_seed_that_the_noise_follows_is_no_axis(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', lambda plan, folder, **unused: finish(plan.config, folder, 0.5))
  points = [{'seed': s, 'optim.lr': lr} for s in range(2) for lr in (0.1, 0.2)]
  for s in range(2):
    config = runs.recipe(noise__kind='symmetric', noise__seed=s)
    _, text = sweep.sweep(config, [p for p in points if p['seed'] == s], str(tmp_path))
  assert '50.00 ± 0.00 (2)' in row_of(text, '0.1') and 'noise' not in text


def test_a_sweep_file_of_another_format_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', fake)
  storage.write_json(tmp_path / 'sweep.json', {'format': 99})
  with pytest.raises(UserError, match=r'sweep\.json: written by a newer noisyjax, format 99; this .* format 1'):
    sweep.sweep(runs.recipe(), [{'seed': 0}], str(tmp_path))


def test_a_fold_that_diverges_stops_no_other_and_keeps_its_number(tmp_path, monkeypatch):
  def fail_in_the_second(plan, folder, **unused):
    if folder.name == 'fold=1':
      raise Diverged(f'{folder}: the loss is not finite at step 3.')
    return {'validation': {'labels': 'given', 'rows': 40, 'last': 0.5, 'best': 0.5}}

  monkeypatch.setattr(run, 'run', fail_in_the_second)
  config = runs.recipe(runs.npz(tmp_path / 'data.npz'), data__val='')
  with pytest.raises(UserError, match=r'kfold: 1 of 3 folds diverged \(fold=1\); .*table\.md has the others.*step 3'):
    kfold.kfold(config, 3, str(tmp_path / 'folds'))
  table = (tmp_path / 'folds' / 'table.md').read_text()
  assert row_of(table, '0') and row_of(table, '2') and row_of(table, 'mean ± std (2)') and '| 1 ' not in table


def test_a_run_is_of_the_plan_it_is_given(tmp_path):
  config = runs.recipe(runs.npz(tmp_path / 'data.npz'), epochs=1)
  (result,) = launch.launch([launch.Job(plan_of(config), tmp_path / 'run')])
  assert result['epochs'] == 1 and result == run.run(config, tmp_path / 'run')


def fold(folder, held, last=0.5, source='f00', **fields):
  """Writes the files of a finished fold that holds out some rows."""
  result = finish(runs.recipe(data__val=f'@{folder}/held.txt', **fields), folder, 0.5)
  result['audit']['source'] = source
  validation = {'labels': 'given', 'rows': len(held), 'last': last, 'best': last}
  storage.write_json(folder / 'result.json', result | {'validation': validation})
  storage.write_text(folder / 'held.txt', ''.join(f'{row}\n' for row in held))


@pytest.mark.parametrize(
  ('other', 'said'),
  [
    ({'held': range(39, 80)}, 'holds out 1 rows that fold=0 holds out, too'),  # a copy, or of another division
    ({'epochs': 7}, r'has another config \(epochs: 3 → 7\)'),  # kfold --rerun was killed between two folds
    ({'source': 'bee'}, 'is of other data'),
  ],
)
def test_folds_of_two_cross_validations_share_no_mean(tmp_path, other, said):
  fold(tmp_path / 'fold=0', range(40))
  fold(tmp_path / 'fold=1', **{'held': range(40, 81)} | other)
  with pytest.raises(UserError, match=rf'fold=1: {said}; expected the folds of one cross-validation'):
    rebuild.rebuild(tmp_path)
  assert not (tmp_path / 'table.md').exists()


def test_folds_are_rebuilt_as_folds_with_the_interval_of_their_rows(tmp_path):
  fold(tmp_path / 'fold=0', range(40), 0.5)
  fold(tmp_path / 'fold=1', range(40, 81), 0.7)
  text = str(rebuild.rebuild(tmp_path))
  low, high = wilson(0.6 * 81, 81)
  assert f'60.00 ± 14.14 (2) [{100 * low:.2f}, {100 * high:.2f}]' in row_of(text, 'mean ± std (2)')
  assert (tmp_path / 'table.csv').exists() and (tmp_path / 'table.tex').exists()


def test_a_swept_number_is_drawn_and_a_picture_of_old_goes(tmp_path, monkeypatch):
  monkeypatch.setattr(run, 'run', fake)
  config = runs.recipe(noise__kind='symmetric')
  sweep.sweep(config, list(grid.grid(['noise.rate=0.2,0.4', 'seed=0,1'])), str(tmp_path))
  assert (tmp_path / 'axes.png').exists() and (tmp_path / 'comparison.png').exists()
  for path in tmp_path.glob('rate=0.4*/result.json'):
    path.unlink()
  rebuild.rebuild(tmp_path)
  assert not (tmp_path / 'axes.png').exists()  # one value is no axis


def test_the_table_of_folds_says_what_the_method_was_told(tmp_path):
  fold = {'validation': {'labels': 'given', 'rows': 10, 'last': 0.9, 'best': 0.9}}
  told = [['pretrained: ImageNet-1k'], ['pretrained: ImageNet-1k', 'noise rate']]
  results = {f'fold={i}': fold | {'knowledge': what} for i, what in enumerate(told)}
  assert 'Told: pretrained: ImageNet-1k; noise rate.' in str(kfold.table(results, tmp_path, False))
  assert 'Told' not in str(kfold.table({'fold=0': fold}, tmp_path, False))
