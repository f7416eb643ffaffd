"""Training on a version of a label table, and the first version of a data set."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from noisyjax.analysis import analyze, file_issues
from noisyjax.config.defaults import get_config
from noisyjax.config.override import override
from noisyjax.data.prepare import prepare
from noisyjax.data.training import Status
from noisyjax.experiments import kfold
from noisyjax.loop import first_version
from noisyjax.reports import inspect
from noisyjax.runs import run
from noisyjax.system.errors import UserError
from noisyjax.tables import rows, store
from noisyjax.tables.decisions import Decision
from small_tables import ANNA


def config(**fields):
  made = get_config()
  override(made, {'noise.kind': 'symmetric', 'data.trusted': 0.1, **fields}, 'test')
  return made


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
  return first_version.of_config(config(), tmp_path_factory.mktemp('digits') / 't', ANNA)


def on(table: store.Table, **fields):
  return config(**{'data.table': f'{table.folder}@{table.version.name[:16]}', **fields})


def test_statuses_are_those_of_training_rows():
  assert [status.name.lower() for status in Status] == list(rows.STATUSES)


def test_a_first_version_trains_on_what_the_source_gives(digits):
  (with_table, audit), (without, plain) = prepare(on(digits)), prepare(config())
  for name in ('images', 'given', 'verified', 'weight', 'status'):
    assert np.array_equal(getattr(with_table.train, name), getattr(without.train, name)), name
  assert np.array_equal(with_table.rows, without.rows) and np.array_equal(with_table.val_rows, without.val_rows)
  assert np.array_equal(with_table.validation[1], without.validation[1])
  assert np.array_equal(audit.truth, plain.truth) and np.array_equal(audit.test[1], plain.test[1])
  assert with_table.record['table'] == {'folder': str(digits.folder), 'version': digits.version.name}
  assert 'table' not in without.record


def test_a_table_without_validation_rows_says_that_a_fraction_is_not_used(tmp_path):
  table = first_version.of_config(config(**{'data.val': '', 'data.test': ''}), tmp_path / 't', ANNA)
  notes = lambda **fields: ' '.join(prepare(on(table, **fields))[0].notes)
  assert "data.val: '0.2' is not used" in notes(**{'data.val': '0.2', 'data.test': ''})
  assert 'is not used' not in notes(**{'data.val': '', 'data.test': ''})


def test_rows_that_a_file_names_validate_with_the_table_that_was_made_of_them(tmp_path):
  (tmp_path / 'val.txt').write_text('\n'.join(map(str, range(0, 300, 3))))
  fields = {'data.val': f'@{tmp_path / "val.txt"}', 'data.test': '', 'data.labeled': 0}
  table = first_version.of_config(config(**fields), tmp_path / 't', ANNA)
  (with_table, _), (without, _) = prepare(on(table, **fields)), prepare(config(**fields))
  assert with_table.val_rows.tolist() == list(range(0, 300, 3)) == without.val_rows.tolist()
  assert np.array_equal(with_table.rows, without.rows)


def test_labels_weights_and_statuses_reach_the_training_rows(tmp_path):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  before = prepare(on(table))[0]
  train = np.flatnonzero(table.rows.split == rows.TRAIN)[:6]
  ids = table.rows.id[train].tolist()
  actions = [('label', '7', None), ('unlabel', '', None), ('drop', '', None), ('hold', '', None), ('weight', '', 0.25)]
  table.decide(ANNA, [Decision(id, action, label, weight) for id, (action, label, weight) in zip(ids, actions)])
  table.commit('some', ANNA)
  data = prepare(on(table))[0]
  row = {name: place for place, name in enumerate(data.data.names[data.rows].tolist())}
  at = [row[name] for name in table.rows.name[train].tolist()]
  found = data.train
  assert found.status[at].tolist() == [Status.LABELED, Status.UNLABELED, Status.DROPPED, Status.HELD, 0, 0]
  assert (found.given[at[0]], found.verified[at[0]]) == (7, 7)
  assert found.given[at[1:4]].tolist() == [-1, -1, -1]
  assert found.weight[at].tolist() == [1, 1, 0, 0, 0.25, 1]
  rest = np.setdiff1d(np.arange(len(found.given)), at[:5])
  assert np.array_equal(found.given[rest], before.train.given[rest])
  assert data.record['fingerprint'] != before.record['fingerprint']


def test_labels_that_score_test_rows_are_the_sources(tmp_path):
  clean = first_version.of_config(config(**{'noise.kind': 'none'}), tmp_path / 't', ANNA)
  data, audit = prepare(on(clean, **{'data.test_labels': 'given'}))
  assert np.array_equal(audit.test[1], prepare(config(**{'data.test_labels': 'given'}))[1].test[1])
  assert np.array_equal(data.train.given, audit.truth[data.rows])


def test_curated_rows_validate(tmp_path):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  place = int(np.flatnonzero(table.rows.split == rows.TRAIN)[0])
  table.decide(ANNA, [Decision(str(table.rows.id[place]), 'curate', '3')])
  before = prepare(on(table))[0]
  table.commit('curated', ANNA)
  after = prepare(on(table))[0]
  assert (len(after.val_rows), len(after.rows)) == (len(before.val_rows) + 1, len(before.rows) - 1)
  (new,) = np.setdiff1d(after.val_rows, before.val_rows)
  assert after.validation[1][after.val_rows == new].tolist() == [3]


@pytest.mark.parametrize('last', ['drop', 'hold', 'unlabel'])
def test_what_a_row_was_called_before_it_lost_its_label_reaches_nothing(tmp_path, last):
  found = []
  for name, actions in (('a', [last]), ('b', ['label', last])):
    table = first_version.of_config(config(), tmp_path / name, ANNA)
    ids = table.rows.id[np.flatnonzero(table.rows.split == rows.TRAIN)[:50]].tolist()
    for action in actions:
      table.decide(ANNA, [Decision(id, action, '0' if action == 'label' else '') for id in ids])
      table.commit(action, ANNA)
    found.append(prepare(on(table))[0].train)
  for field in dataclasses.fields(found[0]):
    assert np.array_equal(*(getattr(data, field.name) for data in found)), field.name


def test_a_run_records_the_version_that_latest_was(tmp_path):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  fields = {'model.name': 'histogram', 'data.table': f'{table.folder}@latest'}
  run.run(config(**fields), tmp_path / 'run')
  found = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert found['data']['table'] == {'folder': str(table.folder), 'version': table.version.name}
  table.decide(ANNA, [Decision(str(table.rows.id[np.flatnonzero(table.rows.split == rows.TRAIN)[0]]), 'drop')])
  table.commit('moved on', ANNA)
  with pytest.raises(UserError, match='the data here are not'):
    run.run(config(**fields), tmp_path / 'run')


def photos(folder, count: int = 8):
  random = np.random.default_rng(0)
  for i in range(count):
    place = folder / ('cat', 'dog')[i % 2]
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(place / f'{i}.png')
  return folder


def test_rows_are_known_by_their_files_and_copies_by_their_names_too(tmp_path):
  images = photos(tmp_path / 'images')
  (images / 'cat' / 'copy.png').write_bytes((images / 'cat' / '0.png').read_bytes())
  table = first_version.of_files(str(images), '', tmp_path / 't', ANNA, {})
  ids = dict(zip(table.rows.name.tolist(), table.rows.id.tolist()))
  assert len(ids['dog/1.png']) == 64 and ids['cat/copy.png'] == f'{ids["cat/0.png"][:64]}:cat/copy.png'
  assert set(table.rows.split.tolist()) == {rows.TRAIN} and table.classes == ['cat', 'dog']


def test_an_analysis_names_a_row_as_its_table_does_though_a_copy_joined_the_images_later(tmp_path):
  images = photos(tmp_path / 'images')
  table = first_version.of_files(str(images), '', tmp_path / 't', ANNA, {})
  (images / 'cat' / 'copy.png').write_bytes((images / 'cat' / '0.png').read_bytes())
  own = folder_config(images, table)
  prepared = prepare(own)[0]
  found = analyze._rows(prepared, own.data.table)
  of = dict(zip(table.rows.name.tolist(), table.rows.id.tolist()))
  assert len(of) == 8 and dict(zip(found['name'].tolist(), found['id'].tolist())) == of
  plain = analyze._rows(prepared)['id']
  assert (table.rows.places(plain) < 0).sum() == 1
  assert table.rows.name[table.rows.places_named(plain, found['name'])].tolist() == found['name'].tolist()


def folder_config(images, table):
  own = {'noise.kind': 'none', 'data.trusted': 0.0, 'data.source': 'folders', 'data.path': str(images), 'data.size': 8}
  return on(table, **own)


def test_a_table_of_other_images_or_classes_is_refused_and_new_images_are_noted(tmp_path, digits):
  images = photos(tmp_path / 'images')
  table = first_version.of_files(str(images), '', tmp_path / 't', ANNA, {})
  with pytest.raises(UserError, match=r'1,797 of the 1,797 rows .* The table belongs to another data set'):
    prepare(folder_config(images, digits))
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(images / 'cat' / 'new.png')
  data = prepare(folder_config(images, table))[0]
  assert len(data.rows) == 8 and any('1 images are not in' in note for note in data.notes)
  (images / 'cat' / '0.png').unlink()
  with pytest.raises(UserError, match=r'1 of the 8 rows .* such as cat/0\.png\. Expected all of them\. Restore'):
    prepare(folder_config(images, table))
  other = folder_config(images, table)
  other.data.classes = ('dog', 'cat')
  photos(images)
  with pytest.raises(UserError, match=r'has the classes cat, dog; the data have dog, cat'):
    prepare(other)


def test_a_version_must_be_named(digits):
  with pytest.raises(UserError, match=r'names no version; expected .*@latest'):
    prepare(config(**{'data.table': str(digits.folder)}))


def test_a_first_version_of_a_version_is_refused(digits, tmp_path):
  with pytest.raises(UserError, match='but table init does not work on a label table yet'):
    first_version.of_config(on(digits), tmp_path / 'x', ANNA)


def test_folds_are_of_the_labels_of_the_table(tmp_path, monkeypatch):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  train = np.flatnonzero(table.rows.split == rows.TRAIN)
  actions = [('label', '7'), ('unlabel', ''), ('drop', ''), ('hold', '')]
  ids = table.rows.id[train[: len(actions)]].tolist()
  table.decide(ANNA, [Decision(id, *action) for id, action in zip(ids, actions)])
  table.commit('some', ANNA)
  found = []
  monkeypatch.setattr(
    kfold.launch, 'launch', lambda jobs, engine: [found.append(prepare(job.plan.config)[0]) for job in jobs]
  )
  monkeypatch.setattr(kfold, 'concluded', lambda *_: None)
  kfold.kfold(on(table), 3, str(tmp_path / 'k'))
  name = lambda data, part: data.data.names[part].tolist()
  held = [row for data in found for row in name(data, data.val_rows)]
  assert sorted(held) == sorted(table.rows.name[train[table.rows.label[train] >= 0]].tolist())
  trained = Counter(row for data in found for row in name(data, data.rows))
  assert trained == dict.fromkeys(table.rows.name[train].tolist(), 2)  # also rows without a label: never in their fold
  for data in found:
    assert not np.intersect1d(data.rows, data.val_rows).size
    labels = dict(zip(name(data, data.val_rows), data.validation[1].tolist()))
    assert labels.get(table.rows.name[train[0]], 7) == 7


def test_find_checks_the_labels_of_the_table(tmp_path):
  images = photos(tmp_path / 'images')
  table = first_version.of_files(str(images), '', tmp_path / 't', ANNA, {})
  of = dict(zip(table.rows.name.tolist(), table.rows.id.tolist()))
  decided = [Decision(of['cat/0.png'], 'label', 'dog'), Decision(of['dog/1.png'], 'drop')]
  table.decide(ANNA, decided)
  table.commit('some', ANNA)
  np.save(tmp_path / 'probs.npy', np.full((8, 2), 0.5))
  own = folder_config(images, table)
  out = tmp_path / 'found'
  found, _ = file_issues.find_files(str(images), '', out, probs=str(tmp_path / 'probs.npy'), config=own)
  given = dict(zip(found.row.tolist(), found.given.tolist()))  # rows are in the order of names: cats first
  assert [given[row] for row in range(8)] == [1, 0, 0, 0, -1, 1, 1, 1]


@pytest.mark.parametrize('of_table', [False, True])
def test_find_leaves_the_labels_of_test_rows_alone_unless_asked(tmp_path, caplog, of_table):
  for part in ('test', 'train'):
    photos(tmp_path / 'images' / part)  # both parts have the same images
  np.save(tmp_path / 'probs.npy', np.full((16, 2), 0.5))
  plain = {'data.source': 'folders', 'data.path': str(tmp_path / 'images'), 'data.size': 8, 'data.val': ''}
  own = config(**plain, **{'noise.kind': 'none', 'data.trusted': 0, 'data.test': 'source', 'data.test_labels': 'given'})
  if of_table:
    table = first_version.of_config(own, tmp_path / 't', ANNA)
    own = folder_config(tmp_path / 'images', table)
  find = lambda name, **more: file_issues.find_files(
    str(tmp_path / 'images'), '', tmp_path / name, probs=str(tmp_path / 'probs.npy'), config=own, **more
  )[0]
  found = find('w')
  given = dict(zip(found.row.tolist(), found.given.tolist()))  # rows are in the order of names: test/cat first
  assert [given[row] for row in range(16)] == [-1] * 8 + [0] * 4 + [1] * 4
  assert np.isnan(found.score[found.given < 0]).all() and not found.flagged[found.given < 0].any()
  assert '8 labels are of test rows: they are neither learned nor checked (--with_test: both)' in caplog.text
  both = find('both', with_test=True)
  assert sorted(both.given.tolist()) == [0] * 8 + [1] * 8


def test_inspect_describes_the_labels_of_the_table(tmp_path):
  table = first_version.of_config(config(), tmp_path / 't', ANNA)
  ids = table.rows.id[np.flatnonzero(table.rows.split == rows.TRAIN)[:300]].tolist()
  table.decide('rule:x', [Decision(id, 'unlabel') for id in ids if table.rows.verified[table.rows.places([id])[0]] < 0])
  edits = table.commit('fewer', ANNA).manifest['edits']
  said = [inspect.inspect_config(own, tmp_path / 'w') for own in (config(), on(table))]
  counts = [line.split()[2] for text in said for line in text.splitlines() if line.startswith('  unlabeled')]
  assert counts == ['0', f'{edits}']
