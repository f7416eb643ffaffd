"""Evidence from the analysis of a run: out-of-fold before the run's own networks; what does not belong is refused."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import runs
from noisyjax.analysis import analysis_file, analyze
from noisyjax.loop import first_version
from noisyjax.rules import apply, of_analysis, rule
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError
from noisyjax.tables.rows import TRAIN, UNLABELED
from small_tables import CLASSES, made

PROBS = np.random.default_rng(0).dirichlet([1, 1, 1], 12).astype(np.float32)
ASIDE = np.random.default_rng(1).dirichlet([1, 1, 1], 12).astype(np.float32)


@pytest.fixture
def table(tmp_path):
  """A table of 12 rows of which two validate and test, and an analysis of the other 11 in another order."""
  table = made(tmp_path / 't')
  written(table)
  return table


def written(of, folds: bool = True, **notes) -> None:
  folder, rows, order = of.folder.parent, of.rows, np.arange(10, -1, -1)
  ASIDE[[0, 10]] = np.nan  # an unlabeled row and the validation row have no fold
  arrays = {'probs': PROBS} | ({'oof': ASIDE} if folds else {})
  told = {
    'run': 'r',
    'checkpoint': 'best',
    'checkpoint_sha256': 'c',
    'data': 'd',
    'table': of.version.name,
    'classes': CLASSES,
  }
  split = np.where(rows.split == TRAIN, 'train', 'val')
  columns = {
    'row': np.arange(12),
    'id': rows.id,
    'digest': rows.id,
    'name': rows.name,
    'split': split,
    'status': np.where(rows.label >= 0, 'labeled', 'unlabeled'),
    'weight': rows.weight,
    'given': rows.label,
    'verified': rows.verified,
    'predicted': PROBS.argmax(1),
    'second': PROBS.argmin(1),
    'confidence': PROBS.max(1),
    'entropy': PROBS.max(1),
    'in_sample': (rows.label >= 0) & (rows.split == TRAIN),
    'duplicate_conflict': np.zeros(12, bool),
    'duplicate_crosses': np.zeros(12, bool),
    'cluster': np.ma.masked_equal(np.arange(12) - 3, 1),
  }
  for name, array in arrays.items():
    np.save(folder / f'best.{name}.npy', array[order])
  analysis_file.write(folder / 'best.parquet', {name: values[order] for name, values in columns.items()}, told | notes)
  files = {path.name: storage.sha256(path) for path in folder.glob('best.*.npy')}
  formats.write_json(formats.ANALYSIS, folder / 'best.json', {'files': files})


def test_rows_get_their_fold_or_else_networks_that_did_not_see_them(table):
  found = of_analysis.read(table.folder.parent / 'best.parquet', table.version)
  assert not found.in_sample and found.version == table.version.name
  assert_array_equal(found.probs[[0, 10]], PROBS[[0, 10]])
  assert_array_equal(found.probs[1:10], ASIDE[1:10])
  assert np.isnan(found.probs[11]).all()  # the test row
  assert found.columns['cluster'].tolist() == [-3, -2, -1, 0, -1, *range(2, 8), -1]
  assert set(found.columns) == {'cluster', 'duplicate_group'} and found.told['checkpoint_sha256'] == 'c'


def test_an_analysis_that_found_no_duplicates_says_so(table):
  found = of_analysis.read(table.folder.parent / 'best.parquet', table.version)
  assert not len(apply.dry_run(rule.parsed('drop_duplicates'), found, table.rows, CLASSES).proposed)


def test_without_folds_only_rows_that_were_not_trained_on_are_known_unless_asked_for(table):
  path = table.folder.parent / 'best.parquet'
  (table.folder.parent / 'best.oof.npy').unlink()
  written(table, folds=False)
  found = of_analysis.read(path, table.version)
  assert_array_equal(found.known, np.isin(np.arange(12), [0, 4, 8, 10]))
  every = of_analysis.read(path, table.version, in_sample=True)
  assert every.in_sample and every.known.sum() == 11
  with pytest.raises(UserError, match='in-sample'):
    apply.dry_run(rule.parsed('promote'), every, table.rows, CLASSES)


def test_columns_of_embeddings_that_learned_the_labels_of_their_rows_are_left_out(table, caplog):
  path = table.folder.parent / 'best.parquet'
  beside = path.with_suffix('.json')
  plain = formats.read_json(formats.ANALYSIS, beside)
  unseen = [0, 4, 8, 10]
  for kind, known in (('pretrained', range(11)), ('learned', unseen)):
    formats.write_json(formats.ANALYSIS, beside, plain | {'embedding': {'evidence': kind}})
    found = of_analysis.read(path, table.version).columns['cluster']
    every = of_analysis.read(path, table.version, in_sample=True).columns['cluster']
    place = [i for i in range(12) if i not in known]
    assert (found[place] == -1).all() and found[list(known)].tolist() == every[list(known)].tolist()
    assert every[:3].tolist() == [-3, -2, -1]
  assert 'left out for the 7 rows that the networks trained on' in caplog.text


@pytest.mark.parametrize(
  'notes, message',
  [
    ({'table': 'f' * 64}, 'is about the version ffffffffffff; expected one about'),
    ({'classes': ['a', 'b', 'c']}, 'has the classes a, b, c; expected cat, dog, eel'),
  ],
)
def test_an_analysis_of_something_else_is_refused(table, notes, message):
  written(table, **notes)
  with pytest.raises(UserError, match=message):
    of_analysis.read(table.folder.parent / 'best.parquet', table.version)


def test_a_run_without_a_table_must_have_had_the_same_labels(table):
  written(table, table='')
  path = table.folder.parent / 'best.parquet'
  assert of_analysis.read(path, table.version).known.any()
  label = table.rows.label.copy()
  label[[1, 2]] = 2
  other = table.version._replace(rows=dataclasses.replace(table.rows, label=label))
  with pytest.raises(UserError, match='2 of its rows had other labels'):
    of_analysis.read(path, other)


def test_a_changed_array_is_noticed(table):
  path = table.folder.parent / 'best.parquet'
  np.save(path.with_suffix('.oof.npy'), PROBS[:11])
  with pytest.raises(UserError, match=r'best.oof.npy: was changed'):
    of_analysis.read(path, table.version)


def test_a_rule_reads_the_analysis_of_a_run(tmp_path, monkeypatch):
  arrays = runs.arrays()
  arrays['labels'][:96:4] = arrays['verified'][:96:4] = -1
  np.savez(tmp_path / 'data.npz', **arrays)
  config = runs.recipe(tmp_path / 'data.npz', data__verified='')
  runs.fit(config, tmp_path / 'run', monkeypatch)
  table = first_version.of_config(config, tmp_path / 't', 'person:anna')
  path = analyze.analyze(tmp_path / 'run')
  found = of_analysis.read(path, table.version)
  asked = rule.build('promote', {'threshold': 0.0})
  done = apply.dry_run(asked, found, table.rows, table.classes)
  assert_array_equal(
    done.proposed.place, np.flatnonzero((table.rows.status == UNLABELED) & (table.rows.split == TRAIN))
  )
  analysis = analysis_file.read(path)
  place = table.rows.places(analysis['id'])
  unseen = ~analysis['in_sample']
  assert_allclose(found.confidence[place[unseen]], analysis['confidence'][unseen], atol=1e-6)
  assert_array_equal(found.predicted[place[unseen]], analysis['predicted'][unseen])
