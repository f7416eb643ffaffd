"""Label tables: the invariant, names, replay, branches, and what is refused."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from noisyjax.system import storage
from noisyjax.system.errors import UserError
from noisyjax.tables import compare, edits, refs, rows, store, verify, versions
from noisyjax.tables.decisions import ACTIONS, Decision, act, state_of
from small_tables import ANNA, BOB, CLASSES, RULE, made, says, some


def invariant(found: rows.Rows) -> None:
  """Checks the invariant independently of `rows.check`."""
  for status, label, verified, weight in zip(found.status, found.label, found.verified, found.weight):
    assert (label >= 0) == (status == rows.LABELED)
    assert verified < 0 or status == rows.LABELED
    assert (weight > 0) == (status in (rows.LABELED, rows.UNLABELED))


def drawn(random: np.random.Generator, table: store.Table) -> tuple[str, Decision]:
  place, action = int(random.integers(len(table.rows))), str(random.choice(list(ACTIONS)))
  label = str(random.choice([*CLASSES, '', 'emu']))
  weight = random.choice([None, 0.5, 2.0, 0.0, -1.0])
  return str(random.choice([ANNA, BOB, RULE])), says(table, place, action, label, weight=weight, reason='drawn')


@pytest.mark.parametrize('seed', range(4))
def test_any_sequence_of_edits_keeps_the_invariant_and_replays(tmp_path, seed):
  random, table = np.random.default_rng(seed), made(tmp_path)
  given, done = table.rows.given_label, 0
  for _ in range(5):
    for _ in range(12):
      author, decision = drawn(random, table)
      try:
        table.decide(author, [decision])
        done += 1
      except UserError:
        pass
      if random.random() < 0.2:
        with contextlib.suppress(UserError):
          table.undo(author)
    old = table.version
    try:
      table.commit('drawn', ANNA, prefer=ANNA if random.random() < 0.8 else RULE)
    except UserError as error:
      assert 'decided differently' in str(error) or 'nothing to commit' in str(error)
      continue
    invariant(table.rows)
    again = edits.apply(old.rows, versions.read_edits(tmp_path, table.version.name), 3, table.version.name)
    assert rows.digest(again, rows.COLUMNS) == rows.digest(store.Table(tmp_path).rows, rows.COLUMNS)
    assert versions.name_of(again, CLASSES, [old.name]) == table.version.name
    assert np.array_equal(table.rows.given_label, given)
  assert done > 10
  assert list(verify.verify(tmp_path))


@pytest.mark.parametrize(
  'author, place, action, label, expected',
  [
    (ANNA, 0, 'label', 'dog', (rows.LABELED, 1, 1, 1.0)),
    (RULE, 0, 'label', 'dog', (rows.LABELED, 1, -1, 1.0)),
    (ANNA, 1, 'label', 'cat', (rows.LABELED, 0, 0, 1.0)),
    (RULE, 1, 'unlabel', '', (rows.UNLABELED, -1, -1, 1.0)),
    (RULE, 2, 'drop', '', (rows.DROPPED, -1, -1, 0.0)),
    (ANNA, 2, 'hold', '', (rows.HELD, -1, -1, 0.0)),
    (ANNA, 9, 'unlabel', '', (rows.UNLABELED, -1, -1, 1.0)),
    (ANNA, 10, 'unlabel', '', (rows.UNLABELED, -1, -1, 1.0)),
  ],
)
def test_an_action_sets_status_label_verified_label_and_weight_together(
  tmp_path, author, place, action, label, expected
):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 9, 'label', 'eel')])
  table.commit('one verified row', ANNA)
  state = act(state_of(table.rows, place), says(table, place, action, label), author, -1, CLASSES)
  assert tuple(state)[1:] == expected


@pytest.mark.parametrize(
  'author, place, action, label, message',
  [
    (RULE, 10, 'drop', '', r'10\.png .*is a validation row'),
    (ANNA, 11, 'drop', '', r'11\.png .*is a test row'),
    (ANNA, 0, 'label', 'emu', r"unknown value 'emu'.*cat, dog, eel"),
    (ANNA, 0, 'label', '', 'needs a label'),
    (ANNA, 0, 'relable', '', r"action: unknown value 'relable'"),
    (RULE, 0, 'curate', 'cat', 'expected a person'),
    ('anna', 0, 'drop', '', r'author: found .anna.; expected "person:NAME"'),
  ],
)
def test_what_is_not_allowed_is_named_and_nothing_is_recorded(tmp_path, author, place, action, label, message):
  table = made(tmp_path)
  with pytest.raises(UserError, match=message):
    table.decide(author, [says(table, 1, 'hold'), says(table, place, action, label)])
  assert len(table.pending()) == 0 and not (tmp_path / 'journal.jsonl').exists()


def test_an_unknown_id_is_named(tmp_path):
  table = made(tmp_path)
  with pytest.raises(UserError, match='beef: no row of this table has this id'):
    table.decide(ANNA, [Decision('beef', 'drop')])
  edit = edits.made(['beef'], [state_of(table.rows, 0)], ['drop'], [ANNA], [''], [''])
  with pytest.raises(UserError, match='1 ids are not in this table: beef'):
    edits.apply(table.rows, edit, 3)


def test_rules_do_not_edit_what_a_person_checked(tmp_path):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'label', 'dog')])
  table.commit('seen', ANNA)
  with pytest.raises(UserError, match='rules never edit what a person checked'):
    table.decide(RULE, [says(table, 1, 'unlabel')])


def test_a_name_depends_on_rows_and_parents_alone(tmp_path):
  one, two = made(tmp_path / 'a'), store.create(tmp_path / 'b', some(), CLASSES, BOB, {'path': 'elsewhere'})
  assert one.version.name == two.version.name
  for table, author, message in ((one, ANNA, 'a'), (two, BOB, 'b')):
    table.decide(author, [says(table, 1, 'label', 'eel', reason=message)])
    table.commit(message, author)
  assert one.version.name == two.version.name
  one.decide(ANNA, [says(one, 2, 'drop')])
  two.decide(ANNA, [says(two, 2, 'hold')])
  assert one.commit('c', ANNA).name != two.commit('c', ANNA).name


def test_the_manifest_counts_changes_and_keeps_the_rules_with_their_parameters(tmp_path):
  table = made(tmp_path)
  table.decide(
    RULE, [says(table, 0, 'label', 'cat'), says(table, 4, 'label', 'cat')], parameters={'above': 0.9}, run='r1'
  )
  table.decide(ANNA, [says(table, 1, 'drop')])
  found = table.commit('why', ANNA, checkpoint='c1').manifest
  assert found['changes'] == [
    {'action': 'promote', 'from': '-', 'to': 'cat', 'rows': 2},
    {'action': 'drop', 'from': 'cat', 'to': '-', 'rows': 1},
  ]
  assert found['rules'] == [{'author': RULE, 'parameters': {'above': 0.9}, 'run': 'r1'}]
  assert (found['message'], found['author'], found['checkpoint'], found['edits']) == ('why', ANNA, 'c1', 3)
  assert found['status'] == {'labeled': 10, 'unlabeled': 1, 'dropped': 1, 'held': 0}


def test_a_diff_tells_who_changed_a_row_and_why(tmp_path):
  table = made(tmp_path)
  old = table.version
  table.decide(ANNA, [says(table, 1, 'label', 'eel', reason='has no legs', evidence='0.9')])
  table.commit('look', BOB)
  difference = compare.diff(old, table.version)
  assert difference.counts == [{'action': 'relabel', 'from': 'cat', 'to': 'eel', 'rows': 1}]
  (row,) = compare.told(difference, old, table.version)
  assert (row['name'], row['from'], row['to'], row['by'], row['reason']) == ('1.png', 'cat', 'eel', ANNA, 'has no legs')
  with pytest.raises(UserError, match='of different images'):
    compare.diff(old, made(tmp_path / 'other', 11).version)


def test_a_merge_takes_what_one_side_changed_and_names_what_both_did(tmp_path):
  table = made(tmp_path)
  refs.make_branch(tmp_path, 'bob', table.version.name)
  bobs = store.Table(tmp_path, 'bob')
  table.decide(ANNA, [says(table, 1, 'drop'), says(table, 2, 'label', 'eel'), says(table, 3, 'hold')])
  table.commit('mine', ANNA)
  bobs.decide(BOB, [says(bobs, 2, 'label', 'cat', reason='it purrs'), says(bobs, 3, 'hold'), says(bobs, 5, 'drop')])
  bobs.commit('his', BOB)
  bobs.add(rows.first(['zz'], ['new.png'], np.array([1]), CLASSES), 'one more', BOB)
  with pytest.raises(UserError, match=r'1 rows were changed on both branches, differently: 2\.png'):
    table.merge('bob', 'both', ANNA)
  before = table.version
  merged = table.merge('bob', 'both', ANNA, prefer='theirs')
  assert (merged.manifest['merged'], merged.manifest['prefer']) == ('bob', 'theirs')
  assert merged.manifest['parents'] == [before.name, bobs.version.name] and len(merged.rows) == 13
  assert merged.rows.status[[1, 3, 5]].tolist() == [rows.DROPPED, rows.HELD, rows.DROPPED]
  assert (CLASSES[merged.rows.label[2]], merged.rows.by[2], merged.rows.reason[2]) == ('cat', BOB, 'it purrs')
  invariant(merged.rows)
  assert list(verify.verify(tmp_path))
  with pytest.raises(UserError, match='nothing to merge: main has all that bob has'):
    table.merge('bob', 'again', ANNA)
  bobs.decide(BOB, [says(bobs, 7, 'drop')])
  bobs.commit('later', BOB)
  assert table.merge('bob', 'again', ANNA).manifest['edits'] == 1  # what was merged before is no news
  refs.make_branch(tmp_path, 'ours', before.name)
  ours = store.Table(tmp_path, 'ours')
  assert ours.merge('bob', 'both', ANNA, prefer='ours').rows.label[2] == before.rows.label[2]


def test_a_merge_compares_with_the_last_version_that_both_sides_come_from(tmp_path):
  table = made(tmp_path)
  refs.make_branch(tmp_path, 'short', table.version.name)

  def commit(branch, place, action):
    branch.decide(ANNA, [says(branch, place, action)])
    branch.commit(action, ANNA)

  commit(table, 1, 'drop')
  refs.make_branch(tmp_path, 'bob', table.version.name)
  commit(table, 1, 'restore')
  commit(table, 2, 'hold')
  commit(store.Table(tmp_path, 'short'), 7, 'drop')
  commit(store.Table(tmp_path, 'bob'), 5, 'drop')
  table.merge('short', 'its first version is nearer than the one that bob comes from', ANNA)
  merged = table.merge('bob', 'bob did not touch row 1', ANNA)
  assert merged.rows.status[[1, 2, 5, 7]].tolist() == [rows.LABELED, rows.HELD, rows.DROPPED, rows.DROPPED]


@pytest.fixture
def merged(tmp_path):
  """A table whose branch bob was merged into main and no longer has a name; its second parent, of a rule."""
  table = made(tmp_path)
  refs.make_branch(tmp_path, 'bob', table.version.name)
  bobs = store.Table(tmp_path, 'bob')
  bobs.decide(RULE, [says(bobs, 5, 'drop')])
  bobs.commit('a rule', RULE)
  table.decide(ANNA, [says(table, 1, 'drop')])
  table.commit('mine', ANNA)
  table.merge('bob', 'both', ANNA)
  (tmp_path / 'branches' / 'bob.json').unlink()
  return tmp_path, bobs.version.name


def test_versions_that_were_merged_are_verified_too_and_each_once(merged):
  folder, second = merged
  lines = [line for line in verify.verify(folder) if line.startswith('version')]
  assert len(lines) == len(set(lines)) == 4 and any(second[:12] in line for line in lines)
  rewrite(folder / 'versions' / second / 'rows.parquet', 'weight', lambda values: [0.5, *values[1:]])
  with pytest.raises(UserError, match=f'{second[:12]}.*rows.parquet: was changed: its rows are not those'):
    list(verify.verify(folder))


def test_a_merged_version_whose_edits_were_changed_is_named(merged):
  folder, second = merged
  rewrite(folder / 'versions' / second / 'edits.parquet', 'reason', lambda values: ['other', *values[1:]])
  with pytest.raises(UserError, match=f'the edits of version {second[:12]} do not turn its parent into it'):
    list(verify.verify(folder))


def test_a_version_that_was_merged_is_never_written_again(merged):
  folder, second = merged
  refs.make_branch(folder, 'again', refs.facts(folder)['first'])
  again, path = store.Table(folder, 'again'), folder / 'versions' / second / 'manifest.json'
  before = path.read_text()
  again.decide(ANNA, [says(again, 5, 'drop')])
  assert again.commit('the same rows', ANNA).name == second and path.read_text() == before


def test_branches_part_and_a_revert_is_a_version_of_its_own(tmp_path):
  table = made(tmp_path)
  first = table.version
  table.decide(ANNA, [says(table, 1, 'drop')])
  second = table.commit('one', ANNA)
  refs.make_branch(tmp_path, 'try', first.name[:8])
  other = store.Table(tmp_path, 'try')
  other.decide(ANNA, [says(other, 2, 'drop')])
  other.commit('two', ANNA)
  assert refs.branches(tmp_path) == {'main': second.name, 'try': other.version.name}
  assert len(table.pending()) == 0
  back = table.replace(first.rows, 'revert', 'it did not help', ANNA)
  assert back.manifest['parents'] == [second.name] and back.name != first.name
  assert rows.digest(back.rows) == rows.digest(first.rows)
  assert list(refs.ancestors(tmp_path, back.name)) == [back.name, second.name, first.name]
  assert sum('holds' in line for line in verify.verify(tmp_path)) == 4


def test_latest_is_only_meant_by_name(tmp_path):
  table = made(tmp_path / 't')
  at = f'{tmp_path / "t"}'
  assert refs.opened(f'{at}@latest').name == table.version.name == refs.opened(f'{at}@{table.version.name[:6]}').name
  assert refs.opened(f'{at}@main').name == table.version.name
  with pytest.raises(UserError, match=f'names no version; expected .*@{table.version.name[:12]} or .*@latest'):
    refs.opened(at)
  with pytest.raises(UserError, match=r"no version begins with '12345'.*main"):
    refs.opened(f'{at}@12345')
  with pytest.raises(UserError, match='is no label table'):
    refs.opened(f'{tmp_path}@latest')


def tampered(path, old: bytes, new: bytes) -> None:
  data = path.read_bytes()
  assert data.count(old) >= 1 and len(old) == len(new)
  path.write_bytes(data.replace(old, new, 1))


def folder_with_edits(tmp_path):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'label', 'eel', reason='seen')])
  table.decide(ANNA, [says(table, 2, 'drop', reason='blur')])
  return table.commit('first', ANNA).name


@pytest.mark.parametrize('line, old, new', [(1, b'"eel"', b'"dog"'), (2, b'blur', b'blot'), (1, b'person', b'persom')])
def test_a_changed_journal_line_is_named(tmp_path, line, old, new):
  folder_with_edits(tmp_path)
  tampered(tmp_path / 'journal.jsonl', old, new)
  with pytest.raises(UserError, match=rf'journal.jsonl, line {line}: was changed'):
    list(verify.verify(tmp_path))


def test_a_removed_journal_line_is_noticed(tmp_path):
  folder_with_edits(tmp_path)
  lines = (tmp_path / 'journal.jsonl').read_bytes().splitlines(keepends=True)
  (tmp_path / 'journal.jsonl').write_bytes(lines[1])
  with pytest.raises(UserError, match='line 1: does not follow the line before it'):
    list(verify.verify(tmp_path))
  (tmp_path / 'journal.jsonl').write_bytes(lines[0])
  with pytest.raises(UserError, match='lines that were committed are missing'):
    store.Table(tmp_path).pending()
  with pytest.raises(UserError, match='not the one that branch main was committed with'):
    list(verify.verify(tmp_path))


def rewrite(path, column: str, change) -> None:
  """Writes a Parquet file again, valid, with one column changed."""
  table = pq.read_table(path)
  values = change(table[column].to_pylist())
  place = table.column_names.index(column)
  pq.write_table(table.set_column(place, column, [values]), path)


@pytest.mark.parametrize(
  'file, column, message',
  [
    ('rows.parquet', 'weight', 'rows.parquet: was changed: its rows are not those'),
    ('rows.parquet', 'reason', 'rows.parquet: was changed: who changed its rows, or why'),
    ('edits.parquet', 'reason', 'the edits of version .* do not turn its parent into it'),
  ],
)
def test_a_changed_snapshot_is_named(tmp_path, file, column, message):
  name = folder_with_edits(tmp_path)
  change = lambda values: [0.5 if column == 'weight' else 'other'] + values[1:]
  rewrite(tmp_path / 'versions' / name / file, column, change)
  with pytest.raises(UserError, match=message):
    list(verify.verify(tmp_path))


def test_a_changed_manifest_and_a_missing_parent_are_named(tmp_path):
  name = folder_with_edits(tmp_path)
  path = tmp_path / 'versions' / name / 'manifest.json'
  parent = json.loads(path.read_text())['parents'][0]
  tampered(path, b'"first"', b'"fir5t"')
  with pytest.raises(UserError, match=r'manifest.json: the file was damaged or edited'):
    list(verify.verify(tmp_path))
  tampered(path, b'"fir5t"', b'"first"')
  storage.remove(tmp_path / 'versions' / parent)
  with pytest.raises(UserError, match=f'the version {parent[:12]} is missing'):
    list(verify.verify(tmp_path))


def test_two_rows_of_one_id_and_labels_outside_the_classes_are_refused():
  with pytest.raises(UserError, match="'x' occurs twice"):
    rows.first(['x', 'y', 'x'], ['1', '2', '3'], np.zeros(3, int), CLASSES)
  with pytest.raises(UserError, match='its label is no class: expected 0 to 2'):
    rows.first(['x', 'y'], ['1', '2'], np.array([0, 3]), CLASSES)


THREADS = """
import sys
import pyarrow.parquet
from noisyjax.tables import verify
from small_tables import ANNA, made, says
from pathlib import Path
count = lambda: sum('jemalloc' not in path.read_text() for path in Path('/proc/self/task').glob('*/comm'))
before = count()
table = made(sys.argv[1])
table.decide(ANNA, [says(table, 1, 'drop')])
table.commit('m', ANNA)
assert list(verify.verify(table.folder))
print(count() - before)
"""


def test_no_thread_of_arrows_is_started_that_could_abort_a_command_at_its_end(tmp_path):
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path])}
  command = [sys.executable, '-c', THREADS, str(tmp_path / 't')]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
  assert done.stdout == '0\n'
