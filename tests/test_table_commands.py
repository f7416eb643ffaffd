"""The commands of label tables, and the files they take and write."""

import csv
import shlex

import numpy as np
import pytest
from PIL import Image

from noisyjax.cli import main
from noisyjax.cli.parse import parse
from noisyjax.config.defaults import get_config
from noisyjax.config.override import override
from noisyjax.data import prepare
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError
from noisyjax.tables import refs, rows, store


def command(*arguments) -> None:
  call = parse(list(map(str, arguments)), main.COMMANDS)
  call.command.run(call.flags)


@pytest.fixture
def photos(tmp_path):
  """Twelve images of two classes, four of them unlabeled, a label file, and a table of them."""
  random, lines = np.random.default_rng(0), ['image,label']
  (tmp_path / 'images').mkdir()
  for i in range(12):
    Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / 'images' / f'{i:02d}.png')
    lines.append(f'{i:02d}.png,{("cat", "dog", "undefined")[i % 3]}')
  (tmp_path / 'labels.csv').write_text('\n'.join(lines))
  where = f'--table={tmp_path / "t"}'
  command(
    'table', 'init', where, f'--images={tmp_path / "images"}', f'--labels={tmp_path / "labels.csv"}', '--author=anna'
  )
  return tmp_path


def decided(folder, *lines: str, header: str = 'file,action,label,author,reason') -> None:
  (folder / 'd.csv').write_text('\n'.join([header, *lines]))
  command('table', 'decide', f'--table={folder / "t"}', f'--from={folder / "d.csv"}', '--author=anna')


def of(table: store.Table, name: str) -> int:
  return table.rows.name.tolist().index(name)


def test_a_table_from_init_to_revert(photos, capsys):
  where = f'--table={photos / "t"}'
  decided(photos, '00.png,label,dog,,has a snout', 'images/02.png,label,cat,bob,', '04.png,hold,,,', '05.png,,,,')
  command('table', 'commit', where, '--message=looked', '--author=anna')
  table = store.Table(photos / 't')
  assert table.rows.by[[of(table, '00.png'), of(table, '02.png')]].tolist() == ['person:anna', 'person:bob']
  assert table.version.manifest['status'] == {'labeled': 8, 'unlabeled': 3, 'dropped': 0, 'held': 1}
  capsys.readouterr()
  for arguments in (
    ('log', where),
    ('diff', where, f'--out={photos / "diff.csv"}'),
    ('show', where),
    ('show', where, '--row=00.png'),
    ('branch', f'{where}@{table.version.manifest["parents"][0][:8]}', '--name=other'),
    ('verify', where),
  ):
    command('table', *arguments)
  said = capsys.readouterr().out
  for line in (
    'looked (1 hold dog > -, 1 promote - > cat, 1 relabel cat > dog) [main]',
    '00.png: relabel cat > dog, person:anna: has a snout',
    'train: unlabeled 3, cat 4, dog 4; 2 verified',
    '00.png (train)',
    'other begins at',
    "'looked' holds",
  ):
    assert line in said
  assert len(list(csv.DictReader((photos / 'diff.csv').open()))) == 3
  command('table', 'revert', where, '--version=other', '--author=anna')
  assert store.Table(photos / 't').version.manifest['status']['labeled'] == 8
  assert len(list(refs.ancestors(photos / 't', refs.branches(photos / 't')['main']))) == 3


def test_images_that_join_the_data_set_join_the_table(photos, capsys):
  where, images = f'--table={photos / "t"}', photos / 'images'
  given = (where, f'--images={images}', f'--labels={photos / "labels.csv"}', '--author=anna')
  old = store.Table(photos / 't')
  with pytest.raises(UserError, match='all 12 training images are in the table already'):
    command('table', 'add', *given)
  Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(images / 'new.png')
  (images / 'copy.png').write_bytes((images / '00.png').read_bytes())
  with (photos / 'labels.csv').open('a') as file:
    file.write('\nnew.png,dog')
  decided(photos, '01.png,label,cat,,')
  with pytest.raises(UserError, match='1 decisions are not committed'):
    command('table', 'add', *given)
  command('table', 'commit', where, '--message=looked', '--author=anna')
  command('table', 'add', *given)
  table, first = store.Table(photos / 't'), old.version.name
  assert len(table.rows) == 14 and table.rows.label[of(table, 'new.png')] == 1
  assert table.rows.status[of(table, 'copy.png')] == rows.UNLABELED and table.rows.split[of(table, 'copy.png')] == 0
  assert table.rows.label[of(table, '01.png')] == 0 and table.version.manifest['added'] == 2
  assert {(c['action'], c['rows']) for c in table.version.manifest['changes']} == {('add', 1)}
  capsys.readouterr()
  command('table', 'verify', where)
  command('table', 'diff', where, f'--since={first[:8]}')
  command('table', 'show', where, '--row=new.png')
  said = capsys.readouterr().out
  assert 'not in the table' in said and said.count('relabel') and 'new images joined' in said
  with pytest.raises(UserError, match='images joined the table since it was opened; open it again'):
    old.decide('person:anna', [])
  command('table', 'revert', where, f'--version={first[:8]}', '--author=anna')
  again = store.Table(photos / 't')
  assert len(again.rows) == 14 and again.rows.label[of(again, '01.png')] == 1  # new images stay
  config = get_config()
  fields = {'data.source': 'images', 'data.path': str(images), 'data.labels': str(photos / 'labels.csv')}
  override(config, {**fields, 'data.verified': '', 'data.test': '', 'data.val': ''}, 'test')
  for version, count in ((first, 12), (again.version.name, 14)):  # of the copied image, only one was in the table
    config.data.table = f'{photos / "t"}@{version}'
    assert len(prepare.prepare(config)[0].rows) == count
  next((photos / 't' / 'versions' / table.version.name).glob('added.parquet')).write_bytes(b'')
  with pytest.raises(UserError, match=r'added\.parquet: not a readable Parquet file'):
    command('table', 'verify', where)


def test_copies_of_validation_images_do_not_join_the_table_to_train(photos):
  given = (f'--table={photos / "t"}', f'--images={photos / "images"}', f'--labels={photos / "labels.csv"}')
  decided(photos, '00.png,curate,cat,,')
  command('table', 'commit', f'--table={photos / "t"}', '--message=looked', '--author=anna')
  (photos / 'images' / 'copy.png').write_bytes((photos / 'images' / '00.png').read_bytes())
  with pytest.raises(UserError, match=r'1 new images are exact copies of validation or test images, such as copy\.png'):
    command('table', 'add', *given, '--author=anna')
  Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(photos / 'images' / 'new.png')
  command('table', 'add', *given, '--author=anna')
  table = store.Table(photos / 't')
  assert len(table.rows) == 13 and table.rows.split[of(table, 'new.png')] == rows.TRAIN
  assert 'copy.png' not in table.rows.name.tolist()


@pytest.mark.parametrize(
  'line, message',
  [
    ('07.png,label,cow,,', r"row 3: 07\.png .*label: unknown value 'cow'.*cat, dog"),
    ('77.jpg,label,cat,,', r"row 3: '77\.jpg' is no image of this table"),
    ('07.png,relabel,cat,,', r"row 3: .*action: unknown value 'relabel'"),
    ('07.png,label,,,', 'row 3: .*needs a label'),
    ('07.png,curate,cat,rule:x,', 'row 3: .*expected a person'),
    ('00.png,hold,,,', 'row 3: decides on the same image as row 2'),
  ],
)
def test_a_bad_row_is_named_and_nothing_is_applied(photos, line, message):
  with pytest.raises(UserError, match=message + '.*Nothing was applied'):
    decided(photos, '00.png,drop,,,', line)
  assert len(store.Table(photos / 't').pending()) == 0


def test_a_file_that_holds_no_decisions_is_refused(photos):
  with pytest.raises(UserError, match='has the columns file, label; expected id or file, and action'):
    decided(photos, '00.png,cat', header='file,label')
  with pytest.raises(UserError, match="weight: found 'heavy'"):
    decided(photos, '00.png,weight,heavy', header='file,action,weight')
  (photos / 'empty.csv').write_text('')
  with pytest.raises(UserError, match=r'is empty .*expected a header with id or file, and action'):
    command('table', 'decide', f'--table={photos / "t"}', f'--from={photos / "empty.csv"}')


def test_the_first_version_has_no_diff_but_what_waits_is_told(photos):
  decided(photos, '00.png,drop,,,')
  with pytest.raises(UserError, match=r'has no parent.* 1 decisions are not committed: table commit'):
    command('table', 'diff', f'--table={photos / "t"}')


def test_a_login_name_that_becomes_the_author_is_told(photos, monkeypatch, caplog):
  monkeypatch.setattr('getpass.getuser', lambda: 'carla')
  (photos / 'd.csv').write_text('file,action\n00.png,drop\n')
  with caplog.at_level('INFO', 'noisyjax'):
    command('table', 'decide', f'--table={photos / "t"}', f'--from={photos / "d.csv"}')
    assert 'author: person:carla (the login name; --author=NAME sets another)' in caplog.text
    caplog.clear()
    (photos / 'd.csv').write_text('file,action,author\n01.png,drop,anna\n')
    command('table', 'decide', f'--table={photos / "t"}', f'--from={photos / "d.csv"}')
    command('table', 'commit', f'--table={photos / "t"}', '--message=m', '--author=anna')
    assert 'author:' not in caplog.text

  def nobody():
    raise KeyError('uid not found')

  monkeypatch.setattr('getpass.getuser', nobody)
  with pytest.raises(UserError, match='--author: missing'):
    command('table', 'undo', f'--table={photos / "t"}')


def test_a_table_without_a_version_says_how_to_name_one(photos):
  for text in (f'{photos / "t"}', f'{photos / "t"}@'):
    with pytest.raises(
      UserError, match=rf'names no version; expected {photos / "t"}@[0-9a-f]{{12}} or {photos / "t"}@lat'
    ):
      refs.opened(text)


def test_undo_takes_back_and_redoes(photos, capsys):
  decided(photos, '00.png,drop,,,')
  command('table', 'undo', f'--table={photos / "t"}', '--author=anna')
  assert len(store.Table(photos / 't').pending()) == 0
  entry = capsys.readouterr().out.split('--entry=')[1].split()[0]
  command('table', 'undo', f'--table={photos / "t"}', '--author=anna', f'--entry={entry}')
  assert len(store.Table(photos / 't').pending()) == 1


ISSUES = """file,given,suggested,score,flagged,image_issues
00.png,cat,dog,0.900000,1,
03.png,cat,dog,0.800000,1,
06.png,cat,dog,0.700000,0,
01.png,dog,cat,0.600000,1,
09.png,dog,cat,0.500000,1,
02.png,,cat,,0,
"""


def test_proposals_are_what_find_flagged_and_a_table_still_says(photos):
  (photos / 'issues.csv').write_text(ISSUES)
  decided(photos, '03.png,label,cat,,checked')
  where = f'--table={photos / "t"}'
  command('table', 'commit', where, '--message=m', '--author=anna')
  asked = ('table', 'propose', where, f'--issues={photos / "issues.csv"}', f'--workdir={photos / "w"}')
  command(*asked)
  found = list(csv.DictReader((photos / 'w' / 'proposals.csv').open()))
  assert [(row['file'], row['action'], row['label'], row['evidence']) for row in found] == [
    ('00.png', 'label', 'dog', '0.900000'),  # 03 was checked, 06 not flagged, 09 is a cat by now
    ('01.png', 'label', 'cat', '0.600000'),
  ]
  assert Image.open(photos / 'w' / 'proposals.png').width > 100
  command('table', 'decide', where, f'--from={photos / "w" / "proposals.csv"}')
  command('table', 'commit', where, '--message=found', '--author=anna')
  table = store.Table(photos / 't')
  assert (table.rows.by[of(table, '00.png')], table.rows.verified[of(table, '00.png')]) == ('rule:find', -1)
  (entry,) = table.version.manifest['rules']
  assert (entry['author'], entry['params']) == ('rule:find', {'action': 'label', 'min_score': 0.0, 'n': 0})
  assert entry['evidence']['sha256'] == storage.sha256(photos / 'issues.csv')
  command(*asked, '--action=unlabel', '--min_score=0.99')
  assert len((photos / 'w' / 'proposals.csv').read_text().splitlines()) == 1
  (photos / 'issues.csv').write_text(ISSUES.replace('.png', '.gif'))
  with pytest.raises(UserError, match='none of its images is in this table'):
    command(*asked)


def test_issues_that_a_spreadsheet_saved_again_are_read(photos):
  text = ISSUES.replace(',', ';').replace(';0.', ';0,')
  (photos / 'issues.csv').write_bytes(text.encode('utf-8-sig').replace(b'\n', b'\r\n'))
  asked = (
    'table',
    'propose',
    f'--table={photos / "t"}',
    f'--issues={photos / "issues.csv"}',
    f'--workdir={photos / "w"}',
  )
  command(*asked)
  found = list(csv.DictReader((photos / 'w' / 'proposals.csv').open()))
  assert ('00.png', '0.900000') in [(row['file'], row['evidence']) for row in found]
  (photos / 'issues.csv').write_text(ISSUES.replace('0.900000', 'high'))
  with pytest.raises(UserError, match=r"issues\.csv: row \d: score: found 'high'; expected a number"):
    command(*asked)


@pytest.mark.parametrize('branch', ['main', 'dev'])
def test_each_command_tells_the_next_one(photos, capsys, branch):
  where = [f'--table={photos / "t"}', *(['--branch=dev'] if branch == 'dev' else [])]
  if branch == 'dev':
    command('table', 'branch', where[0], '--name=dev')
  (photos / 'issues.csv').write_text(ISSUES)
  command('table', 'propose', *where, f'--issues={photos / "issues.csv"}', f'--workdir={photos / "a b"}')
  lines = capsys.readouterr().out.splitlines()
  follow = [shlex.split(line.partition('noisyjax')[2]) for line in lines if 'noisyjax ' in line]
  assert [words[:2] for words in follow] == [['table', 'decide'], ['review', where[0]]]
  command(*follow[0], '--author=anna')
  (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('noisyjax ')]
  command('table', 'log', *where)
  assert line in capsys.readouterr().out
  command(*shlex.split(line)[1:], '--author=anna')
  assert store.Table(photos / 't', branch).version.manifest['message'] == 'WHY'


@pytest.mark.parametrize(
  ('beside', 'header', 'message'),
  [
    ({'proposed': [['x']]}, 'file,action,label', r'd\.json: cannot be read as what was proposed'),
    ({'rules': 3}, 'file,action,label', r'd\.json: cannot be read as what was proposed'),
    ({}, 'file,action,label,action', "has 2 columns 'action'; expected one"),
  ],
)
def test_an_odd_file_of_decisions_is_named(photos, beside, header, message):
  if beside:
    formats.write_json(formats.LABEL_TABLE, photos / 'd.json', beside)
  with pytest.raises(UserError, match=message):
    decided(photos, '00.png,label,dog' + ',keep' * (header.count('action') - 1), header=header)
  assert not len(store.Table(photos / 't').pending())


def test_a_curated_sample_is_stratified_hides_labels_and_becomes_validation(photos):
  where = f'--table={photos / "t"}'
  command('table', 'curate', where, '--n=6', f'--workdir={photos / "w"}')
  found = list(csv.DictReader((photos / 'w' / 'curate.csv').open()))
  table = store.Table(photos / 't')
  labels = [int(table.rows.label[of(table, row['file'])]) for row in found]
  assert sorted(labels) == [-1, -1, 0, 0, 1, 1] and {row['label'] for row in found} == {''}
  assert (photos / 'w' / 'curate.png').exists()
  found[0]['label'], found[1]['label'] = 'cat', 'dog'
  decided(photos, *(','.join(row[name] for name in row) for row in found), header=','.join(found[0]))
  command('table', 'commit', where, '--message=validation', '--author=anna')
  table = store.Table(photos / 't')
  assert table.rows.split.tolist().count(rows.VAL) == 2
  assert table.version.manifest['changes'][0]['action'] == 'curate'
  with pytest.raises(UserError, match=r'--n: found 11; expected 1 to 10'):
    command('table', 'curate', where, '--n=11', f'--workdir={photos / "w"}')


@pytest.mark.parametrize(
  'arguments, message',
  [
    (('log',), '--table: missing'),
    (('log', '--table={t}/x'), 'is no label table'),
    (('curate', '--table={t}', '--n=x'), "--n: found 'x', expected a whole number"),
    (('propose', '--table={t}', '--n=-1'), "--n: found '-1', expected a non-negative integer"),
    (('propose', '--table={t}', '--min_score=x'), "--min_score: found 'x', expected a number such as 0.5"),
    (('undo', '--table={t}', '--author=a\nb'), 'author: '),
    (('commit', '--table={t}'), '--message: missing'),
    (('commit', '--table={t}', '--message=m'), 'nothing to commit'),
    (('commit', '--table={t}@latest', '--message=m'), 'and --branch for another branch than main'),
    (('diff', '--table={t}'), 'the first version has no parent'),
    (('show', '--table={t}', '--row=99.png'), "'99.png' names 0 rows"),
    (('show', '--table={t}@abcdef'), "no version begins with 'abcdef'"),
    (('log', '--table={t}', '--branch=nope'), "has no branch 'nope'; expected one of main"),
    (('init', '--table={t}', '--images={t}/../images', '--labels={t}/../labels.csv'), 'holds a label table already'),
    (('init', '--table={t}2'), 'expected either --images'),
    (('export', '--table={t}', '--out={t}'), 'is not empty'),
    (('import', '--table={t}', '--from={t}', '--of=hf'), r'has no data/\*.parquet'),
  ],
)
def test_mistakes_are_named(photos, arguments, message):
  with pytest.raises(UserError, match=message):
    command('table', *(argument.replace('{t}', str(photos / 't')) for argument in arguments))
