"""table propose --rule: what a rule would do becomes a file, a person deletes rows, the journal has the rule."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from test_table_commands import command

from noisyjax.loop import proposals
from noisyjax.rules import evidence as evidence_
from noisyjax.rules.evidence import Evidence
from noisyjax.system.errors import UserError
from noisyjax.tables import rejections, store
from noisyjax.tables.decisions import Decision
from small_tables import CLASSES, made


@pytest.fixture
def table(tmp_path):
  """40 rows, a quarter unlabeled, and evidence that they are dogs, row 0 the most and row 36 the least."""
  table = made(tmp_path / 't', 40)
  sure = np.linspace(0.99, 0.6, 40)[:, None]
  probs = np.concatenate([(1 - sure) / 2, sure, (1 - sure) / 2], 1).astype(np.float32)
  found = Evidence(table.version.name, probs, np.ones(40, np.float32), {}, told={'runs': ['a']})
  evidence_.write(tmp_path / 'evidence.parquet', found, table.rows)
  return table


def propose(table, *arguments, rule='promote:threshold=0.7'):
  where = table.folder.parent
  files = (f'--analysis={where / "evidence.parquet"}', f'--workdir={where / "w"}')
  command('table', 'propose', f'--table={table.folder}', f'--rule={rule}', *files, *arguments)
  return list(csv.DictReader((where / 'w' / 'proposals.csv').open()))


def renewed(table, winner: int) -> None:
  """Writes evidence that all rows of the newest version are of one class."""
  table = store.Table(table.folder)
  probs = np.full((40, 3), 0.05, np.float32)
  probs[:, winner] = 0.9
  found = Evidence(table.version.name, probs, np.ones(40, np.float32), {}, told={'runs': ['b']})
  evidence_.write(table.folder.parent / 'evidence.parquet', found, table.rows)


def test_a_deleted_row_is_rejected_and_the_manifest_has_the_rule(table, capsys):
  found = propose(table, '--frozen=given')
  assert [row['file'] for row in found] == [f'{i}.png' for i in (0, 4, 8, 12, 16, 20, 24, 28)]
  assert {(row['action'], row['label'], row['author']) for row in found} == {('label', 'dog', 'rule:promote')}
  text = capsys.readouterr().out
  assert 'promote - > dog: 8' in text and 'precision 0.333 [0.172, 0.546], 7 of 21 frozen rows' in text
  file = table.folder.parent / 'w' / 'proposals.csv'
  file.write_text('\n'.join(file.read_text().splitlines()[:-1]))
  command('table', 'decide', f'--table={table.folder}', f'--from={file}', '--author=anna')
  assert 'person:anna: proposals of rule:promote rejected: 1' in capsys.readouterr().out
  command('table', 'commit', f'--table={table.folder}', '--message=m', '--author=anna')
  after = store.Table(table.folder)
  (entry,) = after.version.manifest['rules']
  assert (entry['author'], entry['rule'], entry['proposed'], entry['decided']) == ('rule:promote', 'promote', 8, 7)
  assert entry['params']['threshold'] == 0.7 and entry['evidence']['runs'] == ['a']
  assert after.rows.label[[24, 28]].tolist() == [CLASSES.index('dog'), -1]
  assert after.rows.by[24] == 'rule:promote' and after.rows.reason[24] == 'the networks are sure'
  with pytest.raises(UserError, match=r'is about the version .*; expected one about'):
    propose(table)


def test_what_a_person_rejected_is_proposed_again_only_with_another_label(table, capsys):
  propose(table)
  file = table.folder.parent / 'w' / 'proposals.csv'
  header, kept, _, later, *rest = file.read_text().splitlines()
  kept = kept.replace(',label,dog,', ',keep,dog,')
  later = later.replace(',label,dog,', ',,dog,')
  file.write_text('\n'.join([header, kept, later, *rest]) + '\n')
  command('table', 'decide', f'--table={table.folder}', f'--from={file}', '--author=anna')
  names = lambda *arguments, **more: {row['file'] for row in propose(table, *arguments, **more)}
  again = names()
  assert {'0.png', '4.png'} & again == set() and '8.png' in again
  assert 'rejected them before: 2' in capsys.readouterr().out
  command('table', 'commit', f'--table={table.folder}', '--message=m', '--author=anna')
  renewed(table, CLASSES.index('dog'))
  assert {'0.png', '4.png'} & names() == set()
  renewed(table, CLASSES.index('eel'))
  assert {'0.png', '4.png'} <= names()


def test_of_a_row_that_changed_only_a_rejected_label_stays_rejected(table):
  row, other = (str(table.rows.id[place]) for place in (1, 2))
  said = {'rule': 'rule:doubt', 'said': ['unlabel', 'label dog']}
  table.decide('person:anna', [Decision(row, 'keep'), Decision(other, 'keep')], proposal=said)
  assert rejections.read(table.folder) == {row: {'unlabel'}, other: {'label dog'}}
  table.decide('person:anna', [Decision(row, 'keep')])
  assert rejections.holds(rejections.read(table.folder), row, 'label', 'eel'), 'it is to stay as it is'
  table.decide('rule:other', [Decision(row, 'label', 'eel'), Decision(other, 'label', 'eel')])
  assert rejections.read(table.folder) == {other: {'label dog'}}
  table.undo('rule:other')
  table.undo('person:anna')
  assert rejections.read(table.folder) == {row: {'unlabel'}, other: {'label dog'}}


def test_every_proposal_may_be_rejected(table):
  propose(table)
  file = table.folder.parent / 'w' / 'proposals.csv'
  file.write_text(file.read_text().splitlines()[0] + '\n')
  command('table', 'decide', f'--table={table.folder}', f'--from={file}', '--author=anna')
  with pytest.raises(UserError, match='nothing to commit'):
    command('table', 'commit', f'--table={table.folder}', '--message=m')


def test_what_would_make_an_estimate_is_said_where_it_would(table, capsys):
  for rule, arguments, helps in (
    ('promote', (), True),  # no label is verified
    ('drop_high_loss:threshold=0.5', ('--frozen=given',), False),  # of labels that count as right, none is wrong
    ('low_confidence', ('--frozen=given',), False),
    ('low_confidence', (), False),  # no label says whether a question is right
  ):
    propose(table, *arguments, rule=rule)
    said = capsys.readouterr().out
    assert 'precision: not estimated' in said and ('to estimate it: use an analysis' in said) == helps, rule


def test_a_rule_that_asks_leaves_the_action_open(table):
  found = propose(table, rule='low_confidence:total=3')
  assert [(row['file'], row['action'], row['label'], row['author']) for row in found] == [
    (f'{i}.png', '', 'dog', '') for i in (37, 36, 35)
  ]


def test_a_rule_that_stops_itself_says_why_and_proposes_nothing(table, capsys):
  assert propose(table, '--frozen=given', rule='promote:threshold=0.7,floor=0.9') == []
  assert 'stopped: precision 0.' in capsys.readouterr().out
  assert json.loads((table.folder.parent / 'w' / 'proposals.json').read_text())['rules']['rule:promote']['stopped']


@pytest.mark.parametrize(
  'rule, arguments, message',
  [
    ('promote', ('--n=3',), '--rule=promote:total=…'),
    ('promote', ('--analysis=',), '--analysis: missing'),
    ('promote', ('--analysis=nowhere',), "--analysis: there is no file 'nowhere'"),
    ('promot', (), "Did you mean 'promote'"),
    ('assign_by_cluster', (), "needs the column 'cluster'"),
  ],
)
def test_a_mistake_is_named(table, rule, arguments, message):
  with pytest.raises(UserError, match=message):
    propose(table, *arguments, rule=rule)


def test_evidence_of_networks_that_saw_the_rows_is_refused(table):
  path = table.folder.parent / 'evidence.parquet'
  evidence_.write(path, dataclasses.replace(evidence_.read(path, table.rows), in_sample=True), table.rows)
  with pytest.raises(UserError, match='in-sample'):
    propose(table)
  assert propose(table, rule='promote:in_sample=true')


def test_proposals_that_a_person_changed_are_kept_when_others_are_written(table, caplog):
  where = table.folder.parent / 'w'
  propose(table)
  assert len(propose(table, rule='promote:threshold=0.95')) == 1  # nobody touched the first ones
  text = (where / 'proposals.csv').read_text()
  (where / 'proposals.csv').write_text(text.replace('dog', 'cat'))
  for number in (1, 2):
    propose(table)
    assert sorted(path.name for path in where.glob('*.csv')) == [
      *(f'proposals.{n + 1}.csv' for n in range(number)),
      'proposals.csv',
    ]
    (where / 'proposals.csv').write_text('mine')
  assert (where / 'proposals.1.csv').read_text() == text.replace('dog', 'cat')
  assert 'was changed since it was written; it is kept as' in caplog.text
  command('table', 'decide', f'--table={table.folder}', f'--from={where / "proposals.1.csv"}', '--author=anna')
  assert len(store.Table(table.folder).pending()) == 1  # none of the others counts as rejected


def test_labels_that_a_person_filled_in_outlive_another_draw(table):
  where = table.folder.parent / 'w'
  asked = ('table', 'curate', f'--table={table.folder}', f'--workdir={where}')
  command(*asked, '--n=3')
  filled = (where / 'curate.csv').read_text().replace('curate,,', 'curate,cat,')
  (where / 'curate.csv').write_text(filled)
  command(*asked, '--n=4')
  assert (where / 'curate.1.csv').read_text() == filled
  assert len((where / 'curate.csv').read_text().splitlines()) == 5


def test_proposals_that_could_not_be_written_leave_none_that_would_be_rejected(table, monkeypatch):
  propose(table, rule='promote:threshold=0.95')
  with monkeypatch.context() as patch:  # the disk is full
    patch.setattr(proposals.sheet, 'write', lambda *_: (_ for _ in ()).throw(UserError('disk full')))
    with pytest.raises(UserError, match='disk full'):
      propose(table)
  assert not (table.folder.parent / 'w' / 'proposals.csv').exists()
