"""The server of the review page: who may talk to it, what it shows, and what it records."""

import contextlib
import io
import itertools
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from noisyjax.cli import main
from noisyjax.cli.parse import parse
from noisyjax.loop import decisions_file, table_images
from noisyjax.review import app, curate, details, evidence, proposals, settings, training
from noisyjax.review.columns import Content
from noisyjax.review.ledger import Ledger
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.review.training import Trainings
from noisyjax.rules import evidence as rules
from noisyjax.system import formats, parquet, storage
from noisyjax.system.errors import UserError
from noisyjax.tables import refs, store
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import TEST, TRAIN, VAL

ANNA, BOB = 'person:anna', 'person:bob'
HOSTILE = '<script>alert(1)<script>\'"\x1b[31m.png'  # the name of an image
HOSTILE_CLASS = '<img src=x onerror=alert(1)>"\''
TOKEN = 'a token'
LOCAL = 'http://127.0.0.1:8000'


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """A table of 14 photos of three classes, one with a hostile name, of which two validate and two test; and a run."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  random, folder, names = np.random.default_rng(0), tmp_path / 'photos', []
  for part, count in (('train', 10), ('val', 2), ('test', 2)):
    for i in range(count):
      label = ('cat', 'dog', HOSTILE_CLASS)[i % 3] if part == 'train' else 'cat'
      name = f'{part}/{label}/{HOSTILE if (part, i) == ("train", 0) else f"{i}.png"}'
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).save(folder / name)
      names.append(name)
  (tmp_path / 'secret.png').write_bytes((folder / names[1]).read_bytes())
  call = parse(['table', 'init', f'--table={tmp_path / "t"}', f'--images={folder}', '--author=anna'], main.COMMANDS)
  call.command.run(call.flags)
  rows = store.Table(tmp_path / 't').rows
  assert np.bincount(rows.split).tolist() == [10, 2, 2]
  columns = {
    'id': rows.digest.astype('U64'),
    'name': rows.name.astype('U200'),
    'predicted': (rows.label + 1) % 3,
    'confidence': np.linspace(0, 1, len(rows), dtype=np.float32),
    'loss': np.full(len(rows), np.nan, np.float32),
    'truth': rows.label,
    'probs': np.eye(3, dtype=np.float32)[(rows.label + 1) % 3],
  }
  (tmp_path / 'run').mkdir()
  parquet.write(tmp_path / 'run' / 'samples.parquet', columns)
  return tmp_path


class Page:
  """A page on a table, as its scripts would use the server."""

  def __init__(self, folder, author=ANNA, places=None, **options):
    self.ledger = Ledger(folder / 't', 'main', author, **options)
    self.places = places(self.ledger.table) if places else self.ledger.shown()
    folders = [folder / 'run', folder / 'proposed']
    table = self.ledger.table
    sources = evidence.read(folders[:1], table, self.places)
    shown = Content(self.places, sources, details.read(folders, table), proposals.read(folders, table), folders)
    self.trainings = Trainings(training.runs(folders), folder / 't')
    with table_images.opened(self.ledger.table) as images:
      small = Thumbnails(images, self.places, 'key', folder / 'thumbnails')
    self.client = TestClient(app.made(self.ledger, shown, images, small, self.trainings, TOKEN), base_url=LOCAL)
    self.client.get(f'/?token={TOKEN}').raise_for_status()
    self.read()

  def read(self):
    content = self.client.get('/api/columns').raise_for_status().content
    (length,) = struct.unpack('<I', content[:4])
    self.head = json.loads(content[4 : 4 + length])
    types = {'float32': '<f4', 'int32': '<i4', 'uint32': '<u4', 'uint8': 'u1'}
    self.arrays = {
      name: np.frombuffer(content, types[at['type']], at['length'], 4 + length + at['offset'])
      for name, at in self.head['arrays'].items()
    }
    self.version, self.seq = self.head['version'], self.head['seq']

  def post(self, what, headers=None, **content):
    content = {'version': self.version, 'seq': self.seq} | content
    return self.client.post(f'/api/{what}', json=content, headers={'origin': LOCAL} | (headers or {}))

  def done(self, what, **content):
    answer = self.post(what, **content)
    assert answer.status_code == 200, answer.text
    self.seq = answer.json()['seq']
    return answer.json()

  def changes(self):
    found = self.client.get('/api/changes', params={'version': self.version, 'seq': self.seq}).json()
    self.seq = found['seq']
    return found


def place(page, number):
  return int(page.places[number])


def test_without_the_token_nothing_is_read(photos):
  page = Page(photos)
  stranger = TestClient(page.client.app, base_url=LOCAL)
  paths = ['/', '/?token=wrong', '/?token=', '/static/main.js', '/api/columns', '/api/changes', '/api/row/0']
  paths += [f'/image/k/{place(page, 0)}', f'/thumb/k/{place(page, 0)}', '/api/versions', '/api/proposal']
  for path in paths:
    assert stranger.get(path).status_code == 403, path
  cookies = {name: value + 'x' for name, value in page.client.cookies.items()}
  assert TestClient(page.client.app, base_url=LOCAL, cookies=cookies).get('/api/columns').status_code == 403
  (cookie,) = page.client.cookies.jar
  assert cookie.has_nonstandard_attr('HttpOnly') and cookie.get_nonstandard_attr('SameSite') == 'Strict'
  assert TOKEN not in cookie.value


@pytest.mark.parametrize(
  'headers',
  [
    {'host': 'evil.example'},
    {'host': 'evil.example:8000'},
    {'host': '127.0.0.1.evil.example'},
    {'host': ''},
    {'origin': 'http://evil.example'},
    {'origin': 'null'},
    {'origin': 'http://127.0.0.1:9999'},
  ],
)
def test_a_foreign_host_or_origin_is_refused(photos, headers):
  page = Page(photos)
  assert page.client.get('/api/columns', headers=headers).status_code == 403
  assert page.client.get(f'/?token={TOKEN}', headers=headers).status_code == 403
  answer = page.post('decide', headers, action='drop', rows=[place(page, 0)])
  assert answer.status_code == 403 and not (photos / 't' / 'journal.jsonl').exists()


def test_a_form_of_another_page_cannot_decide(photos):
  page = Page(photos)
  content = json.dumps({'action': 'drop', 'rows': [place(page, 0)], 'version': page.version})
  for headers in ({'content-type': 'application/json'}, {'content-type': 'text/plain', 'origin': LOCAL}):
    assert page.client.post('/api/decide', content=content, headers=headers).status_code in (403, 415)
  assert len(page.ledger.table.pending()) == 0


def test_every_answer_forbids_inline_scripts_and_other_hosts(photos):
  page = Page(photos)
  for path in ('/', '/static/main.js', '/api/columns', f'/image/k/{place(page, 0)}', '/nothing'):
    headers = page.client.get(path).headers
    assert "default-src 'none'; script-src 'self';" in headers['content-security-policy'], path
    assert 'unsafe' not in headers['content-security-policy'] and headers['x-content-type-options'] == 'nosniff'
  for file in page.client.app.app.routes:  # the page itself asks for nothing from elsewhere
    assert 'http' not in str(file.path)
  html = page.client.get('/').text
  assert 'http' not in html and 'style="' not in html and 'onclick' not in html
  assert html.count('<script') == html.count('<script type="module" src="/static/')


def test_no_path_outside_the_data_is_reachable(photos):
  page = Page(photos)
  for path in (
    '/static/../app.py',
    '/static/%2e%2e/app.py',
    '/static/..%2fapp.py',
    '/static//etc/passwd',
    '/image/k/../../secret.png',
    '/image/k/secret.png',
    '/image/k/-1',
    f'/image/k/{len(page.ledger.table.rows)}',
    '/image/k/99999999999999999999999999',
    '/thumb/k/%2e%2e%2fsecret.png',
    '/api/row/99999',
    '/secret.png',
  ):
    assert page.client.get(path).status_code in (404, 405), path


def test_rows_that_validate_or_test_are_neither_shown_nor_decided(photos):
  page = Page(photos)
  rows = page.ledger.table.rows
  assert page.arrays['place'].tolist() == np.flatnonzero(rows.split == TRAIN).tolist() and page.head['hidden'] == 4
  names = page.arrays['name bytes'].tobytes().decode()
  for at in np.flatnonzero((rows.split == TEST) | (rows.split == VAL)).tolist():
    assert rows.name[at] not in names
    for path in (f'/image/k/{at}', f'/thumb/k/{at}', f'/api/row/{at}'):
      assert page.client.get(path).status_code == 404
    answer = page.post('decide', action='drop', rows=[place(page, 0), at])
    assert answer.status_code == 409 and 'no training row' in answer.json()['error']
  assert len(page.ledger.table.pending()) == 0


def test_evidence_is_joined_by_image_and_marked_as_in_sample_and_truth_is_left_out(photos):
  page = Page(photos)
  columns = {column['name']: column for column in page.head['columns']}
  assert set(columns) == {'predicted', 'confidence'}  # the loss is known of no row
  assert columns['predicted']['kind'] == 'class' and columns['predicted']['basis'] == 'in-sample'
  assert page.arrays[columns['predicted']['key']].tolist() == ((page.arrays['label'] + 1) % 3).tolist()
  (more,) = page.client.get(f'/api/row/{place(page, 0)}').json()['details']
  assert more['basis'] == 'in-sample' and np.argmax(more['probs']) == (page.arrays['label'][0] + 1) % 3


def test_the_card_shows_probabilities_and_the_nearest_rows_that_train(photos):
  rows = store.Table(photos / 't').rows
  (photos / 'run' / 'analysis').mkdir()
  order = np.arange(len(rows))[::-1]  # of the file
  parquet.write(photos / 'run' / 'analysis' / 'best.parquet', {'id': rows.id[order].astype('U64')})
  probs = np.random.default_rng(0).dirichlet(np.ones(3), len(rows)).astype(np.float32)
  np.save(photos / 'run' / 'analysis' / 'best.oof.npy', probs)
  np.save(
    photos / 'run' / 'analysis' / 'best.neighbours.npy', np.tile(np.arange(len(rows), dtype=np.int32), (len(rows), 1))
  )
  page = Page(photos)
  (found,) = page.client.get(f'/api/row/{place(page, 0)}').json()['details']
  assert found['basis'] == 'out-of-fold' and found['neighbours'] == page.places[::-1].tolist()
  np.testing.assert_allclose(found['probs'], probs[order.tolist().index(place(page, 0))], rtol=1e-6)
  os.truncate(photos / 'run' / 'analysis' / 'best.oof.npy', 100)  # under a memory map, reading it would end the process
  answer = page.client.get(f'/api/row/{place(page, 0)}')
  assert answer.status_code == 409 and 'best.oof.npy: was cut after it was opened' in answer.json()['error']


def test_evidence_of_a_round_of_the_loop_is_out_of_fold(photos):
  table = store.Table(photos / 't')
  probs = np.eye(3, dtype=np.float32)[(table.rows.label + 1) % 3] * 0.8 + 0.2 / 3
  probs[0] = np.nan
  known = rules.Evidence(
    table.version.name, probs, np.ones(14, np.float32), {'cluster': np.arange(14), 'frozen_right': np.ones(14)}
  )
  (photos / 'round=1').mkdir()
  rules.write(photos / 'round=1' / 'evidence.parquet', known, table.rows)
  (source,) = evidence.read([photos / 'round=1'], table, np.arange(14))
  columns = {column.name: column for column in source.columns}
  assert 'frozen_right' not in columns and columns['cluster'].basis == 'embedding'
  assert columns['oof_predicted'].basis == 'out-of-fold' and columns['oof_predicted'].kind == 'class'
  assert columns['oof_predicted'].values.tolist() == [-1, *((table.rows.label + 1) % 3)[1:].tolist()]
  np.testing.assert_allclose(columns['oof_loss'].values[1:], -np.log(0.2 / 3), rtol=1e-5)


def test_pictures_are_those_of_the_rows(photos):
  page = Page(photos)
  rows = page.ledger.table.rows
  for at in page.places.tolist():
    content = (photos / 'photos' / rows.name[at]).read_bytes()
    for path in (f'/image/k/{at}', f'/thumb/k/{at}'):
      answer = page.client.get(path)
      assert answer.content == content and answer.headers['content-type'] == 'image/png'
  (photos / 'photos' / rows.name[place(page, 3)]).unlink()
  assert page.client.get(f'/image/k/{place(page, 3)}').status_code == 404


def test_large_images_get_small_thumbnails_that_the_next_page_finds(photos):
  page = Page(photos)
  path = photos / 'photos' / page.ledger.table.rows.name[place(page, 1)]
  Image.new('RGB', (900, 300), 'red').save(path, 'BMP')
  with table_images.opened(page.ledger.table) as images:
    small = Thumbnails(images, page.places, 'other', photos / 'thumbnails')
    small.start()
    small._thread.join()
    content, media = small.read(place(page, 1))
    small.close()
    path.unlink()
    again = Thumbnails(images, page.places, 'other', photos / 'thumbnails')
    assert again.made == again.total and again.read(place(page, 1)) == (content, media)
    again.close()
  assert media == 'image/jpeg' and Image.open(io.BytesIO(content)).size == (160, 53)
  assert not [path for path in (photos / 'thumbnails').iterdir() if path.suffix not in ('.blob', '.npy')]


def test_a_decision_is_one_line_of_the_journal_with_author_reason_and_evidence(photos):
  page = Page(photos)
  at = [place(page, 0), place(page, 1)]
  answer = page.done('decide', action='label', rows=at, labels=[2, 0], reason='looked')
  (line,) = (photos / 't' / 'journal.jsonl').read_text().splitlines()
  entry = json.loads(line)
  assert entry['author'] == ANNA and [d['label'] for d in entry['decisions']] == ['dog', HOSTILE_CLASS]
  assert entry['decisions'][0]['reason'] == 'looked' and 'predicted' in entry['decisions'][0]['evidence']
  assert 'in-sample' in entry['decisions'][1]['evidence']
  assert [(row[0], row[2], row[3], row[5]) for row in answer['rows']] == [(at[0], 2, 2, ANNA), (at[1], 0, 0, ANNA)]
  waiting = page.client.get(f'/api/row/{at[0]}').json()['waiting']
  assert waiting[0]['label'] == 'dog' and not waiting[0]['undone']


def test_undo_and_redo_go_through_the_journal_and_survive_a_restart(photos):
  page = Page(photos)
  at, before = place(page, 0), page.arrays['label'][0]
  for label in (1, 2):
    page.done('decide', action='label', rows=[at], labels=[label])
  assert page.done('undo')['rows'][0][2] == 1
  page = Page(photos)
  assert (page.head['undo'], page.head['redo'], page.head['decided'][0][2]) == (1, 1, 1)
  answer = page.done('undo')
  assert answer['rows'][0][2] == before and answer['places'] == [at]
  assert page.post('undo').status_code == 409
  assert [page.done('redo')['rows'][0][2] for _ in range(2)] == [1, 2]
  assert page.post('redo').status_code == 409
  page.done('undo')
  page.done('decide', action='drop', rows=[at])
  assert 'nothing to redo' in page.post('redo').json()['error']
  assert len((photos / 't' / 'journal.jsonl').read_text().splitlines()) == 8  # nothing is ever removed


def test_a_decision_costs_the_server_the_same_however_many_wait(photos):
  page, rows = Page(photos), itertools.count()

  def lines():
    """Returns how many lines of Python one decision takes, on a row that nobody decided."""
    found, before = [], page.ledger.head()['seq']

    def trace(_, event, __):
      found.append(event)
      return trace

    said = [(place(page, next(rows)), Decision('', 'label', 'dog'))]
    sys.settrace(trace)
    page.ledger.decide(said, page.version)
    page.ledger.since(page.version, before)
    sys.settrace(None)
    return len(found)

  lines()
  few = lines()
  for _ in range(20):
    page.ledger.decide([(place(page, k), Decision('', 'drop')) for k in range(5, 10)], page.version)
  assert abs(lines() - few) < 0.02 * few


def test_undo_ends_at_a_commit(photos):
  page = Page(photos)
  page.done('decide', action='label', rows=[place(page, 0)], labels=[1])
  assert page.client.get('/api/proposal').json()['counts'][0]['rows'] == 1
  made = page.done('commit', message='looked')
  assert made['moved'] and made['made'] == store.Table(photos / 't').version.name
  page.read()
  assert page.head['undo'] == 0 and page.arrays['label'][0] == 1 and page.post('undo').status_code == 409
  newest, first = page.client.get('/api/versions').json()
  assert newest['message'] == 'looked'
  found = page.client.get('/api/difference', params={'old': first['version'], 'new': newest['version']}).json()
  assert found['total'] == 1 and found['rows'][0]['place'] == place(page, 0)
  assert page.client.get(f'/api/row/{place(page, 0)}').json()['committed'][0].startswith(newest['version'][:12])


def test_two_pages_see_each_others_decisions_and_where_they_disagree(photos):
  anna, bob = Page(photos), Page(photos, BOB)
  at = place(anna, 2)
  anna.done('decide', action='label', rows=[at], labels=[0])
  (row,) = bob.changes()['rows']
  assert (row[0], row[2], row[5], row[6]) == (at, 0, ANNA, False)
  assert bob.post('undo').status_code == 409  # it is anna's
  bob.done('decide', action='label', rows=[at], labels=[1])
  (row,) = anna.changes()['rows']
  assert (row[2], row[6]) == (0, True)
  assert 'decided differently' in anna.client.get('/api/proposal').json()['refused']
  assert anna.post('commit', message='m').status_code == 409
  bob.done('undo')
  assert anna.changes()['rows'][0][6] is False
  anna.done('commit', message='m')
  assert bob.changes()['moved']


def test_a_page_on_an_old_version_cannot_overwrite_what_it_did_not_see(photos):
  page, table = Page(photos), store.Table(photos / 't')
  table.decide(BOB, [Decision(str(table.rows.id[place(page, 0)]), 'drop')])
  table.commit('elsewhere', BOB)
  answer = page.post('decide', action='label', rows=[place(page, 0)], labels=[0])
  assert answer.status_code == 409 and 'changed since version' in answer.json()['error']
  page.done('decide', action='label', rows=[place(page, 1)], labels=[0])


@pytest.mark.parametrize(
  'content',
  [
    {'action': 'label', 'rows': [0], 'labels': [3]},
    {'action': 'label', 'rows': [0], 'labels': [-1]},
    {'action': 'label', 'rows': [0], 'labels': []},
    {'action': 'label', 'rows': [0]},
    {'action': 'label', 'rows': ['0'], 'labels': [0]},
    {'action': 'drop', 'rows': [True]},
    {'action': 'drop', 'rows': [0, 0]},
    {'action': 'drop', 'rows': []},
    {'action': 'curate', 'rows': [0]},
    {'action': 'drop', 'rows': [0], 'version': 'ffff'},
    {'action': 'drop', 'rows': [0], 'seq': 'x'},
    {},
  ],
)
def test_a_wrong_request_changes_nothing(photos, content):
  page = Page(photos)
  content = content | {'rows': [place(page, r) if r == 0 and r is not True else r for r in content.get('rows', [])]}
  answer = page.post('decide', **content)
  assert answer.status_code == 409 and answer.json()['error']
  assert len(page.ledger.table.pending()) == 0


def test_half_an_emoji_reaches_no_journal_that_could_never_be_committed(photos):
  page = Page(photos)
  reason = json.dumps({'action': 'drop', 'rows': [place(page, 0)], 'version': page.version, 'reason': '\ud83d'})
  headers = {'origin': LOCAL, 'content-type': 'application/json'}
  answer = page.client.post('/api/decide', content=reason, headers=headers)
  assert answer.status_code == 409 and 'reason: found' in answer.json()['error']
  page.done('decide', action='drop', rows=[place(page, 1)])
  answer = page.client.post('/api/commit', content=json.dumps({'message': 'half \ud83d'}), headers=headers)
  assert answer.status_code == 409 and 'message: found' in answer.json()['error']
  assert page.done('commit', message='whole \U0001f436')['made']


def test_a_number_of_five_thousand_digits_is_no_place_in_the_journal(photos):
  page = Page(photos)
  assert page.client.get('/api/changes', params={'version': page.version, 'seq': '9' * 5000}).json()['moved']


def test_keys_and_views_are_the_users_and_a_damaged_file_costs_nothing_else(photos, monkeypatch):
  monkeypatch.setenv('XDG_CONFIG_HOME', str(photos / 'config'))
  page = Page(photos)
  assert page.client.get('/api/settings').json() == {'keys': {}, 'views': {}}
  page.done('settings', views={'doubtful "cats"': '#label=0'})
  page.done('settings', keys={'drop': 'q'})
  expected = {'keys': {'drop': 'q'}, 'views': {'doubtful "cats"': '#label=0'}}
  assert Page(photos, BOB, read_only=True).client.get('/api/settings').json() == expected
  for content in ({'keys': ['q']}, {'views': {'a': 1}}, {'views': {'a': 'x' * 2**19}}):
    assert page.post('settings', **content).status_code == 409
  assert page.client.get('/api/settings').json() == expected
  settings.path().write_text('{"keys": 3, "views": [')
  assert page.client.get('/api/settings').json() == {'keys': {}, 'views': {}}


def test_going_back_makes_a_new_version_and_evidence_of_an_older_one_is_called_stale(photos):
  first = store.Table(photos / 't').version.name
  formats.write_json(formats.RUN, photos / 'run' / 'result.json', {'data': {'table': {'version': first}}})
  page = Page(photos)
  before = page.arrays['label'].tolist()
  assert page.head['runs'] == [{'name': 'run', 'version': first, 'stale': 0}]
  page.done('decide', action='label', rows=[place(page, 0), place(page, 1)], labels=[1, 2])
  assert page.post('revert', to=first).status_code == 409  # decisions wait
  made = page.done('commit', message='looked')['made']
  page.read()
  assert page.head['runs'][0]['stale'] == 2
  assert page.post('revert', to='ffff').status_code == 409
  assert page.done('revert', to=first)['made'] not in (first, made)
  page.read()
  assert page.arrays['label'].tolist() == before
  newest = page.client.get('/api/versions').json()[0]
  assert newest['message'] == f'back to {first[:12]}' and newest['author'] == ANNA


def test_the_versions_of_all_branches_are_listed_each_before_those_it_comes_from(photos):
  folder = photos / 't'
  refs.make_branch(folder, 'other', 'main')
  made = [store.Table(folder).version.name]
  for branch, row in (('main', 0), ('other', 1), ('other', 2)):
    table = store.Table(folder, branch)
    table.decide(ANNA, [Decision(str(table.rows.id[np.flatnonzero(table.rows.split == TRAIN)[row]]), 'drop')])
    made.append(table.commit('m', ANNA).name)
  made.append(store.Table(folder).merge('other', 'both', ANNA).name)
  found = Page(photos).client.get('/api/versions').json()
  at = {each['version']: k for k, each in enumerate(found)}
  assert set(at) == set(made) and all(at[each['version']] < at[p] for each in found for p in each['parents'])
  assert found[0]['version'] == made[-1] and found[0]['parents'] == [made[1], made[3]]
  assert {each['version']: each['branches'] for each in found if each['branches']} == {
    made[4]: ['main'],
    made[3]: ['other'],
  }


def test_the_page_stays_small():
  static = Path(app.__file__).parent / 'static'
  assert sum(path.stat().st_size for path in static.iterdir()) < 150_000


def test_accuracy_stands_beside_the_version_that_was_trained_on(photos):
  name = store.Table(photos / 't').version.name
  validation = {'labels': 'given', 'rows': 100, 'last': 0.5, 'best': 0.8}
  found = {'data': {'table': {'version': name}}, 'selected': 'best', 'validation': validation}
  formats.write_json(formats.RUN, photos / 'run' / 'result.json', found)
  (only,) = Page(photos).client.get('/api/versions').json()
  (score,) = only['scores']
  assert (score['run'], score['accuracy'], score['rows']) == ('run', 0.8, 100) and 0.7 < score['low'] < 0.8 < score[
    'high'
  ]


def test_a_training_is_the_command_of_a_run_on_another_version_and_ends_with_the_page(photos, monkeypatch):
  command = [
    'launch.py',
    'train',
    '--config=c.py',
    '--workdir',
    'x',
    '--rerun',
    '--config.data.table=t@1',
    '--config.epochs=2',
  ]
  formats.write_json(formats.RUN, photos / 'run' / 'environment.json', {'command': command})
  page = Page(photos)
  version = page.ledger.head()['version']
  expected = ['train', '--config=c.py', '--config.epochs=2', f'--config.data.table={photos / "t"}@{version[:12]}']
  expected.append(f'--workdir={photos / "run"}@{version[:12]}')
  assert page.trainings.command(version) == expected
  assert page.client.get('/api/versions').json()[0]['command'] == f'noisyjax {shlex.join(expected)}'
  (photos / 'run' / 'metrics.jsonl').write_text('{"epoch": 1, "loss": 2.5, "val_accuracy": 0.25}\n{"epoch": 2, "lo')
  fake = photos / 'fake.py'
  fake.write_text(f'import sys, time; open({str(photos / "got")!r}, "w").write(repr(sys.argv)); time.sleep(60)')
  real = subprocess.Popen
  monkeypatch.setattr(training.subprocess, 'Popen', lambda a, **k: real([a[0], str(fake), *a[3:]], **k))
  page.done('train', on=version)
  assert 'runs already' in page.post('train', on=version).json()['error']
  while not (photos / 'got').exists():
    pass
  told = page.client.get('/api/training').json()
  assert told['running'] and told['curves'][0] == {'name': 'run', 'loss': [2.5], 'val_accuracy': [0.25]}
  page.trainings.close()
  assert page.trainings._process.returncode == -signal.SIGTERM
  assert Page(photos, read_only=True).post('train', on=version).status_code == 409


def test_curated_rows_show_nothing_to_lean_on_and_validate_from_the_next_version_on(photos):
  page = Page(photos, curates=True, places=lambda table: curate.places(table, 4))
  rows = page.ledger.table.rows
  assert len(page.places) == 6 and (rows.split[page.places] == VAL).sum() == 2 and page.head['curates']
  trains = rows.split[page.places] == TRAIN
  assert (page.arrays['label'][trains] == -1).all() and (page.arrays['given'][trains] == -1).all()
  ours, known = page.places[trains].tolist(), page.places[~trains].tolist()
  assert 'while rows are curated' in page.post('decide', action='unlabel', rows=ours[:1]).json()['error']
  assert (
    page.post('decide', action='label', rows=[int(np.flatnonzero(rows.split == TEST)[0])], labels=[0]).status_code
    == 409
  )
  first = page.done('decide', action='label', rows=ours[:2], labels=[2, 0])['rows'][0]
  assert (first[0], first[2], first[3]) == (ours[0], 2, 2)
  page.done('decide', action='label', rows=ours[1:2], labels=[1])  # a second thought, before it is committed
  page.done('undo')
  page.done('decide', action='label', rows=known[:1], labels=[1])  # what validates can be mended here
  page.done('undo')
  page.done('commit', message='curated')
  now = store.Table(photos / 't').rows
  assert (now.split[ours[:2]] == VAL).all() and now.verified[ours[:2]].tolist() == [2, 0]
  assert now.split[ours[2:]].tolist() == [TRAIN, TRAIN] and now.label[known].tolist() == rows.label[known].tolist()


@pytest.mark.parametrize('branch', ['main', 'other'])
def test_after_a_rule_changed_labels_nothing_is_curated(photos, branch):
  main = store.Table(photos / 't')
  if branch != 'main':
    refs.make_branch(photos / 't', branch, main.version.name)
  table = store.Table(photos / 't', branch)
  id = str(table.rows.id[np.flatnonzero(table.rows.split == TRAIN)[0]])
  table.decide('rule:doubt', [Decision(id, 'drop')], rule='doubt')
  table.commit('by a rule', ANNA)
  if branch != 'main':
    main.merge(branch, 'what the rule did', ANNA)
  with pytest.raises(UserError, match='rules changed labels'):
    curate.places(store.Table(photos / 't'), 4)


@pytest.fixture
def proposed(photos):
  """The photos, with a rule that relabels four of them and asks about one."""
  rows = store.Table(photos / 't').rows
  at = np.flatnonzero(rows.split == TRAIN)[:5].tolist()
  names = store.Table(photos / 't').classes
  columns = {
    'action': ['label'] * 4 + [''],
    'label': [names[(rows.label[place] + 1) % 3] for place in at[:4]] + [''],
    'author': ['rule:doubt'] * 5,
    'evidence': ['0.9', '0.8', '0.7', '0.6', '0.5'],
  }
  (photos / 'proposed').mkdir()
  (photos / 'proposed' / 'proposals.csv').write_text(decisions_file.text(rows, at, columns))
  estimate = {'frozen': 9, 'proposed': 8, 'right': 6, 'precision': 0.75, 'low': 0.4, 'high': 0.9, 'classes': {}}
  entry = {'rule': 'doubt', 'params': {}, 'threshold': 0.5, 'estimate': estimate, 'stopped': [], 'in_sample': False}
  entry |= {'made_on': store.Table(photos / 't').version.name, 'counts': []}
  content = {'rules': {'rule:doubt': entry}}
  formats.write_json(formats.LABEL_TABLE, photos / 'proposed' / 'proposals.json', content)
  return photos, at


def test_what_a_training_says_is_not_mixed_with_what_the_one_before_said(tmp_path, monkeypatch):
  trainings = Trainings([training.Run(tmp_path / 'run', ['train'])], tmp_path / 't')
  real, words = subprocess.Popen, iter(['a long line', 'short'])
  fake = lambda a, **k: real([a[0], '-c', f'print({next(words)!r})'], **k)
  monkeypatch.setattr(training.subprocess, 'Popen', fake)
  said = []
  for version in ('a', 'b'):
    trainings.start(version)
    trainings._process.wait()
    said.append(trainings.told()['said'])
  trainings.close()
  assert said == ['a long line', 'short']


def test_proposals_in_the_name_of_a_person_are_refused(proposed):
  folder = proposed[0]
  path = folder / 'proposed' / 'proposals.csv'
  path.write_text(path.read_text().replace('rule:doubt', 'person:bob', 1))
  with pytest.raises(UserError, match=r"proposals\.csv: row 1: author: found 'person:bob'; expected a rule"):
    Page(folder)


DAMAGE = {
  'empty': lambda _: b'',
  'truncated': lambda content: content[: len(content) * 2 // 3],
  'another format': lambda _: b'\x89PNG\r\n\x1a\n\x00\x00\xff\xfe',
  'a JSON list': lambda _: b'[1, 2]',
  'a JSON object of another form': lambda _: (
    b'{"data": [1], "rules": {"rule:doubt": [1]}, "validation": 3, "command": 5}'
  ),
  'other types within': lambda _: b'{"data": {"table": {"version": 7}}, "rules": 3, "validation": {"last": "x"}}',
}
FILES = (
  'run/result.json',
  'run/metrics.jsonl',
  'run/samples.parquet',
  'run/environment.json',
  'run/analysis/best.parquet',
)
FILES += ('run/analysis/best.oof.npy', 'run/analysis/best.neighbours.npy', 'proposed/proposals.csv', 'config.json')
FILES += ('proposed/proposals.json', 'thumbnails')


def _files(folder):
  """Writes all files that the page reads beside the table, and returns name → path."""
  rows = store.Table(folder / 't').rows
  facts = {'data': {'table': {'version': store.Table(folder / 't').version.name}}, 'selected': 'last'}
  facts['validation'] = {'labels': 'given', 'rows': 9, 'last': 0.5}
  formats.write_json(formats.RUN, folder / 'run' / 'result.json', facts)
  formats.write_json(
    formats.RUN, folder / 'run' / 'environment.json', {'command': ['launch.py', 'train', '--config=c']}
  )
  (folder / 'run' / 'metrics.jsonl').write_text('{"epoch": 1, "loss": 2.5}\n{"epoch": 2, "loss": 1.5}\n')
  (folder / 'run' / 'analysis').mkdir()
  columns = {'id': rows.id.astype('U64'), 'oof_loss': np.arange(len(rows), dtype=np.float32)}
  parquet.write(folder / 'run' / 'analysis' / 'best.parquet', columns)
  np.save(folder / 'run' / 'analysis' / 'best.oof.npy', np.ones((len(rows), 3), np.float32) / 3)
  np.save(folder / 'run' / 'analysis' / 'best.neighbours.npy', np.zeros((len(rows), 2), np.int32))
  settings.write('t', {'views': {'a': '#label=0'}, 'keys': {'drop': 'q'}})
  with table_images.opened(store.Table(folder / 't')) as images:
    small = Thumbnails(images, np.flatnonzero(rows.split == TRAIN), 'key', folder / 'thumbnails')
    small.start()
    small._thread.join()
    small.close()
  paths = {name: folder / name for name in FILES}
  return paths | {'config.json': settings.path(), 'thumbnails': next((folder / 'thumbnails').glob('*.npy'))}


def _asks_everything(page):
  """Asks for all that the page asks for; every answer is given, or refused in a sentence."""
  at = place(page, 0)
  paths = ['columns', 'changes', 'settings', 'answers', f'row/{at}', 'versions', 'training', 'proposal', 'difference']
  for path in (*(f'/api/{name}' for name in paths), f'/image/k/{at}', f'/thumb/k/{at}'):
    answer = page.client.get(path)
    assert answer.status_code == 200 or (path == '/api/difference' and answer.json()['error']), path
  page.done('decide', action='label', rows=[at], labels=[1])
  page.done('decide', action='keep', rows=[at], **({'rule': 0} if page.head['rules'] else {}))
  page.done('settings', keys={'drop': 'e'})


@pytest.mark.parametrize('name', FILES)
def test_a_damaged_file_is_one_sentence_that_names_it_or_does_no_harm(proposed, monkeypatch, name):
  folder = proposed[0]
  monkeypatch.setenv('XDG_CONFIG_HOME', str(folder / 'config'))
  path = _files(folder)[name]
  content, refused = path.read_bytes(), 0
  for damage, change in DAMAGE.items():
    storage.write_bytes(path, change(content))  # as another file: one that is open and mapped is not cut
    try:
      _asks_everything(Page(folder))
    except UserError as error:
      assert str(path) in str(error) or str(path.parent) in str(error), damage
      refused += 1
  harmless = ('run/metrics.jsonl', 'config.json', 'thumbnails')  # logs that still grow, settings, a cache
  assert (refused == 0) if name in harmless else refused >= 3
  storage.write_bytes(path, content)
  page = Page(folder)
  for change in DAMAGE.values():  # while the page is open
    storage.write_bytes(path, change(content))
    _asks_everything(page)


@pytest.mark.parametrize('cells', [['a', 'b', 'c'], None])
def test_a_row_of_proposals_with_more_or_fewer_cells_is_named(proposed, cells):
  path = proposed[0] / 'proposed' / 'proposals.csv'
  first, *lines = path.read_text().splitlines()
  count = len(first.split(','))
  lines[2] = ','.join([lines[2], *cells]) if cells else lines[2].partition(',')[0]
  path.write_text('\n'.join([first, *lines]) + '\n')
  found = count + 3 if cells else 1
  with pytest.raises(UserError, match=rf'proposals\.csv: row 3: has {found} cells; expected {count}'):
    Page(proposed[0])


def test_predictions_of_other_classes_are_refused(photos):
  columns = parquet.read(photos / 'run' / 'samples.parquet')[0]
  columns['predicted'] = columns['predicted'] + 7
  parquet.write(photos / 'run' / 'samples.parquet', columns)
  with pytest.raises(UserError, match='predicted: found class 9; expected 0 to 2'):
    Page(photos)


def test_proposals_of_a_rule_are_shown_with_its_estimate(proposed):
  page = Page(proposed[0])
  (rule,) = page.head['rules']
  assert (rule['rule'], rule['source'], rule['stale'], rule['gone']) == ('rule:doubt', 'proposed', 0, 0)
  assert rule['estimate']['right'] == 6 and 'classes' not in rule['estimate']
  assert page.arrays['rule 0 place'].tolist() == proposed[1]
  assert [page.head['actions'][a] for a in page.arrays['rule 0 action']] == ['label'] * 4 + ['']
  wanted = [(page.arrays['label'][page.places.tolist().index(place)] + 1) % 3 for place in proposed[1][:4]]
  assert page.arrays['rule 0 label'].tolist() == [*wanted, -1]


def test_what_people_say_of_proposals_becomes_a_precision_that_counts_who_looked(proposed):
  page, at = Page(proposed[0]), proposed[1]
  label = dict(zip(at, page.arrays['rule 0 label'].tolist()))
  page.done('decide', action='label', rows=[at[0]], labels=[label[at[0]]], rule=0)
  page.done('decide', action='keep', rows=[at[1]], rule=0)
  page.done('decide', action='drop', rows=[at[4]], rule=0)  # the rule only asked
  page.done('adopt', rule=0, rows=at[2:4])
  found = page.client.get('/api/answers').json()['rules']['rule:doubt']
  assert {name: found[name] for name in ('accepted', 'rejected', 'other', 'adopted')} == {
    'accepted': 1,
    'rejected': 1,
    'other': 0,
    'adopted': 2,
  }
  assert (found['right']['right'], found['right']['count']) == (1, 2) and found['right']['low'] < 0.5
  assert found['places'] == {
    str(at[0]): 'accepted',
    str(at[1]): 'rejected',
    **dict.fromkeys(map(str, at[2:4]), 'adopted'),
  }
  page.done('undo')  # what was taken over is the person's to take back
  assert page.client.get('/api/answers').json()['rules']['rule:doubt']['adopted'] == 0
  page.done('redo')
  version = page.done('commit', message='m')['made']
  table = store.Table(proposed[0] / 't')
  assert table.version.name == version
  assert [table.rows.verified[place] >= 0 for place in at[:4]] == [True, False, False, False]
  assert [table.rows.by[place] for place in at[2:4]] == ['rule:doubt'] * 2
  assert table.rows.label[at[1]] == page.arrays['label'][page.places.tolist().index(at[1])]
  (rule,) = table.version.manifest['rules']
  assert rule['author'] == 'rule:doubt' and rule['accepted_by'] == ANNA and rule['estimate']['right'] == 6
  page = Page(proposed[0])  # what was answered or changed is not proposed again
  assert page.arrays['rule 0 place'].tolist() == [] and page.head['rules'][0]['gone'] == 5


@pytest.mark.parametrize(
  'content', [{'rule': 1}, {'rule': 'x'}, {}, {'rule': 0, 'rows': [13]}, {'rule': 0, 'asked': 1}]
)
def test_only_what_a_rule_proposes_can_be_taken_over(proposed, content):
  page, at = Page(proposed[0]), proposed[1]
  rows = [at[4] if 'asked' in content else at[0]]
  assert page.post('adopt', **{'rows': rows} | content).status_code == 409
  assert len(page.ledger.table.pending()) == 0


def test_agreement_with_oneself_and_with_others(photos):
  anna, bob = Page(photos), Page(photos, BOB)
  at = [place(anna, k) for k in range(4)]
  for k, label in enumerate((0, 1, 2, 0)):
    anna.done('decide', action='label', rows=[at[k]], labels=[label], blind=True)
  anna.done('decide', action='label', rows=[at[0]], labels=[0], blind=True, repeat=True)
  anna.done('decide', action='label', rows=[at[1]], labels=[2], blind=True, repeat=True)
  bob.done('decide', action='label', rows=[at[0]], labels=[0], blind=True)
  bob.done('decide', action='drop', rows=[at[1]])
  found = anna.client.get('/api/answers').json()
  assert (found['oneself'][ANNA]['right'], found['oneself'][ANNA]['count']) == (1, 2)
  (pair,) = found['pairs']
  assert pair['authors'] == [ANNA, BOB] and (pair['all']['right'], pair['all']['count']) == (1, 2)
  assert (pair['blind']['right'], pair['blind']['count']) == (1, 1)
  (differs,) = pair['differ']
  assert differs['place'] == at[1] and differs['said'][1] == 'drop'
  bob.done('undo')
  assert anna.client.get('/api/answers').json()['pairs'][0]['differ'] == []


def test_read_only_decides_nothing(photos):
  page = Page(photos, read_only=True)
  assert page.head['read_only']
  for what, content in (
    ('decide', {'action': 'drop', 'rows': [place(page, 0)]}),
    ('undo', {}),
    ('redo', {}),
    ('commit', {'message': 'm'}),
  ):
    answer = page.post(what, **content)
    assert answer.status_code == 409 and '--read_only' in answer.json()['error']
  assert not (photos / 't' / 'journal.jsonl').exists()


def test_the_digits_have_pictures_without_files(tmp_path):
  call = parse(['table', 'init', f'--table={tmp_path / "t"}', '--config=configs/digits.py'], main.COMMANDS)
  call.command.run(call.flags)
  table = store.Table(tmp_path / 't')
  from sklearn.datasets import load_digits

  digits = load_digits().images
  with table_images.opened(table) as images:
    for at in (0, 7, 1000):
      found = table_images.pixels(images.read(at))
      assert np.abs(found[..., 0] - digits[int(table.rows.name[at])] * 255 / 16).max() <= 0.5


@pytest.fixture
def started(photos):
  """Starts a server as a process of its own, and returns it and the address that it printed; none outlives the test."""
  processes = []

  def start(*flags):
    command = [sys.executable, 'launch.py', 'review', f'--table={photos / "t"}', '--author=anna', *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    processes.append(process)
    assert '10 training rows' in process.stdout.readline()
    return process, process.stdout.readline().strip()

  yield start
  for process in processes:
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_server_has_on_the_disk_whatever_it_acknowledged(photos, started):
  process, url = started(f'--workdir={photos / "run"}')
  base, _, token = url.partition('/?')
  assert base.startswith('http://127.0.0.1:') and token.startswith('token=')
  acknowledged = []
  with httpx2.Client(base_url=base, headers={'origin': base}, timeout=60) as client:
    client.get(f'/?{token}').raise_for_status()
    content = client.get('/api/columns').content
    head = json.loads(content[4 : 4 + struct.unpack('<I', content[:4])[0]])
    rows = [row for row in range(14) if store.Table(photos / 't').rows.split[row] == TRAIN]
    killer = threading.Timer(0.3, process.kill)
    killer.start()
    with contextlib.suppress(httpx2.TransportError):
      for i in itertools.count():
        sent = {'action': 'label', 'rows': [rows[i % 10]], 'labels': [i % 3], 'version': head['version'], 'seq': 0}
        acknowledged.append(client.post('/api/decide', json=sent).raise_for_status())
  assert process.wait(60) == -signal.SIGKILL
  found = len(store.Table(photos / 't').pending())
  assert len(acknowledged) <= found <= len(acknowledged) + 1  # one may be on the disk without its answer
  page = Page(photos)
  page.done('decide', action='drop', rows=[rows[0]])  # a journal with half a line is written on


def test_the_server_listens_on_this_machine_alone_and_ends_quietly(photos, started):
  process, url = started()
  port = int(url.partition('/?')[0].rpartition(':')[2])
  socket.create_connection(('127.0.0.1', port), timeout=60).close()
  with pytest.raises(OSError):  # another address of this machine
    socket.create_connection(('127.0.0.2', port), timeout=60)
  command = [sys.executable, 'launch.py', 'review', f'--table={photos / "t"}', f'--port={port}']
  second = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
  assert second.returncode == 2 and f'--port: {port} cannot be used' in second.stderr
  process.send_signal(signal.SIGINT)
  assert process.wait(60) == 0
