"""Changes of the true labels and the test images change nothing except the audit, bit for bit."""

import numpy as np
import pyarrow.parquet
import pytest

import runs
from noisyjax.data import prepare
from noisyjax.system import storage

TEST = slice(runs.TRAIN + runs.VAL, None)
STRATEGIES = {
  'naive': {'select': 'best'},
  'co_teaching': {'strategy__name': 'co_teaching'},
  'clean_correction': {'strategy__name': 'clean_correction', 'batch_size': 24, 'epochs': 4},
  'loss_filter': {'strategy__name': 'loss_filter', 'strategy__loss_filter__warmup': 1.0, 'schedule__name': 'plateau'},
}


def changed(name: str) -> dict[str, np.ndarray]:
  """What becomes of the data; the training and validation rows as they reach a method stay."""
  data = runs.arrays()
  order = np.random.default_rng(1).permutation(runs.TEST)
  if name == 'truth poisoned':
    return {'true': (data['true'] + 1) % 3}
  if name == 'truth unknown':
    return {'true': np.where(np.arange(len(data['true'])) < runs.TRAIN + runs.VAL, -1, data['true'])}
  for key in {'test images shuffled': ['images'], 'test relabeled': ['labels', 'true', 'verified']}[name]:
    data[key][TEST] = data[key][TEST][order]
  return data


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


@pytest.fixture(scope='module', params=STRATEGIES)
def honest(request, tmp_path_factory):
  """A run on the data as they are: its overrides, folder and outputs."""
  overrides, folder = STRATEGIES[request.param], tmp_path_factory.mktemp('honest')
  with pytest.MonkeyPatch.context() as patch:
    runs.fit(runs.recipe(runs.npz(folder / 'data.npz'), **overrides), folder / 'w', patch)
  return overrides, folder / 'w', runs.outputs(folder / 'w')


@pytest.mark.parametrize('change', ['truth poisoned', 'truth unknown', 'test images shuffled', 'test relabeled'])
def test_no_test_image_and_no_true_label_reaches_a_run(honest, tmp_path, change):
  overrides, folder, expected = honest
  path = runs.npz(tmp_path / 'data.npz', **changed(change))
  runs.fit(runs.recipe(path, **overrides), tmp_path / 'w')
  runs.assert_same(expected, runs.outputs(tmp_path / 'w'))
  # The change is one: what may differ, does.
  assert runs.lines(folder, 'audit.jsonl') != runs.lines(tmp_path / 'w', 'audit.jsonl')


def test_target_accuracy_is_of_rows_that_nobody_verified(honest):
  _, folder, _ = honest
  rows = pyarrow.parquet.read_table(folder / 'samples.parquet').to_pandas().query('split == "train"')
  truth = runs.arrays()['true'][rows.row]
  mine = (rows.label >= 0) & (rows.verified < 0)
  found = storage.read_json(folder / 'result.json')['audit']['target_accuracy']
  assert found == pytest.approx((rows.label == truth)[mine].mean()) != (rows.label == truth).mean()


def test_without_test_images_a_run_is_the_same_and_scores_nothing(honest, tmp_path):
  overrides, _, expected = honest
  data = runs.arrays()
  path = runs.npz(tmp_path / 'data.npz', **{k: v[: TEST.start] for k, v in data.items() if k != 'classes'})
  runs.fit(runs.recipe(path, data__test='', **overrides), tmp_path / 'w')
  runs.assert_same(expected, runs.outputs(tmp_path / 'w'))
  result = storage.read_json(tmp_path / 'w/result.json')
  assert result['audit']['test_rows'] == 0 and 'oracle' not in result['audit'] and 'report' not in result['audit']
  assert not any('test_accuracy' in line for line in runs.lines(tmp_path / 'w', 'audit.jsonl'))


@pytest.mark.parametrize('kind', ['symmetric', 'pair', 'instance', 'asymmetric'])
def test_what_a_run_is_told_of_injected_noise_does_not_depend_on_the_test_rows(tmp_path, kind):
  found = []
  for name, test in (('whole', '128:168'), ('other', '128:168'), ('none', '')):
    data = runs.arrays()
    if name == 'other':
      data['labels'][TEST] = (data['labels'][TEST] + 1) % 3
    path = runs.npz(tmp_path / f'{name}.npz', **data)
    config = runs.recipe(path, noise__kind=kind, noise__map=((0, 1),), data__test=test)
    prepared, _ = prepare.prepare(config)
    found.append((prepared.record, prepared.train.given.tolist(), prepared.validation[1].tolist()))
  assert found[0] == found[1] == found[2]
  assert found[0][0]['noise']['requested'] == 0.5 and 'realised' not in found[0][0]['noise']


def test_the_parts_of_a_run_hold_no_truth(tmp_path):
  """The truth is not in reach of the code that trains: no array of it among what a strategy or a recorder is given."""
  data = runs.arrays()
  prepared, audit = prepare.prepare(runs.recipe(runs.npz(tmp_path / 'data.npz')))
  assert set(vars(prepared.train)) == {'images', 'given', 'verified', 'classes', 'features', 'weight', 'status'}
  for value in (prepared.train.given, prepared.validation[1], prepared.data.given):
    assert (value != data['true'][: len(value)]).any()
  np.testing.assert_array_equal(audit.truth, data['true'])
  assert len(prepared.rows) + len(prepared.val_rows) + len(audit.test_rows) == len(data['true'])
