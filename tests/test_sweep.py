"""Sweeps: what their tables call a setting, and who is held out of a fold."""

import numpy as np
import pytest

import runs
from noisyjax import run
from noisyjax.data import prepare
from noisyjax.errors import Diverged, UserError
from noisyjax.experiments import sweep


def fake(config, folder):
  """A result that tells its settings by its accuracy."""
  accuracy = config.noise.rate if config.noise.kind != 'none' else config.noise.seed / 10
  return {'strategy': 'naive', 'model': 'dense', 'seed': config.seed, 'data': {}, 'audit': {'last': accuracy}}


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

  def watch(config, folder):
    prepared, _ = prepare.prepare(config)
    seen.append((set(prepared.rows.tolist()), set(prepared.val_rows.tolist())))
    return {'validation': {'labels': 'verified', 'rows': len(prepared.val_rows), 'last': 0.5, 'best': 0.5}}

  monkeypatch.setattr(run, 'run', watch)
  config = runs.recipe(path, data__train='0:128', data__val_labels='verified')
  sweep.kfold(config, 3, str(tmp_path))
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
  def fail_at_a_high_rate(config, folder, command=None):
    if config.optim.lr > 1:
      raise Diverged(f'{folder}: the loss is not finite at step 3.')
    return {'strategy': 'naive', 'model': 'dense', 'seed': config.seed, 'audit': {'last': 0.5}, 'seconds': 1.0}

  monkeypatch.setattr(run, 'run', fail_at_a_high_rate)
  points = list(sweep.grid(['optim.lr=0.1,30.0,0.01']))
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

  def own(config, folder):
    held.extend(map(int, (folder / 'held.txt').read_text().split()))
    prepare.prepare(config)  # refuses what has no label
    return {'validation': {'labels': 'given', 'rows': 1, 'last': 0.5, 'best': 0.5}}

  monkeypatch.setattr(run, 'run', own)
  config = runs.recipe(runs.npz(tmp_path / 'data.npz', **data), data__val='')
  sweep.kfold(config, 3, str(tmp_path / 'folds'))
  assert sorted(held) == [row for row in range(96) if row % 5]
