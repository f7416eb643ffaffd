"""`analyze`: the selected checkpoint, nulls, in-sample and out-of-fold evidence, adoption; no test row and no truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

import runs
from noisyjax.analysis import analysis_file, analyze, duplicates, noise_estimate, predicted
from noisyjax.estimate import confident
from noisyjax.loop import first_version
from noisyjax.runs import identity, predict, selected
from noisyjax.system import formats, parquet
from noisyjax.system.errors import UserError
from noisyjax.tables import rows
from noisyjax.tables.decisions import Decision
from small_tables import ANNA

UNLABELED = slice(0, 96, 6)


def data(path: Path) -> Path:
  """Writes data with unlabeled rows, an exact copy under another label, and a copy of a training row in validation."""
  arrays = runs.arrays()
  arrays['labels'][UNLABELED] = -1
  arrays['verified'][UNLABELED] = -1
  arrays['images'][40] = arrays['images'][31]
  arrays['labels'][[31, 40]] = 0, 1
  arrays['images'][100] = arrays['images'][21]
  np.savez(path, **arrays)
  return path


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
  """A run whose best epoch by validation is not its last."""
  folder = tmp_path_factory.mktemp('analyze')
  config = runs.recipe(data(folder / 'data.npz'), select='best', epochs=4, optim__lr=0.4)
  patch = pytest.MonkeyPatch()
  result = runs.fit(config, folder / 'run', patch)
  patch.undo()
  assert result['best_epoch'] < 4
  return folder / 'run'


@pytest.fixture(scope='module')
def analysis(run) -> analysis_file.Analysis:
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(duplicates, 'embedding_pairs', lambda *near: np.array([[0, 1]]))
    return analysis_file.read(analyze.analyze(run, analyze.Settings(folds=3)))


def test_the_networks_are_those_that_the_run_reports(run, analysis):
  images = np.load(run.parent / 'data.npz')['images'][analysis['row']]
  best, last = (predict.load(run, select).probs(images) for select in ('best', 'last'))
  probs = np.load(run / 'analysis' / 'best.probs.npy')
  np.testing.assert_allclose(probs, best, atol=1e-6)
  assert np.abs(best - last).max() > 0.01
  assert analysis.notes['checkpoint'] == 'best' and len(analysis.notes['checkpoint_sha256']) == 64
  np.testing.assert_array_equal(analysis['predicted'], best.argmax(1))


def test_one_row_for_each_training_and_validation_row_and_none_of_the_test_part(run, analysis):
  assert analysis['row'].tolist() == list(range(128))
  assert analysis['split'].tolist() == ['train'] * 96 + ['val'] * 32
  there, _ = parquet.read(run / 'samples.parquet')
  np.testing.assert_array_equal(analysis['digest'], there['id'])
  text = (run / 'analysis' / 'best.json').read_text()
  assert 'true' not in analysis.columns and '"accuracy' not in text and 'test' not in json.loads(text)['rows']


def test_what_needs_a_label_is_null_without_one(analysis):
  given = analysis['given']
  blank = np.arange(128) < 96
  blank &= np.arange(128) % 6 == 0
  for name in ('loss', 'margin', 'knn_agreement'):
    np.testing.assert_array_equal(analysis.known[name], ~blank, name)
  assert (given[blank] == -1).all() and (analysis['status'][blank] == 'unlabeled').all()
  train = np.arange(128) < 96
  for name in ('oof_loss', 'quality_self_confidence', 'issue_both'):
    np.testing.assert_array_equal(analysis.known[name], train & ~blank, name)
  np.testing.assert_array_equal(analysis.known['oof_predicted'], train)
  np.testing.assert_array_equal(analysis.known['aum'], train & ~blank)


def test_dynamics_are_those_of_the_visits(run, analysis):
  there, _ = parquet.read(run / 'samples.parquet')
  seen = there['count'] > 0
  assert analysis['visits'][seen].tolist() == [4] * seen.sum()  # epochs
  np.testing.assert_array_equal(analysis['aum'][seen], there['mean_margin'][seen].astype(np.float32))
  learned, mean, std = (analysis[name][seen] for name in ('learned', 'confidence_mean', 'confidence_std'))
  assert set(learned[np.isfinite(learned)].tolist()) <= {1, 2, 3, 4} and np.isfinite(learned).any()
  np.testing.assert_array_equal(np.isfinite(learned), there['correct'][seen] > 0)
  assert (std <= np.sqrt(mean * (1 - mean)) + 1e-3).all() and std.max() > 0.01


def test_evidence_is_in_sample_where_the_networks_saw_the_row_or_its_copy(analysis):
  expected = (np.arange(128) < 96) & (analysis['given'] >= 0)  # naive training uses no unlabeled row
  expected[100] = True  # the copy of a training row
  np.testing.assert_array_equal(analysis['in_sample'], expected)


def test_planted_duplicates_conflicts_and_leaks(run, analysis):
  group = analysis['duplicate_group']
  assert group[31] == group[40] == 31 and group[21] == group[100] == 21
  assert {31, 40} <= set(np.flatnonzero(analysis['duplicate_conflict']).tolist())
  assert {21, 100} <= set(np.flatnonzero(analysis['duplicate_crosses']).tolist())
  assert analysis['fold'][31] == analysis['fold'][40]  # duplicates share a fold
  # no pair by what the network learned: it draws different images of a class together
  assert set(analysis['duplicate_kind'][analysis.known['duplicate_kind']].tolist()) == {'exact'}
  assert analyze.summary(run / 'analysis' / 'best.parquet')['duplicates']['across_splits'] >= 1


def test_the_files_beside_the_table(run, analysis):
  beside = {p.name.split('.')[1]: np.load(p) for p in (run / 'analysis').glob('best.*.npy')}
  assert set(beside) == {'probs', 'oof', 'embeddings', 'neighbours'}
  assert beside['neighbours'].shape == (128, 10) and beside['embeddings'].shape[0] == 128
  oof = beside['oof'][:96]
  np.testing.assert_array_equal(analysis['oof_predicted'][:96], oof.argmax(1))
  given = analysis['given'][:96]
  found = np.asarray(confident.issues(oof, given, given >= 0, 'both'))
  np.testing.assert_array_equal(analysis['issue_both'][:96], found)
  noise = analyze.summary(run / 'analysis' / 'best.parquet')['noise']
  assert noise['labeled'] == 80 and 'upwards' in noise['bias'] and noise['corrected'] is None  # 16 verified rows


def test_true_labels_and_test_rows_change_nothing(run, analysis):
  path = run.parent / 'data.npz'
  arrays = dict(np.load(path))
  poisoned = arrays | {
    'true': (arrays['true'] + 1) % 3,
    'images': arrays['images'].copy(),
    'labels': arrays['labels'].copy(),
  }
  poisoned['images'][128:] = 255 - arrays['images'][128:]
  poisoned['labels'][128:] = 0
  try:
    np.savez(path, **poisoned)
    columns, _, extra = analyze._made(run, selected.load(run), analyze.Settings())
  finally:
    np.savez(path, **arrays)
  for name, values in columns.items():
    filled = np.ma.getdata(values)[analysis.known[name]].astype(analysis[name].dtype)
    np.testing.assert_array_equal(filled, analysis[name][analysis.known[name]], name)
  np.testing.assert_array_equal(extra['embeddings'], np.load(run / 'analysis' / 'best.embeddings.npy'))


def test_a_second_call_is_adopted_and_other_settings_are_refused(run, analysis, monkeypatch, caplog):
  path = run / 'analysis' / 'best.parquet'
  before = path.stat().st_mtime_ns
  monkeypatch.setattr(analyze, '_made', lambda *_: pytest.fail('it was made again'))
  assert analyze.analyze(run, analyze.Settings(folds=3)) == path and path.stat().st_mtime_ns == before
  with pytest.raises(identity.Stale, match=r'there → here: folds: 3 → 0\)') as error:
    analyze.analyze(run)
  assert '--rerun' in str(error.value)
  (run / 'analysis' / 'best.oof.npy').rename(run / 'oof')
  with pytest.raises(identity.Stale, match=r'best\.oof\.npy: was removed'):
    analyze.analyze(run, analyze.Settings(folds=3))
  (run / 'oof').rename(run / 'analysis' / 'best.oof.npy')


def test_an_interrupted_analysis_is_unfinished(run, analysis, monkeypatch, tmp_path):
  path = run / 'analysis' / 'last.parquet'
  monkeypatch.setattr(formats, 'write_json', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
  monkeypatch.setattr(analyze, '_made', lambda *_: ({'row': np.zeros(0)}, {}, {}))
  monkeypatch.setattr(analysis_file, 'write', lambda path, *_: path.write_bytes(b'half'))
  with pytest.raises(KeyboardInterrupt):
    analyze.analyze(run, select='last')
  assert not analyze.finished(path, {})
  path.unlink()


@pytest.mark.parametrize(
  'arguments, message',
  [
    ({'folds': 1}, 'folds: found 1; expected 2 or more, or 0'),
    ({'map': 'tsne'}, "map: unknown value 'tsne'"),
    ({'map_start': 'gone.parquet'}, 'gone.parquet'),
  ],
)
def test_invalid_settings(run, arguments, message):
  with pytest.raises(UserError, match=message):
    analyze.analyze(run, analyze.Settings(**arguments), rerun=True)
  assert (run / 'analysis' / 'best.json').exists()  # what was there is kept


def test_an_unfinished_run_is_refused(tmp_path):
  with pytest.raises(UserError, match='not a finished run'):
    analyze.analyze(tmp_path)
  assert not list(tmp_path.glob('analysis'))


def test_columns_of_probabilities():
  probs = np.array([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2], [np.nan] * 3, [1, 0, 0]])
  found = predicted.columns(probs, np.array([0, -1, 1, 1]))
  assert found['predicted'].tolist() == [1, 0, None, 0] and found['second'].tolist() == [0, 1, None, 1]
  assert found['loss'].mask.tolist() == [False, True, True, False] == found['margin'].mask.tolist()
  assert found['loss'][0] == pytest.approx(log_loss([0], probs[:1], labels=[0, 1, 2]))
  assert found['margin'][0] == pytest.approx(-0.5)
  assert found['entropy'][1] == pytest.approx(-(0.8 * np.log(0.4) + 0.2 * np.log(0.2))) and found['entropy'][3] == 0


def test_verified_rows_correct_the_noise_rate():
  """Networks that are wrong in 15 % of the rows: the plain rate is far too high, the corrected one is not."""
  rng = np.random.default_rng(0)
  count, classes = 4000, 4
  true = rng.integers(0, classes, count)
  given = np.where(rng.random(count) < 0.1, (true + rng.integers(1, classes, count)) % classes, true)
  sure = np.where(rng.random(count) < 0.15, (true + rng.integers(1, classes, count)) % classes, true)
  probs = np.full((count, classes), 0.05) + 0.8 * np.eye(classes)[sure]
  verified = np.where(rng.random(count) < 0.1, true, -1)
  found = noise_estimate.estimated(probs, given.astype(np.int32), verified.astype(np.int32))
  real = (given != true).mean()
  assert found['rate'] > real + 0.08
  low, high = found['corrected']['interval']
  assert low <= real <= high and high - low < 0.1
  assert abs(found['corrected']['rate'] - real) < 0.03


def test_a_run_on_a_label_table_keeps_its_statuses_and_names_its_rows(tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  table = first_version.of_config(runs.recipe(path), tmp_path / 't', ANNA)
  ids = table.rows.id[np.flatnonzero(table.rows.split == rows.TRAIN)[:4]].tolist()
  decided = [('unlabel', '', None), ('drop', '', None), ('hold', '', None), ('weight', '', 0.25)]
  table.decide(ANNA, [Decision(id, action, label, weight) for id, (action, label, weight) in zip(ids, decided)])
  table.commit('some', ANNA)
  version = table.version.name
  runs.fit(runs.recipe(path, data__table=f'{table.folder}@latest', epochs=1), tmp_path / 'run', monkeypatch)
  table.decide(ANNA, [Decision(ids[0], 'restore')])
  table.commit('what was the latest version is none any more', ANNA)
  found = analysis_file.read(analyze.analyze(tmp_path / 'run', analyze.Settings(folds=2)))
  at = [found['id'].tolist().index(id) for id in ids]
  assert found.notes['table'] == version and set(found['id'].tolist()) <= set(table.rows.id.tolist())
  assert found['status'][at].tolist() == ['unlabeled', 'dropped', 'held', 'labeled']
  assert found['weight'][at].tolist() == [1, 0, 0, 0.25] and found['given'][at[:3]].tolist() == [-1, -1, -1]
  assert found['in_sample'][at].tolist() == [False, False, False, True]
  assert found.known['oof_predicted'][at].tolist() == [True, False, False, True]
  assert not found.known['loss'][at[:3]].any() and found.known['confidence'].all()
