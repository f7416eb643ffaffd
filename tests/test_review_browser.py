"""The review page in a real browser: what a person does with keys and mouse, and what the journal holds afterwards.

Needs Debian's chromium and Playwright: `make test-browser`. Without them the tests skip, unless BROWSER=required.
With SHOTS=FOLDER, pictures of the panels are written there.
"""

import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisyjax.loop import rule_proposals
from noisyjax.rules import rule
from noisyjax.rules.evidence import Evidence
from noisyjax.system import formats, parquet
from noisyjax.tables import refs, rows, store
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import VAL

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[1]
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
SHOTS = os.environ.get('SHOTS', '')
HOSTILE = '<img src=x onerror="document.title=1">\'"'  # the name of a class, and of a file
PATIENCE = 60_000  # milliseconds; a busy machine may take long


@pytest.fixture(scope='session')
def chromium():
  """A browser; skips where there is none."""
  where = shutil.which('chromium') or shutil.which('chromium-browser')
  reason = '' if where else 'no chromium: apt-get install chromium'
  try:
    from playwright.sync_api import expect, sync_playwright
  except ImportError:
    reason = 'no Playwright: make test-browser'
  if reason:
    (pytest.fail if os.environ.get('BROWSER') == 'required' else pytest.skip)(reason)
  expect.set_options(timeout=PATIENCE)
  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=where, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
  """A table of 400 digits, a third of the labels wrong and 40 missing, out-of-fold predictions, and the true labels."""
  from sklearn.datasets import load_digits

  folder, random, count = tmp_path_factory.mktemp('digits'), np.random.default_rng(0), 400
  found = load_digits()
  of = np.arange(count)
  of[:99] = of[:99] // 3 * 3  # the first 99 rows are 33 pictures, thrice each at other brightness
  pixels, truth = found.images[of], found.target[of]
  given = np.where(random.random(count) < 0.3, (truth + random.integers(1, 10, count)) % 10, truth)
  given[:40] = -1
  names = [f'{i:04d}.png' for i in range(count)]
  (folder / 'images').mkdir()
  for i, (name, image) in enumerate(zip(names, pixels)):
    Image.fromarray(np.rint(image * (255 - i % 3) / 16).astype(np.uint8)).save(folder / 'images' / name)
  table(folder, names, given, [str(c) for c in range(10)])
  flat = pixels.reshape(count, -1) / 16 - pixels.mean(0).ravel() / 16
  far = np.square(flat[:, None] - flat[None]).sum(-1) + np.where((given < 0)[None] | np.eye(count, dtype=bool), 1e9, 0)
  near = far.argsort(1)[:, :15]  # the nearest labeled rows, never the row itself
  probs = (np.eye(10)[given[near]].sum(1) + 0.1) / 16
  own, spot = probs[np.arange(count), np.maximum(given, 0)], flat @ np.linalg.svd(flat, full_matrices=False)[2][:2].T
  (folder / 'run' / 'analysis').mkdir(parents=True)
  columns = {
    'name': np.array(names),
    'oof_predicted': probs.argmax(1).astype(np.int32),
    'oof_confidence': probs.max(1).astype(np.float32),
    'oof_loss': np.where(given >= 0, -np.log(own), np.nan).astype(np.float32),
    'map_x': spot[:, 0].astype(np.float32),
    'map_y': spot[:, 1].astype(np.float32),
    'duplicate_group': np.where(np.arange(count) < 99, np.arange(count) // 3 * 3, -1).astype(np.int32),
    'duplicate_kind': np.where(np.arange(count) < 99, 'hash', ''),
    'duplicate_crosses': np.arange(count) < 3,
  }
  parquet.write(folder / 'run' / 'analysis' / 'best.parquet', columns)
  np.save(folder / 'run' / 'analysis' / 'best.oof.npy', probs.astype(np.float32))
  np.save(folder / 'run' / 'analysis' / 'best.neighbours.npy', near[:, :8].astype(np.int32))
  made = store.Table(folder / 'table')
  labeled = given >= 0
  right = float((probs.argmax(1) == given)[labeled].mean())
  facts = {'validation': {'labels': 'given', 'rows': int(labeled.sum()), 'last': right}, 'selected': 'last'}
  facts['data'] = {'table': {'version': made.version.name}}
  formats.write_json(formats.RUN, folder / 'run' / 'result.json', facts)
  place = made.rows.places([hashlib.sha256((folder / 'images' / name).read_bytes()).hexdigest() for name in names])
  order = np.argsort(place)
  known = Evidence(made.version.name, probs[order].astype(np.float32), np.ones(count, np.float32), {})
  frozen = np.where(random.random(count) < 0.3, truth, -1)[order].astype(np.int32)
  for text in ('promote:threshold=0.6', 'relabel_high_loss:threshold=0.7,confidence=0.4'):
    asked = rule.parsed(text)
    rule_proposals.propose(made, asked, known, frozen, folder / 'run' / asked.name)
  return folder, dict(zip(names, truth.tolist()))


def table(folder, names, given, classes):
  """Makes the first version of a label table of images, as `table init` does."""
  ids = [hashlib.sha256((folder / 'images' / name).read_bytes()).hexdigest() for name in names]
  made = rows.first(ids, names, given, classes)
  store.create(folder / 'table', made, classes, 'person:anna', {'images': str(folder / 'images')})


class Review:
  """A review of a table: the server as a process of its own, and pages in the browser."""

  def __init__(self, chromium, folder, *flags, author='anna'):
    self.chromium, self.folder, self.flags, self.author = chromium, folder, flags, author
    self.requests, self.errors, self.contexts = [], [], []
    self.start()

  def start(self):
    command = [
      sys.executable,
      ROOT / 'launch.py',
      'review',
      f'--table={self.folder / "table"}',
      f'--author={self.author}',
    ]
    if (run := self.folder / 'run').exists():
      command.append(f'--workdir={run},{run / "promote"},{run / "relabel_high_loss"}')
    env = os.environ | {'XDG_CACHE_HOME': str(self.folder / 'cache'), 'XDG_CONFIG_HOME': str(self.folder / 'config')}
    self.process = subprocess.Popen([*command, *self.flags], stdout=subprocess.PIPE, text=True, env=env)
    self.process.stdout.readline()
    self.url = self.process.stdout.readline().strip()

  def context(self):
    context = self.chromium.new_context(viewport={'width': 1280, 'height': 800})
    context.set_default_timeout(PATIENCE)
    context.on('request', lambda request: self.requests.append(request.url))
    self.contexts.append(context)
    return context

  def open(self, context=None, fragment=''):
    page = (context or self.context()).new_page()
    page.on('pageerror', lambda error: self.errors.append(str(error)))
    page.goto(self.url + fragment)
    page.wait_for_selector('body[data-ready]', state='attached')
    return page

  def entries(self):
    path = self.folder / 'table' / 'journal.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

  def decided(self):
    """Returns (name, action, label) of every decision, in order."""
    known = store.Table(self.folder / 'table').rows
    names = dict(zip(known.id.tolist(), known.name.tolist()))
    found = [each for entry in self.entries() if entry['kind'] == 'decide' for each in entry['decisions']]
    return [(names[each['id']], each['action'], each.get('label', '')) for each in found]

  def end(self):
    for context in self.contexts:
      context.close()
    self.process.send_signal(signal.SIGINT)
    try:
      assert self.process.wait(60) == 0
    finally:
      self.process.kill()
      self.process.stdout.close()
    assert self.requests and all(url.startswith(('http://127.0.0.1:', 'blob:')) for url in self.requests)
    assert self.errors == []


@pytest.fixture
def review(chromium, digits, tmp_path):
  """The digits under review."""
  for name in ('table', 'run'):
    shutil.copytree(digits[0] / name, tmp_path / name)
  found = Review(chromium, tmp_path)
  yield found
  found.end()


@pytest.fixture
def others(chromium):
  """Opens further reviews, with flags and an author of their own; all end with the test."""
  opened = []

  def more(folder, *flags, author='anna'):
    opened.append(Review(chromium, folder, *flags, author=author))
    return opened[-1]

  yield more
  for each in opened:
    each.end()


def expect(found):
  """Playwright's assertions, which wait: the page draws, and asks the server, later than a key is pressed."""
  from playwright.sync_api import expect as waiting

  return waiting(found)


@pytest.fixture
def saved():
  """Waits until a page says that a number of decisions is not committed, and that nothing waits to be saved."""

  def wait(page, count):
    expect(page.locator('#counts')).to_contain_text(f' {count} decision')
    expect(page.locator('#saved')).not_to_contain_text('Saving')

  return wait


def shot(page, name):
  if SHOTS:
    Path(SHOTS).mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1000)  # thumbnails and history
    path = Path(SHOTS) / f'{name}.png'
    page.screenshot(path=path)
    Image.open(path).convert('RGB').quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
      path, optimize=True
    )


def focused(page):
  return page.locator('.focused:visible').get_attribute('aria-label').split(',')[0]


def test_thirty_photos_labeled_by_keys(review, digits, saved):
  page, truth = review.open(), digits[1]
  page.get_by_role('checkbox', name='unlabeled').check()
  page.locator('#panel-grid').focus()
  expected = []
  for _ in range(30):
    name = focused(page)
    expected.append((name, 'label', str(truth[name])))
    page.keyboard.press(str(truth[name]))
    page.wait_for_function('name => !document.querySelector(".focused").ariaLabel.startsWith(name)', arg=name)
  saved(page, 30)
  assert review.decided() == expected and len({name for name, *_ in expected}) == 30
  assert all(entry['author'] == 'person:anna' for entry in review.entries())
  page.keyboard.press('ArrowLeft')  # back, without a decision
  page.locator(f'.focused[aria-label^="{expected[-1][0]}"]').wait_for()
  page.keyboard.press('f')  # the next undecided one
  page.wait_for_function('name => !document.querySelector(".focused").ariaLabel.startsWith(name)', arg=expected[-1][0])
  assert focused(page) not in {name for name, *_ in expected}
  shot(page, 'grid')


def test_keys_are_dead_in_text_fields_lists_and_dialogs(review):
  page = review.open()
  page.locator('input[type=search]').click()
  page.keyboard.type('a5dnz')
  page.locator('#sort').focus()
  page.keyboard.press('d')
  page.locator('#panel-grid').focus()
  page.keyboard.press('?')
  page.locator('dialog[open]').wait_for()
  page.keyboard.press('d')
  shot(page, 'keys')
  page.keyboard.press('Escape')
  expect(page.locator('dialog[open]')).to_have_count(0)
  assert review.entries() == []


def test_lasso_relabel_undo_reload_redo(review, saved):
  page = review.open()
  page.keyboard.press('m')
  box = page.locator('.plot').bounding_box()
  at = lambda x, y: (box['x'] + box['width'] * x, box['y'] + box['height'] * y)
  page.mouse.move(*at(0.55, 0.55))
  page.mouse.down()
  for point in [(0.8, 0.55), (0.8, 0.75), (0.8, 0.95), (0.55, 0.95), (0.5, 0.75), (0.55, 0.56)]:
    page.mouse.move(*at(*point), steps=3)
  page.mouse.up()
  page.locator('#words', has_text='lasso on map_x × map_y').wait_for()
  page.keyboard.press('Control+a')
  page.locator('#counts', has_text='selected').wait_for()
  shot(page, 'map')
  page.keyboard.press('0')
  page.locator('dialog[open] .montage img').first.wait_for()
  shot(page, 'before_a_bulk_decision')
  assert review.entries() == []  # not before it is confirmed
  page.keyboard.press('Enter')
  page.locator('#saved', has_text='Saved').wait_for()
  (entry,) = review.entries()
  count = len(entry['decisions'])
  assert count > 5 and {each['label'] for each in entry['decisions']} == {'0'}
  assert 'lasso on map_x × map_y' in entry['decisions'][0]['reason']
  saved(page, count)
  page.keyboard.press('z')
  saved(page, 0)
  shown = page.locator('#counts').inner_text()
  page.wait_for_function("() => location.hash.includes('region') && !location.hash.includes('all=1')")
  page.reload()
  page.wait_for_selector('body[data-ready]', state='attached')
  expect(page.locator('#counts')).to_have_text(shown)  # the address holds the lasso
  page.keyboard.press('Shift+Z')
  saved(page, count)
  assert [entry['kind'] for entry in review.entries()] == ['decide', 'undo', 'undo']


def test_a_cell_of_the_matrix_and_its_suggestions(review, saved):
  page = review.open()
  page.locator('.near').nth(2).wait_for()  # the card's nearest rows and probabilities
  expect(page.locator('#card meter')).to_have_count(5)
  page.keyboard.press('x')
  cells = page.locator('.matrix td:not(.same) button:enabled')
  counts = [int(text) for text in cells.all_inner_texts()]
  shot(page, 'matrix')
  most = int(np.argmax(counts))
  says = cells.nth(most).get_attribute('aria-label')  # "label 3, oof_predicted 8: 7"
  suggested = says.split(':')[0].split()[-1]
  cells.nth(most).click()
  page.locator('#counts', has_text=f' {counts[most]} in the filters').wait_for()
  page.keyboard.press('Control+a')
  page.keyboard.press('a')
  page.get_by_role('button', name=f'Change {counts[most]} rows').click()
  saved(page, counts[most])
  (entry,) = review.entries()
  assert len(entry['decisions']) == counts[most] and {each['label'] for each in entry['decisions']} == {suggested}
  assert all(f'oof_predicted {suggested}' in each['evidence'] for each in entry['decisions'])
  page.get_by_role('button', name='Undo').click()
  saved(page, 0)


def test_ranked_issues_accepted_confirmed_and_committed(review, saved):
  page = review.open()
  page.keyboard.press('i')
  page.locator('.line').first.wait_for()
  expect(page.locator('#sort option:checked')).to_contain_text('oof_loss, highest first')
  labels = page.locator('.line').first.locator('.change').inner_text().split(' → ')
  page.locator('.line').nth(0).get_by_role('button', name='Accept').click()
  saved(page, 1)
  page.locator('.line').nth(1).get_by_role('button', name='Label is right').click()
  saved(page, 2)
  shot(page, 'issues')
  (_, _, first), (_, _, second) = review.decided()
  assert first == labels[1].strip() and second != ''
  page.keyboard.press('Control+Enter')
  page.get_by_label('Why the labels change').fill('the two worst')
  shot(page, 'versions')
  page.get_by_role('button', name='Commit a new version').click()
  page.locator('pre', has_text='--config.data.table=').wait_for()
  version = store.Table(review.folder / 'table').version
  assert version.manifest['message'] == 'the two worst' and version.name[:12] in page.locator('pre').inner_text()
  page.keyboard.press('Escape')
  saved(page, 0)
  expect(page.locator('#title')).to_have_text(f'table@{version.name[:12]} · anna')
  page.keyboard.press('z')  # undo never crosses a commit
  page.locator('#saved', has_text='nothing to undo').wait_for()
  page.keyboard.press('Control+Enter')
  page.get_by_role('button', name='Changes').click()
  expect(page.locator('.difference tr')).to_have_count(3)


def test_proposals_accepted_rejected_and_taken_over_above_a_line(review, saved):
  page = review.open()
  page.keyboard.press('p')
  rules = page.locator('.rules tr')
  rules.nth(2).wait_for()
  expect(rules.nth(1).locator('td').nth(2)).to_contain_text('of')  # the estimate, with its interval
  page.get_by_role('button', name='relabel_high_loss', exact=True).click()
  page.locator('#words', has_text='proposed by relabel_high_loss').wait_for()
  lines = page.locator('#proposal-rows .line')
  lines.nth(1).wait_for()
  proposed = [text.split(' → ')[1].strip() for text in lines.locator('.change').all_inner_texts()[:2]]
  names = lines.locator('.name').all_inner_texts()[:2]
  page.keyboard.press('a')
  saved(page, 1)
  lines.nth(1).get_by_role('button', name='Reject').click()
  saved(page, 2)
  page.locator('.rules', has_text='1 of 2, 9–91 %').wait_for()
  assert review.decided() == [(names[0], 'label', proposed[0]), (names[1], 'keep', '')]
  page.get_by_label('Line: lowest score').fill('0.8')
  shot(page, 'proposals')
  page.get_by_role('button', name='Accept all above the line, unseen').click()
  page.locator('dialog[open]', has_text='do not count as checked').wait_for()
  page.keyboard.press('Enter')
  page.locator('#saved', has_text='of relabel_high_loss').wait_for()
  entry = review.entries()[-1]
  assert entry['author'] == 'rule:relabel_high_loss' and entry['accepted_by'] == 'person:anna'
  assert len(entry['decisions']) > 2 and min(float(each['evidence']) for each in entry['decisions']) >= 0.8
  page.keyboard.press('z')
  saved(page, 2)


def test_blind_decisions_repeats_and_two_people_who_differ(review, digits, saved, others):
  page, truth = review.open(fragment='#status=1'), digits[1]
  page.keyboard.press('b')
  page.locator('#panel-blind img').wait_for()
  seen = lambda page: int(page.locator('#panel-blind .large img').get_attribute('src').rsplit('/', 1)[1])
  names = store.Table(review.folder / 'table').rows.name
  answers = []
  for k in range(25):
    place = seen(page)
    name = str(names[place])
    assert name not in page.inner_text('body') or page.locator('.told', has_text=name).count()  # only after a decision
    for key in ('a', 'k', 'ArrowRight', 'r') if k == 3 else ():
      page.keyboard.press(key)  # dead: they need to see more
    answers.append((name, 'label', '0' if k == 1 else str(truth[name])))
    page.keyboard.press(answers[-1][2])
    page.locator('.told', has_text=name).wait_for()
  page.locator('#panel-blind .agreement', has_text='1 of 1').wait_for()
  assert review.decided() == answers and len({name for name, *_ in answers}) == 24
  assert [entry.get('repeat', False) for entry in review.entries()].count(True) == 1
  assert all(entry['blind'] for entry in review.entries())
  bob = others(review.folder, author='bob')
  other = bob.open(fragment='#decided=decided')
  other.keyboard.press('b')
  for k in range(25):  # one comes again
    if k == 24:
      other.locator('.agreement', has_text='both decided blind').wait_for()
      shot(other, 'blind')
    name = str(names[seen(other)])
    other.keyboard.press(str(truth[name]))
    other.locator('.told', has_text=name).wait_for()
  other.locator('.agreement', has_text='23 of 24').wait_for()
  other.get_by_text('1 row on which they differ').click()
  other.locator('.agreement .near').click()
  other.locator('#words', has_text='authors disagree').wait_for()
  other.locator('.tile .badge', has_text='≠').wait_for()


def test_duplicates_that_differ_get_one_label_or_one_is_kept(review, saved):
  page = review.open()
  page.keyboard.press('c')
  page.locator('.group').first.wait_for()
  page.get_by_label('groups').select_option('crosses')
  expect(page.locator('.group')).to_have_count(1)
  expect(page.locator('.group')).to_contain_text('validates or tests')
  page.get_by_label('groups').select_option('conflicts')
  group = page.locator('.group').first
  label = group.get_by_role('button', name='All are').first.inner_text().split()[-1]
  count = group.locator('.near').count()
  shot(page, 'duplicates')
  group.get_by_role('button', name='All are').first.click()
  change = page.locator('dialog').get_by_role('button', name='Change')
  changed, confirmed = map(int, re.fullmatch(r'Change (\d+) rows?, confirm (\d+)', change.inner_text()).groups())
  assert changed + confirmed == count and confirmed >= 1  # one of them has the label already
  change.click()
  saved(page, count)
  assert {decided[1:] for decided in review.decided()} == {('label', label)}
  page.get_by_label('groups').select_option('all')
  page.locator('.group').first.get_by_role('button', name='Keep the first').click()
  page.keyboard.press('Enter')
  page.locator('.near.away').first.wait_for()
  assert review.entries()[-1]['decisions'][0]['action'] == 'drop'


def test_a_view_saved_by_name_and_a_changed_key_are_there_after_a_restart(review, saved):
  page = review.open(fragment='#label=3&sort=-oof_loss')
  shown = page.locator('#counts').inner_text()
  page.get_by_role('button', name='Save view').click()
  page.get_by_label('Name of the view').fill('doubtful threes')
  page.keyboard.press('Enter')
  page.keyboard.press('?')
  page.get_by_role('button', name='Change the key of: Drop from the data').click()
  page.keyboard.press('q')
  page.get_by_role('button', name='Close').click()
  page.wait_for_function("() => fetch('/api/settings').then(a => a.json()).then(a => a.keys.drop === 'q')")
  page.close()
  review.process.send_signal(signal.SIGINT)
  assert review.process.wait(60) == 0
  review.process.stdout.close()
  review.start()  # at another port: another site to the browser
  page = review.open()
  page.get_by_label('Saved views').select_option('doubtful threes')
  page.locator('#words', has_text='label 3').wait_for()
  expect(page.locator('#counts')).to_have_text(shown)
  page.keyboard.press('d')
  page.locator('#panel-grid').focus()
  page.keyboard.press('q')
  saved(page, 1)
  assert review.decided()[0][1] == 'drop'


def test_a_second_tab_sees_the_decision(review, saved):
  context = review.context()
  one, two = review.open(context), review.open(context)
  one.bring_to_front()
  one.keyboard.press('d')
  saved(one, 1)
  two.bring_to_front()
  saved(two, 1)
  expect(two.locator('.tile.decided.away')).to_have_count(1)
  two.keyboard.press('z')
  saved(two, 0)
  one.bring_to_front()
  saved(one, 0)
  expect(one.locator('.tile.decided')).to_have_count(0)


def test_a_killed_server_loses_nothing_that_was_acknowledged(review):
  page, acknowledged = review.open(), []
  page.on('response', lambda answer: '/api/decide' in answer.url and answer.ok and acknowledged.append(1))
  for digit in '1234567890' * 3:
    page.keyboard.press(digit)
  while len(acknowledged) < 7:
    page.wait_for_timeout(5)
  os.kill(review.process.pid, signal.SIGKILL)  # while the others wait to be sent
  review.process.wait()
  page.keyboard.press('d')
  page.locator('#saved', has_text='not saved').wait_for()
  held = len(review.decided())
  assert len(acknowledged) <= held <= len(acknowledged) + 1  # one may be on the disk without its answer
  review.process.stdout.close()
  review.start()
  again = review.open()
  again.locator('#counts', has_text=f' {held} decision').wait_for()


def test_filters_live_in_the_address(review):
  page = review.open()
  box = page.locator('.histogram canvas').first.bounding_box()
  page.mouse.move(box['x'] + box['width'] * 0.5, box['y'] + 20)
  page.mouse.down()
  page.mouse.move(box['x'] + box['width'] * 0.8, box['y'] + 20, steps=4)
  page.mouse.up()
  page.get_by_role('group', name='Label').locator('input[value="3"]').check()
  page.locator('#words', has_text='label 3; oof_confidence').wait_for()
  page.wait_for_function("() => location.hash.includes('label=3') && location.hash.includes('range')")
  assert 'token' not in page.url
  shown = page.locator('#counts').inner_text()
  assert ' 400 in the filters' not in shown
  other = review.open(page.context, '#' + page.url.partition('#')[2])
  expect(other.locator('#counts')).to_have_text(shown)
  page.get_by_role('button', name='Clear all filters').click()
  page.locator('#counts', has_text=' 400 in the filters').wait_for()


def test_every_control_has_a_name(review):
  page = review.open()
  nameless = """() => [...document.querySelectorAll('button, input, select, textarea, [tabindex="0"]')]
    .filter(e => e.offsetParent && !e.ariaLabel && !e.innerText.trim() && !e.labels?.[0]?.innerText.trim())
    .map(e => e.outerHTML.slice(0, 100))"""
  for key in 'gimxpcb':
    page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.evaluate(nameless) == [], key
  dark = review.chromium.new_context(viewport={'width': 1024, 'height': 768}, color_scheme='dark')
  review.contexts.append(dark)
  shot(review.open(dark, '#tab=issues&issues=1&sort=-oof_loss'), 'dark')


def test_versions_go_back_and_a_view_becomes_one_file(review, saved, tmp_path):
  first = store.Table(review.folder / 'table').version.name
  page = review.open(fragment='#tab=issues&issues=1')
  page.locator('.line').first.get_by_role('button', name='Accept').click()
  saved(page, 1)
  page.keyboard.press('Control+Enter')
  page.get_by_role('button', name='Commit a new version').click()
  page.locator('dialog').get_by_role('button', name='Versions').click()
  page.get_by_role('button', name='Changes').click()
  page.locator('.difference img').first.wait_for()
  page.get_by_role('button', name='Train on this').last.click()
  page.locator('pre', has_text=f'@{first[:12]}').wait_for()  # no run says how: the command alone
  page.keyboard.press('Escape')
  page.keyboard.press('Control+Enter')
  page.get_by_role('button', name='Go back to this').click()
  page.get_by_role('button', name='Go back', exact=True).click()
  page.locator('#saved', has_text='Back to').wait_for()
  versions = store.Table(review.folder / 'table')
  assert (versions.rows.label == refs.opened(f'{review.folder / "table"}@{first}').rows.label).all()
  assert versions.version.manifest['message'] == f'back to {first[:12]}'
  page.keyboard.press('x')
  with page.expect_download() as found:
    page.get_by_role('button', name='Export').click()
  found.value.save_as(tmp_path / 'view.html')
  alone = review.context()
  alone.set_offline(True)
  file = alone.new_page()
  file.goto((tmp_path / 'view.html').as_uri())
  assert file.locator('.cell img').count() > 50 and file.locator('.matrix').count() == 1
  assert file.evaluate('() => [...document.images].every(i => i.naturalWidth > 0)')
  review.requests[:] = [url for url in review.requests if not url.startswith(('file:', 'data:'))]


# Random graphs whose lanes are followed from each version down to its parents; returns those that lead elsewhere.
LOST = """async () => {
  const { lanes } = await import('/static/graph.js');
  let seed = 1;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  const lost = [];
  for (let trial = 0; trial < 300; trial++) {
    const count = 1 + random(20);
    const parent = (k) => `v${k + 1 + random(Math.min(5, count - k - 1))}`;
    const list = [...Array(count).keys()].map((k) => {
      const parents = k === count - 1 ? [] : [...new Set(random(3) ? [parent(k)] : [parent(k), parent(k)])];
      return { version: `v${k}`, parents };
    });
    const laid = lanes(list, `v${random(count)}`);
    list.forEach(({ parents }, k) => parents.forEach((wanted, p) => {
      let at = k + 1;
      while (at < count && laid[at].past.includes(laid[k].below[p])) at++;
      if (list[at]?.version !== wanted || !laid[at].above.includes(laid[k].below[p])) lost.push([trial, k, wanted]);
    }));
    laid.forEach((row, k) => {
      const below = [...row.past, ...row.below];
      const next = k + 1 < count ? [...laid[k + 1].past, ...laid[k + 1].above] : [];
      if (String([...new Set(below)].sort()) !== String(next.sort())) lost.push([trial, k, 'ends in nothing']);
    });
  }
  return lost;
}"""


def test_versions_are_a_graph_of_branches_and_merges(review):
  folder, names = review.folder / 'table', {}

  def commit(name, branch, place, message):
    table = store.Table(folder, branch)
    table.decide('person:bob', [Decision(str(table.rows.id[place]), 'label', '7')])
    names[name] = table.commit(message, 'person:bob').name[:12]

  names['first'] = store.Table(folder).version.name[:12]
  for branch in ('second-look', 'sevens'):
    refs.make_branch(folder, branch, 'main')
  commit('main', 'main', 3, 'the first page')
  commit('look', 'second-look', 5, 'a second look')
  commit('more', 'second-look', 6, 'a second look, page two')
  names['merge'] = store.Table(folder).merge('second-look', 'both looks', 'person:anna').name[:12]
  commit('sevens', 'sevens', 7, 'all doubtful ones are sevens')
  page = review.open()
  assert page.evaluate(LOST) == []
  page.locator('#banner', has_text=f'run was trained on version {names["first"]}; 3 rows changed since').wait_for()
  page.keyboard.press('Control+Enter')
  page.locator('.versions li').nth(5).wait_for()
  shown = page.locator('.versions li .node').all_inner_texts()
  assert sorted(shown) == sorted(names.values()) and shown[-1] == names['first']
  lane = dict(zip(shown, page.locator('.lanes circle').evaluate_all('all => all.map((c) => c.getAttribute("cx"))')))
  assert lane[names['merge']] == lane[names['main']] == lane[names['first']] and len(set(lane.values())) == 3
  assert lane[names['look']] == lane[names['more']] != lane[names['first']]
  merge = page.get_by_role('button', name=f'Version {names["merge"]}, branch main, now, both looks, merge of')
  expect(merge).to_have_accessible_name(
    f'Version {names["merge"]}, branch main, now, both looks, merge of {names["main"]} and {names["more"]}'
  )
  merge.focus()
  page.keyboard.press('End')
  expect(page.locator('.node').last).to_be_focused()
  page.keyboard.press('ArrowUp')
  expect(page.locator('.node').nth(4)).to_be_focused()
  page.get_by_role('button', name=f'Go to {names["more"]}, from which {names["merge"]} comes').press('Enter')
  more = page.get_by_role('button', name=f'Version {names["more"]}, ')
  expect(more).to_be_focused()
  page.keyboard.press('Enter')
  expect(page.locator('.versions li:not(.aside) .node')).to_have_text([names['more'], names['look'], names['first']])
  page.keyboard.press('Enter')
  shot(page, 'graph')
  page.get_by_role('button', name=f'Changes to {names["main"]}').click()
  page.locator('.difference h3', has_text='2 rows').wait_for()
  other = page.locator('.versions li', has=page.locator('.node', has_text=names['sevens']))
  other.get_by_role('button', name='Go back to this').click()  # of another branch
  page.get_by_role('button', name='Go back', exact=True).click()
  page.locator('#saved', has_text='Back to').wait_for()
  table = store.Table(folder)
  assert (table.rows.label == refs.opened(f'{folder}@sevens').rows.label).all()


def test_rows_are_curated_blind_and_then_validate(others, digits, tmp_path, saved):
  shutil.copytree(digits[0] / 'table', tmp_path / 'table')
  review, truth = others(tmp_path, '--curate=22'), digits[1]
  page, names = review.open(), store.Table(tmp_path / 'table').rows.name
  shot(page, 'curate')
  for _ in range(23):  # one comes again
    name = str(names[int(page.locator('#panel-blind .large img').get_attribute('src').rsplit('/', 1)[1])])
    page.keyboard.press(str(truth[name]))
    page.locator('.told', has_text=name).wait_for()
  page.locator('#panel-blind', has_text='You decided all rows').wait_for()
  saved(page, 23)  # the answer to the last decision would replace the message that follows
  page.keyboard.press('5')  # on nothing
  page.locator('#saved', has_text='No row in focus').wait_for()
  page.keyboard.press('Control+Enter')
  page.get_by_role('button', name='Commit a new version').click()
  page.locator('pre', has_text='--config.data.table=').wait_for()
  rows = store.Table(tmp_path / 'table').rows
  validate = rows.split == VAL
  assert validate.sum() == 22
  assert rows.verified[validate].tolist() == [truth[str(name)] for name in rows.name[validate]]


@pytest.fixture
def hostile(chromium, tmp_path):
  """A table of twelve classes and twenty images, one class and one file with a name that is markup."""
  random, names = np.random.default_rng(0), [f'{i}{HOSTILE if i == 1 else ""}.png' for i in range(20)]
  (tmp_path / 'images').mkdir()
  for name in names:
    Image.fromarray(random.integers(0, 255, (12, 12, 3), np.uint8)).save(tmp_path / 'images' / name)
  table(tmp_path, names, np.arange(20) % 12, [HOSTILE, *(f'class {letter}' for letter in 'abcdefghijk')])
  found = Review(chromium, tmp_path)
  yield found
  found.end()


def test_hostile_names_are_text(hostile, saved):
  page = hostile.open()
  page.on('dialog', lambda dialog: hostile.errors.append(dialog.message))
  for key in 'gimx?':
    page.keyboard.press(key)
    page.wait_for_timeout(200)
  page.keyboard.press('Escape')
  page.keyboard.press('g')
  page.keyboard.press('/')  # a class by its name, as there are more than ten
  page.get_by_role('textbox', name='Class').fill('onerror')
  page.keyboard.press('Enter')
  saved(page, 1)
  assert hostile.decided()[0][2] == HOSTILE
  code = page.get_by_role('group', name='Label').locator('label', has_text='class k').locator('kbd').inner_text()
  for letter in code:
    page.keyboard.press(f'Shift+{letter}')
  saved(page, 2)
  assert hostile.decided()[1][2] == 'class k'
  page.keyboard.press('Control+Enter')
  page.locator('dialog[open]').wait_for()
  assert page.title() == 'table: review' and page.locator('img[src=x]').count() == 0
  assert HOSTILE in page.locator('dialog').inner_text()


def test_strangers_are_refused(review):
  page = review.context().new_page()
  assert page.goto(review.url[:-3]).status == 403 and 'token' in page.inner_text('body')
  known = review.open()

  class Elsewhere(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(200)
      self.send_header('content-type', 'text/html')
      self.end_headers()

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Elsewhere)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  evil = known.context.new_page()  # with the cookie: another port is the same site
  evil.goto(f'http://127.0.0.1:{server.server_port}/')
  base = review.url.partition('/?')[0]
  found = evil.evaluate(
    """async (base) => {
      const post = {method: 'POST', mode: 'no-cors', credentials: 'include', body: '{"action": "drop", "rows": [0]}'};
      const ask = (path, options) => fetch(base + path, options).then((a) => a.type, () => 'refused');
      return [await ask('/api/decide', post), await ask('/api/columns', {credentials: 'include'})];
    }""",
    base,
  )
  server.shutdown()
  server.server_close()
  assert found[1] == 'refused' and review.entries() == []


def test_read_only(others, digits, tmp_path):
  for name in ('table', 'run'):
    shutil.copytree(digits[0] / name, tmp_path / name)
  review = others(tmp_path, '--read_only')
  page = review.open()
  page.keyboard.press('d')
  page.keyboard.press('z')
  page.locator('#saved', has_text='--read_only').wait_for()
  expect(page.locator('#bar button:enabled')).to_have_count(0)
  assert review.entries() == []


def test_a_person_makes_version_1_of_a_loop_by_keys_and_the_loop_goes_on(chromium, tmp_path):
  from sklearn.datasets import load_digits

  truth = load_digits().target
  lines = ''.join(f'{i},{label}\n' for i, label in enumerate(truth))
  (tmp_path / 'truth.csv').write_text(f'image,label\n{lines}')
  small = ('decide=person', 'rounds=1', 'folds=2', 'final=0', 'controls=()')
  rules = "rules=((('promote', {'threshold': 0.6}),),)"
  flags = [f'--config.loop.{flag}' for flag in (*small, rules)]
  flags += ['--config.epochs=5', '--config.steps_per_epoch=20', f'--workdir={tmp_path / "loop"}']
  loop = [sys.executable, 'launch.py', 'loop', '--config=configs/loop/digits.py', *flags]
  env = os.environ | {name: str(tmp_path) for name in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME')}
  waits = subprocess.run(loop, check=True, capture_output=True, text=True, cwd=ROOT, env=env)
  assert 'wait for a person' in waits.stdout
  ours = ['benchmarks/by_keys.py', f'--loop={tmp_path / "loop"}', f'--truth={tmp_path / "truth.csv"}', '--looks=10']
  subprocess.run([sys.executable, *ours], check=True, cwd=ROOT, env=env | {'PYTHONPATH': str(ROOT)})
  table = store.Table(tmp_path / 'loop' / 'table')
  before = refs.opened(f'{table.folder}@{table.version.manifest["parents"][0]}').rows
  true = truth[table.rows.name.astype(int)]
  right = lambda found: int(((found.label == true) & (found.split == 0)).sum())
  assert right(table.rows) >= right(before) + 20
  looked = table.rows.by == 'person:simulated'
  assert looked.sum() >= 20 and (table.rows.verified[looked] == true[looked]).all()
  subprocess.run(loop, check=True, cwd=ROOT, env=env)
  record = json.loads((tmp_path / 'loop' / 'round=1' / 'round.json').read_text())
  assert record['version'] == table.version.name and record['score']['rows'] > 0
