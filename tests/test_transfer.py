"""A version for other programs and back, read by the real readers: pandas, Hugging Face's datasets, cleanlab."""

import csv
import io

import numpy as np
import pandas
import pytest
from cleanlab.classification import CleanLearning
from PIL import Image
from sklearn.linear_model import LogisticRegression

from noisyjax.loop import first_version, transfer
from noisyjax.system.errors import UserError
from noisyjax.tables import rows, store, verify
from noisyjax.tables.decisions import Decision
from small_tables import ANNA, BOB, made, says


@pytest.fixture
def table(tmp_path):
  """A table of class folders in parts, one row relabeled, one dropped, one with a name that a spreadsheet would run."""
  random = np.random.default_rng(0)
  for i in range(16):
    place = (
      tmp_path
      / 'images'
      / ('train', 'train', 'train', 'val')[i // 4]
      / ('cat', 'dog', 'undefined')[i % 3 if i < 12 else i % 2]
    )
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(place / f'{"=" * (i == 0)}{i}.png')
  found = first_version.of_files(str(tmp_path / 'images'), '', tmp_path / 't', ANNA, {})
  train = np.flatnonzero((found.rows.split == rows.TRAIN) & (found.rows.label == 0)).tolist()
  found.decide(
    ANNA, [says(found, train[0], 'label', 'dog', reason='a, "quoted" reason'), says(found, train[1], 'drop')]
  )
  found.commit('two rows', ANNA)
  return found


def root(table: store.Table) -> str:
  return table.facts['source']['images']


FORMATS = {'csv': 'o.csv', 'parquet': 'o.parquet', 'imagefolder': 'o', 'hf': 'o'}


@pytest.mark.parametrize('to', FORMATS)
def test_what_goes_out_comes_back_without_a_change(table, tmp_path, to):
  out = tmp_path / FORMATS[to]
  said = transfer.export(table.version, to, out, root(table))
  assert ('1 dropped or held' in said) == (to in ('imagefolder', 'hf'))
  with pytest.raises(UserError, match='nothing to commit'):
    transfer.bring(table, to, str(out), 'back', ANNA)


@pytest.mark.parametrize(
  'save', [str.encode, lambda text: text.encode('utf-8-sig'), lambda text: text.encode('utf-16')]
)
@pytest.mark.parametrize('separator', [',', ';', '\t'])
def test_a_spreadsheet_may_save_what_comes_back(table, tmp_path, save, separator):
  transfer.export(table.version, 'csv', tmp_path / 'o.csv', '')
  lines = list(csv.reader(io.StringIO((tmp_path / 'o.csv').read_text())))
  at = lines[0].index('label')
  lines[1][at] = {'cat': 'dog', 'dog': 'cat'}[lines[1][at]]
  text = '\r\n'.join(separator.join(f'"{cell}"'.replace('"quoted"', '""quoted""') for cell in line) for line in lines)
  (tmp_path / 'o.csv').write_bytes(save(f'{text}\r\n\r\n'))
  made = transfer.bring(table, 'csv', str(tmp_path / 'o.csv'), 'back', ANNA)
  assert [(change['action'], change['rows']) for change in made.manifest['changes']] == [('relabel', 1)]


@pytest.mark.parametrize('to', ['csv', 'parquet'])
def test_pandas_reads_edits_and_writes(table, tmp_path, to):
  out = tmp_path / FORMATS[to]
  transfer.export(table.version, to, out, '')
  frame = pandas.read_csv(out) if to == 'csv' else pandas.read_parquet(out)
  assert frame['status'].value_counts().to_dict() == {'labeled': 11, 'unlabeled': 4, 'dropped': 1}
  unlabeled = frame.index[frame['status'] == 'unlabeled'][0]
  frame.loc[unlabeled, ['status', 'label']] = ['labeled', 'cat']
  write = frame.to_csv if to == 'csv' else frame.to_parquet
  write(out, index=False)
  version = transfer.bring(table, to, str(out), 'by pandas', ANNA)
  assert version.manifest['changes'] == [{'action': 'promote', 'from': '-', 'to': 'cat', 'rows': 1}]
  assert version.rows.by[unlabeled] == ANNA and list(verify.verify(table.folder))


def test_hugging_face_datasets_reads_both_folders_and_writes_what_comes_back(table, tmp_path, monkeypatch):
  monkeypatch.setenv('HF_DATASETS_OFFLINE', '1')
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  datasets = pytest.importorskip('datasets')
  datasets.disable_progress_bars()
  for to in ('hf', 'imagefolder'):
    transfer.export(table.version, to, tmp_path / to, root(table))
  found = datasets.load_dataset(str(tmp_path / 'hf'), cache_dir=str(tmp_path / 'cache'))
  train, names = found['train'], found['train'].features['label'].names
  assert names == ['cat', 'dog'] and (len(train), len(found['validation'])) == (11, 4)
  place = {id: i for i, id in enumerate(table.rows.id.tolist())}
  assert [table.rows.label[place[id]] for id in train['id']] == train['label']
  with Image.open(tmp_path / 'images' / train['name'][0]) as image:
    assert np.array_equal(np.asarray(image), np.asarray(train[0]['image']))
  folder = datasets.load_dataset(
    'imagefolder', data_dir=str(tmp_path / 'imagefolder'), cache_dir=str(tmp_path / 'cache')
  )
  assert folder['train'].num_rows == 11 and sorted(folder['train']['id']) == sorted(train['id'])

  def named(row):
    return {'status': 'labeled', 'label': 1} if row['status'] == 'unlabeled' else {}

  train.map(named).to_parquet(str(tmp_path / 'hf' / 'data' / 'train-00000-of-00001.parquet'))
  version = transfer.bring(table, 'hf', str(tmp_path / 'hf'), 'by datasets', ANNA)
  assert version.manifest['changes'] == [{'action': 'promote', 'from': '-', 'to': 'dog', 'rows': 4}]


def test_cleanlab_takes_its_columns_and_its_issues_come_back(tmp_path):
  first, random = made(tmp_path / 'a', 42), np.random.default_rng(0)
  first.decide('rule:x', [says(first, place, 'label', 'eel') for place in (1, 2)])
  first.decide(ANNA, [says(first, 5, 'drop')])
  first.commit('three rows', ANNA)
  transfer.export(first.version, 'cleanlab', tmp_path / 'o.csv', '')
  frame = pandas.read_csv(tmp_path / 'o.csv')
  assert {'is_label_issue', 'label_quality', 'given_label', 'predicted_label'} <= set(frame)
  assert frame['is_label_issue'].sum() == 3
  given = frame['given_label'].to_numpy()
  learner = CleanLearning(LogisticRegression(), seed=0)
  learner.fit(random.normal(size=(len(frame), 2)) + given[:, None], given, label_issues=frame)
  assert learner.get_label_issues()['is_label_issue'].sum() == 3
  again = made(tmp_path / 'b', 42)
  version = transfer.bring(again, 'cleanlab', str(tmp_path / 'o.csv'), 'by cleanlab', ANNA)
  assert version.rows.label[[1, 2, 5]].tolist() == [2, 2, -1] and version.manifest['edits'] == 3
  assert version.rows.by[1] == transfer.CLEANLAB


def changed(table, tmp_path, change):
  out = tmp_path / 'o.csv'
  transfer.export(table.version, 'csv', out, '')
  frame = pandas.read_csv(out)
  change(frame).to_csv(out, index=False)
  return lambda: transfer.bring(table, 'csv', str(out), 'm', ANNA)


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda f: f.drop(columns='weight'), 'has no column weight'),
    (lambda f: f.assign(id='x' + f['id']), '12 ids are not in this table: .* of another table'),
    (lambda f: pandas.concat([f, f[:1]]), 'an id has several rows'),
    (lambda f: f.assign(label=['cat'] + ['emu'] * 11), r"o\.csv: 1\.png: label: value: unknown value 'emu'"),
    (lambda f: f.assign(weight='much'), r'0\.png: weight: .*expected a number'),
    (lambda f: f.assign(weight=0), 'its weight is not a finite number above 0'),
    (lambda f: f.assign(status='unlabeled'), 'has a label and is not labeled'),
    (lambda f: f.assign(given_label='cat'), 'its given labels are not those of this table'),
    (lambda f: f.assign(weight=2.0), 'would change 1 test rows'),
  ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
  table = made(tmp_path / 't')
  with pytest.raises(UserError, match=message):
    changed(table, tmp_path, change)()
  assert table.version.name == store.Table(tmp_path / 't').version.name


@pytest.mark.parametrize('to', FORMATS)
def test_a_row_that_changed_since_it_was_written_is_not_changed_back(table, tmp_path, to):
  out = tmp_path / FORMATS[to]
  transfer.export(table.version, to, out, root(table))
  first = table.rows.version.tolist().index('')
  table.decide(BOB, [says(table, first, 'drop')])
  dropped = table.commit('of another', BOB)
  with pytest.raises(UserError, match=f'1 rows that would change have changed since .*{table.rows.name[first]}'):
    transfer.bring(table, to, str(out), 'back', ANNA)
  assert table.version.name == dropped.name
  if to == 'csv':  # rows that nobody else changed are taken
    lines = [line for line in csv.reader(out.open()) if line[0] != table.rows.id[first]]
    own = next(line for line in lines if 'unlabeled' in line)
    own[lines[0].index('status')], own[lines[0].index('label')] = 'labeled', 'cat'
    out.write_text('\n'.join(','.join(f'"{cell}"'.replace('"quoted"', '""quoted""') for cell in row) for row in lines))
    assert transfer.bring(table, to, str(out), 'mine', ANNA).manifest['edits'] == 1


@pytest.mark.parametrize('action', ['drop', 'hold', 'unlabel'])
def test_an_issue_of_cleanlab_brings_no_row_back_that_a_person_took_out(tmp_path, action):
  table = made(tmp_path / 't')
  transfer.export(table.version, 'cleanlab', tmp_path / 'o.csv', '')
  frame = pandas.read_csv(tmp_path / 'o.csv')
  frame['is_label_issue'], frame['predicted_label'] = True, (frame['given_label'] + 1) % 3
  frame[frame['id'].isin(table.rows.id[[1, 2]])].to_csv(tmp_path / 'o.csv', index=False)
  table.decide(BOB, [says(table, 1, action)])
  table.commit('out', BOB)
  version = transfer.bring(table, 'cleanlab', str(tmp_path / 'o.csv'), 'issues', ANNA)
  assert version.manifest['edits'] == 1
  assert version.rows.by[[1, 2]].tolist() == [BOB, transfer.CLEANLAB] and version.rows.label[1] == -1


@pytest.mark.parametrize('name', ['../../up', 'HERE/up', 'a/b', '.', '..', 'undefined', 'metadata.csv'])
def test_a_class_that_names_no_folder_of_its_own_is_written_nowhere(tmp_path, name):
  name = name.replace('HERE', str(tmp_path))
  Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
  table = store.create(
    tmp_path / 't', rows.first(['0'], ['a.png'], np.array([1]), ['cat', name]), ['cat', name], ANNA, {}
  )
  before = sorted(tmp_path.rglob('*'))
  with pytest.raises(UserError, match='cannot have a folder of its own; expected --to=hf'):
    transfer.export(table.version, 'imagefolder', tmp_path / 'x' / 'y', str(tmp_path))
  assert sorted(tmp_path.rglob('*')) == before
  transfer.export(table.version, 'hf', tmp_path / 'hf', str(tmp_path))
  with pytest.raises(UserError, match='nothing to commit'):
    transfer.bring(table, 'hf', str(tmp_path / 'hf'), 'back', ANNA)


def test_names_that_are_equal_without_folders_name_different_files(tmp_path):
  names = ['x/a.png', 'y/a.png', 'x__a.png']
  for i, name in enumerate(names):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    Image.new('RGB', (4, 4), (i, 0, 0)).save(tmp_path / name)
  first = rows.first(['0', '1', '2'], names, np.zeros(3, np.int32), ['cat'])
  table = store.create(tmp_path / 't', first, ['cat'], ANNA, {})
  transfer.export(table.version, 'imagefolder', tmp_path / 'o', str(tmp_path))
  written = sorted((tmp_path / 'o').rglob('*.png'))
  assert sorted(path.read_bytes() for path in written) == sorted((tmp_path / name).read_bytes() for name in names)
  with pytest.raises(UserError, match='nothing to commit'):
    transfer.bring(table, 'imagefolder', str(tmp_path / 'o'), 'back', ANNA)


def test_images_that_are_no_files_or_gone_are_named(table, tmp_path):
  with pytest.raises(UserError, match='--images: missing'):
    transfer.export(made(tmp_path / 'b').version, 'hf', tmp_path / 'x', '')
  (tmp_path / 'images' / 'train' / 'dog' / '1.png').unlink()
  with pytest.raises(UserError, match=r'has no image .train/dog/1\.png. \(1 of 11 are gone\)'):
    transfer.export(table.version, 'imagefolder', tmp_path / 'x', root(table))
  transfer.export(table.version, 'csv', tmp_path / 'o.csv', '')
  table.decide(ANNA, [Decision(str(table.rows.id[0]), 'hold')])
  with pytest.raises(UserError, match='1 decisions are not committed; commit or undo them first'):
    transfer.bring(table, 'csv', str(tmp_path / 'o.csv'), 'm', ANNA)


def test_decisions_that_change_no_row_do_not_wait(table, tmp_path):
  transfer.export(table.version, 'csv', tmp_path / 'o.csv', '')
  text = (tmp_path / 'o.csv').read_text()
  relabeled = table.rows.by.tolist().index(ANNA)
  again = says(table, relabeled, 'label', table.classes[table.rows.label[relabeled]])
  table.decide(ANNA, [again])  # the same file of decisions a second time
  (tmp_path / 'o.csv').write_text(text.replace('unlabeled,,', 'labeled,dog,', 1))
  assert transfer.bring(table, 'csv', str(tmp_path / 'o.csv'), 'm', ANNA).manifest['status']['labeled'] == 12


@pytest.mark.parametrize(
  'line, message',
  [
    ('01aa,True,3', '01aa'),
    ('{id},True,3', "predicted_label: found '3'; expected the number of a class, 0 to 2, or -1"),
  ],
)
def test_a_bad_row_from_cleanlab_is_named(tmp_path, line, message):
  table = made(tmp_path / 't')
  text = line.replace('{id}', str(table.rows.id[1]))
  (tmp_path / 'o.csv').write_text(f'id,is_label_issue,predicted_label\n{text}\n')
  with pytest.raises(UserError, match=message):
    transfer.bring(table, 'cleanlab', str(tmp_path / 'o.csv'), 'm', ANNA)
