"""A tiny loop, whole: what it may know, what it keeps when it is killed, and how it ends."""

import csv
import dataclasses
import re
import shutil

import numpy as np
import pytest
from test_table_commands import command

import runs
from noisyjax.config import recipe as recipes
from noisyjax.config.check import plan_of
from noisyjax.loop import (
  annotator,
  compare,
  dry_run as loop_dry_run,
  ground as ground_,
  round as round_,
  settings,
)
from noisyjax.loop.columns_of import columns_of
from noisyjax.loop.evidence_of import Judge, gathered
from noisyjax.loop.finish import Final
from noisyjax.loop.loop import Ended, loop
from noisyjax.loop.page import write as write_page
from noisyjax.loop.several import several, table
from noisyjax.reports.tables import Table
from noisyjax.rules import evidence as evidences
from noisyjax.runs import dry_run, predict
from noisyjax.runs.engines import engine
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.system import formats, lock, parquet, progress, storage
from noisyjax.system.errors import UserError
from noisyjax.tables import journal, refs, rows, store, verify, versions
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import LABELED, TEST, TRAIN, UNLABELED, VAL

PROMOTE, MORE = (('promote', {'threshold': 0.0, 'total': total}) for total in (20, 40))
BAD = """
import dataclasses
import numpy as np
from noisyjax.rules.rule import Base, proposed
from noisyjax.tables.rows import UNLABELED


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  why = 'wrong on purpose'

  def propose(self, evidence, rows, classes):
    return proposed(rows.status == UNLABELED, 'label', (evidence.predicted + 1) % len(classes), np.ones(len(rows)))
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  """Without pictures, which take longer than such a loop."""
  monkeypatch.setattr('noisyjax.loop.page.write', lambda *_: None)


def data(path, **changed):
  """128 rows of three classes, 40 of them labeled, rightly; 40 test rows."""
  found = runs.arrays()
  labels = np.where((np.arange(168) < 40) | (np.arange(168) >= 128), found['true'], -1).astype(np.int32)
  return runs.npz(path, **{'labels': labels, 'verified': np.full(168, -1, np.int32)} | changed)


def config(path, **loop_fields):
  c = runs.recipe(path, epochs=2, steps_per_epoch=4, data__val='', data__train='0:128', select='last', optim__lr=0.02)
  with c.unlocked():
    c.loop = settings.get_config().loop
  own = {'rounds': 2, 'folds': 2, 'final': 1, 'rules': ((PROMOTE,), (MORE,)), 'patience': 0, **loop_fields}
  for name, value in own.items():
    c.loop[name] = value
  return c


@pytest.fixture(scope='module')
def npz(tmp_path_factory):
  return data(tmp_path_factory.mktemp('data') / 'data.npz')


def records(folder) -> list[dict]:
  """Returns what the rounds recorded, times and versions of rows that are not compared aside."""
  found = [formats.read_json(formats.LOOP, p) for p in sorted(folder.glob('round=*/round.json'))]
  for record in found:
    record.pop('seconds', None)
    for rule in record.get('rules', ()):
      for run in rule['evidence']['runs']:
        del run['weights']  # sealed with the config, which holds the paths of the loop
  return found


def outputs(folder) -> dict:
  """Returns all that a loop decides, without times: records, evidence, the journal's decisions, versions."""
  table = folder / 'table'
  entries = [entry for entry, _ in journal.read(table / 'journal.jsonl')] if (table / 'journal.jsonl').exists() else []
  return {
    'records': records(folder),
    'evidence': [parquet.read(p)[0] for p in sorted(folder.glob('round=*/evidence.parquet'))],
    'decisions': [(e['author'], e['branch'], e['decisions']) for e in entries],
    'versions': versions.names(table),
    'weights': {f'{p.parent.relative_to(folder)}': runs.weights(p.parent) for p in folder.glob('*/*/result.json')},
    'audit': storage.read_json(folder / 'audit.json'),
  }


def assert_same(one, other) -> None:
  if isinstance(one, dict):
    assert one.keys() == other.keys()
    for name in one:
      assert_same(one[name], other[name])
  elif isinstance(one, list | tuple):
    assert len(one) == len(other)
    for a, b in zip(one, other):
      assert_same(a, b)
  elif isinstance(one, np.ndarray):
    np.testing.assert_array_equal(one, other)
  else:
    assert one == other


@pytest.fixture(scope='module')
def whole(npz, tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('noisyjax.loop.page.write', lambda *_: None)
    folder = tmp_path_factory.mktemp('loop') / 'w'
    return folder, loop(config(npz), folder)


def test_a_loop_promotes_rows_compares_versions_and_scores_the_test_rows_once(whole):
  folder, ended = whole
  assert len(ended.done) == 3 and list(verify.verify(folder / 'table'))
  first, second = ended.done[:2]
  assert second['parent'] == first['version'] and second['labels'] > first['labels']
  assert {c['action'] for c in second['changes']} == {'promote'}
  assert second['steps'] == first['steps'] and len(second['runs']) == 2
  against = second['against_parent']
  assert first['score']['rows'] == 40
  gain = second['score']['accuracy'] - first['score']['accuracy']
  assert np.isclose(against['difference'], gain) and against['interval'][0] <= gain <= against['interval'][1]
  manifest = versions.read_manifest(folder / 'table', second['version'])
  (rule,) = manifest['rules']
  assert (rule['rule'], rule['round'], manifest['round']) == ('promote', 1, 1)
  assert rule['evidence']['runs'][0]['weights'] and manifest['evidence'] == first['evidence']
  names = {final.name for final in ended.finals}
  assert names == {'version=0', 'version=1', 'version=2', 'control=longer'}
  assert all(final.results[0]['audit']['test_rows'] == 40 for final in ended.finals)
  for path in folder.glob('round=*/*/result.json'):
    assert formats.read_json(formats.RUN, path)['audit']['test_rows'] == 0, path


def test_the_control_has_the_passes_of_the_whole_loop(whole):
  _, ended = whole
  of = {final.name: final.results[0] for final in ended.finals}
  spent = sum(record['passes'] for record in ended.done) + of['version=0']['passes']
  longer = of['control=longer']
  assert 0.8 * spent < longer['passes'] < 1.2 * spent


def test_a_finished_loop_is_kept(whole, npz, monkeypatch):
  folder, ended = whole
  monkeypatch.setattr('noisyjax.runs.networks.fit', lambda *_: pytest.fail('trained again'))
  monkeypatch.chdir(folder.parent)
  for spelled in (folder, f'../{folder.parent.name}/{folder.name}/'):
    again = loop(config(npz), spelled)
    assert again.done == ended.done and str(again.table) == str(ended.table)


def test_another_loop_in_the_folder_is_refused(whole, npz):
  folder, _ = whole
  other = config(npz)
  other.optim.lr = 0.03
  with pytest.raises(UserError, match='holds a loop of another config'):
    loop(other, folder)
  with pytest.raises(UserError, match=r'loop\.folds: 2 → 3'):
    loop(config(npz, folds=3), folder)
  with lock.held(folder), pytest.raises(lock.InUse, match='in use by'):
    loop(config(npz), folder)


def test_a_loop_that_was_moved_says_so_at_once(whole, npz, tmp_path):
  shutil.copytree(whole[0], tmp_path / 'moved')
  with pytest.raises(UserError, match=f'holds a loop that began in {re.escape(str(whole[0]))}, .* move it back'):
    loop(config(npz), tmp_path / 'moved')


def test_the_truth_and_the_test_rows_change_nothing_but_the_audit(whole, tmp_path):
  folder, _ = whole
  arrays = runs.arrays()
  test = np.arange(168) >= 128
  wrong = ((arrays['true'] + 1) % 3).astype(np.int32)
  loop(config(data(tmp_path / 'truth.npz', true=wrong)), tmp_path / 'truth')
  one, other = outputs(folder), outputs(tmp_path / 'truth')
  assert one.pop('audit') != other.pop('audit')
  assert_same(one, other)
  images = np.where(test[:, None, None, None], 255 - arrays['images'], arrays['images']).astype(np.uint8)
  labels = np.where(test, wrong, np.where(np.arange(168) < 40, arrays['true'], -1)).astype(np.int32)
  loop(config(data(tmp_path / 'test.npz', images=images, labels=labels)), tmp_path / 'test')

  def known(place):  # by name: ids of test rows, and with them the order of the rows and all names of versions, differ
    out = []
    for path in sorted(place.glob('round=*/evidence.parquet')):
      columns, notes = parquet.read(path)
      rows = versions.read(place / 'table', notes['version']).rows
      keep = rows.split == TRAIN
      order = np.argsort(rows.name[keep])
      found = {**columns, 'label': rows.label, 'by': rows.by, 'status': rows.status}
      out.append({name: values[keep][order] for name, values in found.items() if name != 'id'})
    return out

  assert_same(known(folder), known(tmp_path / 'test'))
  scores = lambda place: [(r['score'], r['against_parent'], r['labels']) for r in records(place)]
  assert scores(folder) == scores(tmp_path / 'test')


def labeled(rows):
  return (rows.status == LABELED) & (rows.split == TRAIN)


def grounded(npz, folder, **fields):
  recipe, own = settings.parted(config(npz, **fields))
  return ground_.of(recipe, own, folder)


def test_a_label_changes_nothing_in_the_evidence_on_its_own_row(npz, tmp_path):
  ground = grounded(npz, tmp_path)
  table = store.Table(ground.table)
  place = int(np.flatnonzero(labeled(table.rows))[0])
  other = table.classes[(table.rows.label[place] + 1) % 3]
  table.decide('person:x', [Decision(str(table.rows.id[place]), 'label', other)])
  changed = table.commit('another label', 'person:x')
  own = []
  for version, name in ((ground.first, 'a'), (changed, 'b')):
    judges = round_.trained(ground, version.name, tmp_path / name)
    own.append(round_.gathered(version, judges, *ground.places, ground.plan.uses_unlabeled).evidence)
  np.testing.assert_array_equal(own[0].probs[place], own[1].probs[place])
  fold = ground.fold_of == ground.fold_of[place]
  mine, others = labeled(ground.first.rows) & fold, labeled(ground.first.rows) & ~fold
  np.testing.assert_array_equal(own[0].probs[mine], own[1].probs[mine])
  assert (own[0].probs[others] != own[1].probs[others]).any()


def test_evidence_is_of_the_selected_networks_where_the_last_epoch_is_not_the_best(npz, tmp_path):
  c = config(npz, rounds=0, final=0)
  c.data.train, c.data.val, c.select = '0:112', '0:16', 'best'
  c.epochs, c.optim.lr, c.schedule.name = 6, 0.5, 'constant'
  recipe, own = settings.parted(c)
  ground = ground_.of(recipe, own, tmp_path)
  judges = round_.trained(ground, ground.first.name, tmp_path / 'r')
  assert any(judge.result['best_epoch'] != 6 for judge in judges), [judge.result['best_epoch'] for judge in judges]
  found = round_.gathered(ground.first, judges, *ground.places, ground.plan.uses_unlabeled)
  images, differ = ground.loaded[0].images, False
  for judge in judges:
    rows = np.loadtxt(ground.files[judge.fold], int)
    rows = rows[ground.first.rows.status[ground.place_of[rows]] == LABELED]
    told = found.evidence.probs[ground.place_of[rows]]
    np.testing.assert_allclose(told, predict.load(judge.folder).probs(images[rows]), atol=1e-6)
    differ |= not np.allclose(told, predict.load(judge.folder, 'last').probs(images[rows]), atol=1e-3)
  assert differ, [(judge.result['best_epoch'], judge.result['validation']) for judge in judges]


def test_who_judges_a_row(npz, tmp_path):
  ground = grounded(npz, tmp_path)
  judges = round_.trained(ground, ground.first.name, tmp_path / 'r')
  rows = ground.first.rows
  own, all_ = (round_.gathered(ground.first, judges, *ground.places, learns).evidence for learns in (True, False))
  mine, bare = labeled(rows), rows.status == UNLABELED
  assert np.isnan(own.probs[rows.split == TEST]).all() and not own.in_sample
  np.testing.assert_array_equal(own.probs[mine], all_.probs[mine])
  assert set(own.agree[bare]) == {1.0} and not np.allclose(own.probs[bare], all_.probs[bare])


def test_a_version_that_does_not_help_is_kept_and_the_next_round_starts_from_the_best(npz, tmp_path):
  (tmp_path / 'wrong.py').write_text(BAD)
  rules = (((str(tmp_path / 'wrong.py'), {}),), (PROMOTE,))
  ended = loop(config(npz, rules=rules, controls=(), scored='ends'), tmp_path / 'w')
  first, second, third = ended.done
  assert not second['helped'] and second['branch'] == 'main'
  assert third['parent'] == first['version'] and third['branch'] == 'round-2'
  assert refs.branches(tmp_path / 'w' / 'table') == {'main': second['version'], 'round-2': third['version']}
  assert list(verify.verify(tmp_path / 'w' / 'table'))


def test_a_loop_ends_where_no_rule_proposes_or_rounds_do_not_help(npz, tmp_path):
  unreached = ('promote', {'by': 'calibrated', 'target': 0.9999})
  ended = loop(config(npz, rules=((unreached, ('promote', {'threshold': 2.0})),), controls=()), tmp_path / 'none')
  why = 'no rule proposes anything (promote: no threshold reaches the precision 0.9999 on frozen labels: all classes)'
  assert len(ended.done) == 1 and ended.why == why
  (tmp_path / 'wrong.py').write_text(BAD)
  wrong = (((str(tmp_path / 'wrong.py'), {}),),)
  ended = loop(config(npz, rules=wrong, controls=(), final=0, patience=1), tmp_path / 'worse')
  assert len(ended.done) == 2 and ended.why == '1 rounds in a row did not help (loop.patience)' and not ended.finals
  ended = loop(config(npz, controls=(), final=0, passes=1), tmp_path / 'spent')
  assert len(ended.done) == 1 and ended.why == '1 passes are used up (loop.passes)'
  again = config(npz, rules=wrong, controls=(), final=0, patience=0)
  assert loop(again, tmp_path / 'worse').why == 'its decisions make the version of round 1 again'


def proposed(path) -> set[tuple[str, str]]:
  """Returns id and label of each proposal of a file for a person, or of what was written beside it."""
  if path.suffix == '.json':
    return {(id, said.split()[1]) for id, _, said in formats.read_json(formats.LABEL_TABLE, path)['proposed']}
  return {(row['id'], row['label']) for row in csv.DictReader(path.open())}


def test_a_person_decides_and_the_same_call_goes_on(npz, tmp_path):
  c = config(npz, decide='person', controls=(), final=0)
  folder, table = tmp_path / 'w', tmp_path / 'w' / 'table'
  with pytest.raises(
    round_.Waits, match=r'(?s)proposals wait for a person, in .*\nnoisyjax table decide --table=.*\n.*--reject'
  ):
    loop(c, folder)
  said, rows = folder / 'round=0' / 'evidence.parquet', store.Table(table).rows
  content, found = said.read_bytes(), evidences.read(said, rows)
  evidences.write(said, dataclasses.replace(found, agree=found.agree / 2), rows)
  with pytest.raises(UserError, match=r'evidence\.parquet: was changed after round 0 recorded it'):
    loop(c, folder)
  said.write_bytes(content)
  path = folder / 'round=1' / 'proposals.csv'
  lines = path.read_text().splitlines()
  path.write_text('\n'.join(lines[:4]) + '\n')
  with pytest.raises(round_.Waits):
    loop(c, folder)
  assert len(path.read_text().splitlines()) == 4, 'what a person deleted was written again'
  command('table', 'decide', f'--table={table}', f'--from={path}', '--author=anna')
  with pytest.raises(round_.Waits, match='round 2'):
    loop(c, folder)
  deleted = proposed(folder / 'round=1' / 'proposals.json') - proposed(path)
  later = proposed(folder / 'round=2' / 'proposals.csv')
  entry = formats.read_json(formats.LOOP, folder / 'round=2' / 'rules.json')['rules'][0]
  assert len(deleted) == 17 and len(later) == 40 and not later & deleted
  assert 0 < entry['rejected'] <= 17, 'some of what a person deleted would be proposed again'
  ended = loop(c, folder, reject=True)
  assert len(ended.done) == 2 and ended.why == 'every proposal was rejected'
  *_, last = journal.read(table / 'journal.jsonl')
  assert len(last[0]['decisions']) == 40 and {d['action'] for d in last[0]['decisions']} == {'keep'}
  assert sum(c['rows'] for c in ended.done[1]['changes']) == 3
  edits = versions.read_edits(table, ended.done[1]['version'])
  assert set(edits.by) == {'person:anna'} and (edits.verified >= 0).all()
  write_page(grounded(npz, folder, decide='person', controls=(), final=0), *ended)
  assert '<td>3 of 20</td>' in (folder / 'report.html').read_text()  # not the 20 that the rule proposed


def test_a_person_may_commit_or_reject_all(npz, tmp_path):
  c = config(npz, decide='person', rounds=1, controls=(), final=0)
  for name in ('commits', 'rejects'):
    with pytest.raises(round_.Waits):
      loop(c, tmp_path / name)
  table = store.Table(tmp_path / 'commits' / 'table')
  bare = str(table.rows.id[np.flatnonzero(table.rows.status == UNLABELED)[0]])
  table.decide('person:anna', [Decision(bare, 'label', 'ant')])
  made = table.commit('mine', 'person:anna')
  assert loop(c, tmp_path / 'commits').done[1]['version'] == made.name
  ended = loop(c, tmp_path / 'rejects', reject=True)
  assert len(ended.done) == 1 and ended.why == 'every proposal was rejected'


def test_decisions_that_wait_are_not_rejected_with_the_proposals(npz, tmp_path):
  c = config(npz, decide='person', rounds=1, controls=(), final=0)
  with pytest.raises(round_.Waits):
    loop(c, tmp_path)
  table = store.Table(tmp_path / 'table')
  bare = str(table.rows.id[np.flatnonzero(table.rows.status == UNLABELED)[0]])
  table.decide('person:anna', [Decision(bare, 'label', 'ant')])
  with pytest.raises(UserError, match='--reject: decisions about 1 rows wait'):
    loop(c, tmp_path, reject=True)
  assert loop(c, tmp_path).done[1]['changes'] == [{'action': 'promote', 'from': '-', 'to': 'ant', 'rows': 1}]


def test_images_that_join_the_table_of_a_loop_are_refused_before_it_trains(npz, tmp_path):
  c = config(npz, decide='person', rounds=1, controls=(), final=0)
  with pytest.raises(round_.Waits):
    loop(c, tmp_path / 'w')
  table = store.Table(tmp_path / 'w' / 'table')
  table.add(rows.first(['f' * 64], ['new'], np.array([-1]), table.classes), 'one more', 'person:anna')
  with pytest.raises(UserError, match='1 images joined the branch main; a loop keeps the rows of its first version'):
    loop(c, tmp_path / 'w')
  assert not list((tmp_path / 'w' / 'round=1').glob('fold=*'))


def test_rules_refuse_in_sample_evidence_unless_asked_by_name(npz, tmp_path):
  fields = {'folds': 0, 'rounds': 1, 'controls': ()}
  with pytest.raises(UserError, match='the evidence is in-sample'):
    loop(config(npz, **fields), tmp_path / 'refused')
  asked = (('promote', {'threshold': 0.0, 'in_sample': True}),)
  ended = loop(config(npz, rules=(asked,), **fields), tmp_path / 'asked')
  assert ended.done[1]['in_sample'] and 'In-sample' in str(ended.table)


def test_a_simulated_person_is_told_so_many_labels_and_the_loop_says_so(npz, tmp_path):
  rules = ((('low_confidence', {'threshold': 0.0}),),)
  ended = loop(config(npz, rules=rules, decide='simulated', answers=12, controls=(), scored='ends'), tmp_path / 'w')
  assert [record['answers'] for record in ended.done] == [0, 6, 6]
  assert 'Told: 12 true labels, by a simulated person. Not to be ranked' in str(ended.table)
  rows = versions.read(tmp_path / 'w' / 'table', ended.done[2]['version']).rows
  mine = rows.by == annotator.AUTHOR
  truth = dict(zip(map(str, range(168)), runs.arrays()['true']))
  assert mine.sum() == 12 and all(truth[name] == label for name, label in zip(rows.name[mine], rows.label[mine]))


def test_wrong_answers_are_as_many_as_asked_for_and_depend_on_the_row_alone(npz, tmp_path):
  rows, truth = grounded(npz, tmp_path).first.rows, np.arange(168) % 3
  ask = lambda places: annotator.answers(places, rows, truth, ['a', 'b', 'c'], 150, 0.3, 0)
  found = ask(range(168))
  wrong = sum('abc'[truth[i]] != decision.label for i, decision in enumerate(found))
  assert len(found) == 150 and 25 < wrong < 65
  assert ask([5, 3]) == [found[5], found[3]]


def test_a_class_without_labels_is_named(tmp_path):
  labels = np.where(np.arange(168) < 40, runs.arrays()['true'] % 2, -1).astype(np.int32)
  labels[128:] = 0
  with pytest.raises(UserError, match=r"1 of 3 classes have too few labeled images in version 0: 'cat' \(0\)"):
    loop(config(data(tmp_path / 'd.npz', labels=labels)), tmp_path / 'w')


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'folds': 1}, 'loop.folds: found 1'),
    ({'decide': 'nobody'}, "loop.decide: .*'nobody'"),
    ({'rules': ((('promot', {}),),)}, 'promot'),
    ({'rules': ((('promote', {'thresold': 1}),),)}, 'thresold'),
    ({'folds': 999}, 'folds: found 999'),
    ({'controls': (('longer', {'optim.rate': 1}),)}, 'optim.rate'),
  ],
)
def test_wrong_settings_are_named(npz, tmp_path, fields, message):
  with pytest.raises(UserError, match=message):
    loop(config(npz, **fields), tmp_path / 'w')


@pytest.mark.parametrize(
  'name',
  ['digits', 'digits:noisy', 'photos', 'photos:pretrained', 'weak_supervision', 'seed_as_it_was', 'seed_fixed'],
)
def test_the_shipped_loops_are_valid(name):
  recipe, own = settings.parted(recipes.load(f'loop/{name}'))
  assert len({rule.name for i in range(len(own.rules)) for rule in own.rules_of(i + 1)}) > 1 and recipe.steps_per_epoch
  reads_in_sample = {rule.in_sample for i in range(len(own.rules)) for rule in own.rules_of(i + 1)}
  assert reads_in_sample == {name == 'seed_as_it_was'}


def test_a_config_without_rounds_or_fixed_steps_is_refused(npz, tmp_path):
  with pytest.raises(UserError, match='is no config of a loop'):
    loop(runs.recipe(npz), tmp_path / 'w')
  c = config(npz)
  c.steps_per_epoch = 0
  with pytest.raises(UserError, match='steps_per_epoch: found 0; a loop expects 1 or more'):
    loop(c, tmp_path / 'w')


def test_a_full_disk_leaves_a_loop_that_goes_on(npz, tmp_path, whole, monkeypatch):
  real, c = storage.write_bytes, config(npz)
  left = [9]

  def full(path, content):
    left[0] -= 1
    if left[0] < 0:
      raise UserError(f'{path}: cannot write this file: No space left on device.')
    real(path, content)

  monkeypatch.setattr(storage, 'write_bytes', full)
  with pytest.raises(UserError, match='No space left on device'):
    loop(c, tmp_path / 'w')
  monkeypatch.setattr(storage, 'write_bytes', real)
  loop(c, tmp_path / 'w')
  assert_same(comparable(whole[0]), comparable(tmp_path / 'w'))


class Death(BaseException):
  """What no handler of the program catches."""


def comparable(folder) -> dict:
  return outputs(folder)


def killed(npz, folder, whole, seed: int, monkeypatch) -> None:
  """Kills a loop before or after random writes until it ends, and compares it with one that was never killed."""
  rng, real = np.random.default_rng(seed), storage.write_bytes
  append, rename = journal.append, versions.write
  state = {'left': 0}

  def dying(call):
    def wrapped(*args, **kwargs):
      for moment in ('before', 'after'):
        if moment == 'after':
          result = call(*args, **kwargs)
        state['left'] -= 1
        if state['left'] < 0:
          raise Death
      return result

    return wrapped

  with monkeypatch.context() as patch:
    patch.setattr(storage, 'write_bytes', dying(real))
    patch.setattr(journal, 'append', dying(append))
    patch.setattr(versions, 'write', dying(rename))
    for _ in range(100):
      state['left'] = int(rng.integers(2, 90))
      try:
        loop(config(npz), folder)
        break
      except Death:
        pass
    else:
      pytest.fail('never ended')
  assert_same(comparable(whole[0]), comparable(folder))
  assert list(verify.verify(folder / 'table'))


@pytest.mark.parametrize('seed', range(2))
def test_a_killed_loop_goes_on_to_the_same_end(npz, tmp_path, whole, seed, monkeypatch):
  killed(npz, tmp_path / 'w', whole, seed, monkeypatch)


@pytest.mark.slow
def test_a_hundred_killed_loops_go_on_to_the_same_end(npz, tmp_path, whole, monkeypatch):
  for seed in range(100, 200):
    killed(npz, tmp_path / 'w', whole, seed, monkeypatch)
    shutil.rmtree(tmp_path / 'w')


def test_mcnemar_and_the_paired_interval():
  old = np.array([True] * 80 + [False] * 20)
  new = np.array([True] * 78 + [False] * 2 + [True] * 10 + [False] * 10)
  found = compare.paired(old, new, 0)
  assert (found['only_old'], found['only_new'], found['difference']) == (2, 10, 0.08)
  assert np.isclose(found['p'], 158 / 4096)  # 2 · (1 + 12 + 66) / 2^12
  low, high = found['interval']
  assert np.isclose((high - low) / 2, 1.96 * np.sqrt((0.12 - 0.08**2) / 100), atol=0.02) and low > 0
  assert compare.paired(old, old, 0)['p'] == 1.0


def test_frozen_labels_are_the_checked_ones_where_there_are_any(npz, tmp_path):
  rows = grounded(npz, tmp_path).first.rows
  assert (compare.frozen_labels(rows, 2) >= 0).sum() == 40
  verified = rows.verified.copy()
  verified[np.flatnonzero(labeled(rows))[:3]] = 1
  rows = dataclasses.replace(rows, verified=verified)
  assert (compare.frozen_labels(rows, 2) >= 0).sum() == 3


def test_the_report_is_one_page_and_marks_what_the_audit_says(whole, npz):
  folder, ended = whole
  write_page(grounded(npz, folder), *ended)
  page = (folder / 'report.html').read_text()
  for title in ('Result', 'Versions', 'Rules', 'What each rule changed', 'Map', 'Confusion pairs', 'control=longer'):
    assert title in page, title
  assert page.count('data:image/png;base64,') == 5 and 'src="http' not in page  # graph, montages, map, confusions
  assert '128 of 128 training rows' in page and 'final/version=' in page
  assert 'Labels of the chosen version <span class="audit">' in page
  best = max(ended.done, key=lambda r: (r['score']['accuracy'], -r['score']['loss']))
  assert ended.audit['labels'][f'{best["round"]}']['promoted'] is not None


def test_the_report_sets_the_table_of_another_loop_beside_its_own(whole, npz, tmp_path):
  folder, ended = whole
  (tmp_path / 'table.md').write_text('| runs | test |\n|---|---|\n| as it was | 90.5 |\n\ntold <60> labels\n')
  write_page(grounded(npz, folder), *ended, str(tmp_path))
  page = (folder / 'report.html').read_text()
  for part in ('Beside it: ', '<td>as it was</td>', '>90.5</td>', 'told &lt;60&gt; labels', 'control=longer'):
    assert part in page, part
  with pytest.raises(UserError, match=r'--beside: .* has no table\.md; expected the folder of a loop that ended'):
    loop(config(npz), folder, beside=str(tmp_path / 'none'))


def test_independent_loops_share_a_table(npz, tmp_path):
  made = several(config(npz, rounds=1, controls=(), scored='ends'), str(tmp_path), 2)
  assert [row[0] for row in made.rows] == ['version 0', 'chosen version']
  assert made.rows[0][1].n == 2 and np.isclose(made.rows[0][3].mean, 0)
  seeds = [storage.read_json(tmp_path / f'loop={i}' / 'loop.json')['seed'] for i in range(2)]
  assert seeds == [0, 1]


def test_a_class_that_gained_no_label_has_no_precision():
  labels = {'promoted': 0.5, 'classes': {'ant': {'precision': None}, 'bee': {'precision': 0.9}}}
  done = [{'round': 0, 'score': {'accuracy': 1.0, 'loss': 0.0}}]
  final = Final('version=0', 0, '', [], [])
  made = table([Ended(done, 'enough', [final], {'labels': {'0': labels}}, Table(('runs',), [], ['']))])
  assert made.rows[-1][-1].mean == 90.0


def test_a_dry_run_counts_the_runs_and_another_command_refuses_a_loop(npz, monkeypatch):
  monkeypatch.setattr(dry_run, 'estimated', lambda *_: dry_run.Estimated('one run', 10.0, 0.0))
  text = loop_dry_run.text(
    config(npz, rounds=3, folds=2, seeds=2, final=2, scored='ends'),
    'W',
    loops=2,
    engine=engine.load('processes:at_once=2'),
  )
  # 4 rounds of 4 runs, 2 versions and 1 control as long as 17 runs, with 2 seeds: 16 + 4 + 34 runs of 10 s, twice
  assert text.startswith('one run') and '16 runs in its rounds' in text and '4 runs on versions' in text
  assert '2 controls as long as 17 runs' in text and f'about {progress.duration(2 * 54 * 10)} for 2 loops' in text
  commands = text.partition('The first round:\n2 processes on this machine, 2 at once:\n')[2].splitlines()
  assert [line.partition(' work --workdir=')[2].count('W/loop=0/round=0/fold=') for line in commands] == [2, 2]
  with pytest.raises(UserError, match='has a block loop, which only the command loop reads'):
    plan_of(config(npz))


def test_evidence_reads_back(whole):
  folder, ended = whole
  rows = versions.read(folder / 'table', ended.done[1]['version']).rows
  found = evidences.read(folder / 'round=1' / 'evidence.parquet', rows)
  assert found.digest() == ended.done[1]['evidence'] and found.version == ended.done[1]['version']


def test_a_loop_whose_runs_an_engine_executes_is_the_same(whole, npz, tmp_path):
  pool = runs.InThisProcess()
  loop(config(npz), tmp_path / 'w', engine=FanOut(pool))
  assert_same(outputs(whole[0]), outputs(tmp_path / 'w'))
  assert len(pool.done) == len([*(tmp_path / 'w').glob('*/*/result.json')])


def test_more_rounds_may_be_asked_of_a_loop_that_ended(npz, tmp_path):
  c = config(npz, rounds=1, scored='ends', axes=(('other', {'optim.lr': 0.01}),))
  first = loop(c, tmp_path)
  c.loop.rounds = 2
  second = loop(c, tmp_path)
  assert len(first.done) == 2 and len(second.done) == 3
  assert second.done[:2] == first.done
  assert [r['after_test'] for r in second.done] == [False, False, True] and 'rounds 2 began when' in str(second.table)
  longer = [next(f for f in ended.finals if f.name == 'control=longer').results[0] for ended in (first, second)]
  assert longer[1]['passes'] > 1.2 * longer[0]['passes']


def test_a_version_that_a_person_committed_before_the_round_began_is_its_version(npz, tmp_path):
  loop(config(npz, rounds=0, final=0), tmp_path)
  table = store.Table(tmp_path / 'table')
  bare = str(table.rows.id[np.flatnonzero(table.rows.status == UNLABELED)[0]])
  table.decide('person:anna', [Decision(bare, 'label', 'ant')])
  made = table.commit('mine', 'person:anna')
  ended = loop(config(npz, rounds=1, final=0), tmp_path)
  assert ended.done[1]['version'] == made.name and ended.done[1]['rules'] == []


def test_the_control_of_a_recipe_with_phases_has_the_passes_of_the_whole_loop(npz, tmp_path):
  c = config(npz, rounds=1, rules=((PROMOTE,),), scored='ends')
  c.phases = (('naive', 1, {}), ('naive', 2, {'optim.lr': 0.01}))
  ended = loop(c, tmp_path)
  of = {final.name: final.results[0]['passes'] for final in ended.finals}
  spent = sum(record['passes'] for record in ended.done) + of['version=0']
  assert 0.8 * spent < of['control=longer'] < 1.2 * spent


def test_a_copy_of_a_labeled_row_is_judged_by_the_networks_of_its_fold_alone(tmp_path):
  images = runs.arrays()['images'].copy()
  images[50] = images[0]  # row 0 is labeled, row 50 is not
  c = config(data(tmp_path / 'd.npz', images=images), folds=3)
  recipe, own = settings.parted(c)
  ground = ground_.of(recipe, own, tmp_path / 'w')
  place, plain = (int(np.flatnonzero(ground.first.rows.name == name)[0]) for name in ('50', '51'))
  probs = np.full((128, 3), 0.1, np.float32)
  judges = []
  for fold in range(3):
    probs[:, fold] = 0.8
    folder = tmp_path / f'{fold}'
    folder.mkdir()
    parquet.write(folder / 'samples.parquet', {'row': np.arange(128), 'probs': probs}, {})
    judges.append(Judge(folder, f'{fold}', fold, 0, {}))
    probs[:, fold] = 0.1
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('noisyjax.loop.evidence_of._told', lambda judge: {})
    found = gathered(ground.first, judges, *ground.places, False).evidence
  assert (
    found.predicted[place] == ground.fold_of[place] == ground.fold_of[ground.place_of[0]] and found.agree[place] == 1
  )
  assert np.isclose(found.confidence[place], 0.8) and np.allclose(found.probs[plain], 1 / 3)


def test_flags_that_a_loop_would_pass_over_and_early_stopping_are_refused(npz, tmp_path):
  with pytest.raises(UserError, match=r"--reject: loop\.decide is 'automatic'"):
    loop(config(npz), tmp_path / 'w', reject=True)
  c = config(npz)
  c.data.train, c.data.val, c.stop.patience = '0:112', '0:16', 2
  with pytest.raises(UserError, match=r'stop\.patience: found 2; a loop expects 0'):
    loop(c, tmp_path / 'w')
  assert not (tmp_path / 'w').exists()


def test_labels_of_validation_rows_reach_no_column_that_a_rule_reads(npz, tmp_path):
  rules = ((('promote', {'neighbours': True}), ('demote_outliers', {})),)
  c = config(npz, rules=rules)
  c.data.train, c.data.val = '16:128', '0:16'
  recipe, own = settings.parted(c)
  version = ground_.of(recipe, own, tmp_path).first
  rows, predicted = version.rows, np.zeros(168, np.int32)
  other = np.where(rows.split == VAL, (rows.label + 1) % 3, rows.label).astype(np.int32)
  changed = version._replace(rows=dataclasses.replace(rows, label=other))
  one, two = (columns_of(ground_.of(recipe, own, tmp_path), v, predicted) for v in (version, changed))
  assert (one['knn_label'] >= 0).sum() > 100 and one.keys() == two.keys() == {'knn_label', 'outlier'}
  assert_same(dict(one), dict(two))
