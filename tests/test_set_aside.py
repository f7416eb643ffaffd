"""Training rows that are set aside, labels that are kept back, and test rows that stay closed."""

import numpy as np
import pytest

import runs
from noisyjax.config.defaults import get_config
from noisyjax.config.override import override
from noisyjax.data.prepare import prepare
from noisyjax.data.training import Status
from noisyjax.loop import first_version
from noisyjax.system import parquet
from noisyjax.system.errors import UserError
from small_tables import ANNA


def config(**fields):
  made = get_config()
  override(made, {f'data.{name}': value for name, value in fields.items()}, 'test')
  return made


@pytest.fixture
def rows_file(tmp_path):
  def write(rows, name='hold.txt'):
    (tmp_path / name).write_text(''.join(f'{row}\n' for row in rows))
    return f'@{tmp_path / name}'

  return write


def test_held_rows_reach_neither_parameters_nor_the_prediction_of_others(tmp_path, rows_file, monkeypatch):
  held = np.arange(0, runs.TRAIN, 3)
  labels, images = runs.arrays()['labels'], runs.arrays()['images']
  poisoned = labels.copy()
  poisoned[held] = (labels[held] + 1) % 3
  fields = {'data__hold': rows_file(held), 'data__val': ''}
  one, other = (
    runs.fit(runs.recipe(runs.npz(tmp_path / f'{i}.npz', labels=given), **fields), tmp_path / f'run{i}', monkeypatch)
    for i, given in enumerate((labels, poisoned))
  )
  assert one['data']['rows']['held'] == len(held) and other['data']['rows']['unlabeled'] == 0
  for name, value in runs.weights(tmp_path / 'run0').items():
    np.testing.assert_array_equal(value, runs.weights(tmp_path / 'run1')[name], name)
  probs = [parquet.read(tmp_path / f'run{i}' / 'samples.parquet')[0]['probs'] for i in range(2)]
  np.testing.assert_array_equal(*probs)
  seen = images.copy()
  seen[held] = seen[held][:, ::-1]
  third = runs.npz(tmp_path / '2.npz', images=seen)
  runs.fit(runs.recipe(third, **fields), tmp_path / 'run2', monkeypatch)
  for name, value in runs.weights(tmp_path / 'run0').items():
    np.testing.assert_array_equal(value, runs.weights(tmp_path / 'run2')[name], name)
  whole = runs.fit(runs.recipe(tmp_path / '0.npz', data__val=''), tmp_path / 'whole', monkeypatch)
  assert whole['data']['fingerprint'] != one['data']['fingerprint']


def test_a_run_on_other_held_rows_is_another_run(tmp_path, rows_file, monkeypatch):
  path, fields = runs.npz(tmp_path / 'data.npz'), {'data__hold': rows_file([0, 1, 2])}
  runs.fit(runs.recipe(path, **fields), tmp_path / 'run', monkeypatch)
  rows_file([0, 1, 3])
  with pytest.raises(UserError, match='the data here are not those'):
    runs.fit(runs.recipe(path, **fields), tmp_path / 'run', monkeypatch)


def test_samples_hold_the_probabilities_of_the_selected_networks(tmp_path, monkeypatch):
  runs.fit(runs.recipe(runs.npz(tmp_path / 'data.npz')), tmp_path / 'run', monkeypatch)
  columns, _ = parquet.read(tmp_path / 'run' / 'samples.parquet')
  assert columns['probs'].shape == (runs.TRAIN + runs.VAL, 3) and columns['probs'].dtype == np.float32
  np.testing.assert_array_equal(columns['probs'].argmax(1), columns['predicted'])
  np.testing.assert_array_equal(columns['probs'].max(1), columns['confidence'])


def test_labels_are_kept_by_class_and_leave_validation_and_test_rows_alone():
  whole, few = prepare(config())[0], prepare(config(labeled=100))[0]
  assert np.bincount(few.train.given[few.train.given >= 0]).tolist() == [10] * 10
  assert few.record['rows']['unlabeled'] == len(few.rows) - 100
  kept = few.train.given >= 0
  assert np.array_equal(few.train.given[kept], whole.train.given[kept])
  assert np.array_equal(few.validation[1], whole.validation[1]) and np.array_equal(few.rows, whole.rows)
  other = prepare(config(labeled=100, seed=1))[0]
  assert not np.array_equal(few.data.given, other.data.given)


def test_a_table_knows_no_label_that_is_kept_back(tmp_path):
  table = first_version.of_config(config(labeled=100, val=''), tmp_path / 't', ANNA)
  train = table.rows.split == 0
  assert (table.rows.given_label[train] >= 0).sum() == 100 == (table.rows.label[train] >= 0).sum()


def test_an_empty_test_part_leaves_the_test_rows_of_a_table_closed(tmp_path):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  at = f'{table.folder}@{table.version.name[:16]}'
  (closed, shut), (_, opened) = prepare(config(table=at, test='')), prepare(config(table=at))
  assert shut.test is None and len(opened.test_rows) == 359
  assert set(closed.train.status.tolist()) == {Status.LABELED}


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'hold': '0.1'}, "data.hold: found '0.1', a fraction; expected index ranges"),
    ({'hold': '0:1797'}, 'data.train: all 0 rows are unlabeled|leaves no rows'),
    ({'hold': '0:9999'}, 'data.hold: .* reaches outside the data'),
    ({'labeled': 5000}, 'data.labeled: found 5000; expected at most 1294, the training rows with a label'),
  ],
)
def test_what_cannot_be_set_aside_is_named(fields, message):
  with pytest.raises(UserError, match=message):
    prepare(config(**fields))


def test_rows_that_do_not_train_are_noted(rows_file):
  (test_row,) = prepare(config())[1].test_rows[:1]
  notes = prepare(config(hold=rows_file([test_row])))[0].notes
  assert any('1 of its 1 rows do not train anyway' in note for note in notes)
