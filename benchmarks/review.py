"""The review page on a table of many rows, in Debian's chromium: milliseconds from an action to what it shows, memory.

python benchmarks/review.py [--rows=50000] [--repeats=7] [--record=FILE.json]

Needs what `make test-browser` installs. The rows are synthetic: 10 classes, 8 columns of numbers, a prediction and a
map; 500 different images. Figures are medians; "repaint" ends with the second animation frame after the action, "saved"
when the page says so, which it does after the journal is on the disk.
"""

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.system import parquet
from noisyjax.tables import rows, store

ROWS = flags.DEFINE_integer('rows', 50_000, 'Rows of the table.')
REPEATS = flags.DEFINE_integer('repeats', 7, 'How often each action is measured.')
RECORD = flags.DEFINE_string('record', '', 'File for the figures.')
IMAGES, CLASSES = 500, [f'class {c}' for c in range(10)]
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']

# Milliseconds from an event of the page until the second animation frame after it.
REPAINT = """(name) => new Promise((resolve) => addEventListener(name, () => {
  const start = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));
}, { once: true, capture: true }))"""
# Milliseconds from a key until the page says that the decision is on the disk.
SAVED = """() => new Promise((resolve) => addEventListener('keydown', () => {
  const [start, said] = [performance.now(), document.getElementById('saved')];
  said.textContent = '';
  const watch = new MutationObserver(() => {
    if (!said.textContent.startsWith('Saved')) return;
    watch.disconnect();
    resolve(performance.now() - start);
  });
  watch.observe(said, { childList: true, characterData: true, subtree: true });
}, { once: true, capture: true }))"""


def made(folder: Path, count: int) -> None:
  """Makes a label table and the analysis of a run on it."""
  random = np.random.default_rng(0)
  (folder / 'images').mkdir()
  (folder / 'run' / 'analysis').mkdir(parents=True)
  for i in range(IMAGES):
    Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / 'images' / f'{i}.png')
  label = random.integers(0, 10, count)
  ids = [hashlib.sha256(b'%d' % i).hexdigest() for i in range(count)]
  names = [f'{i % IMAGES}.png' for i in range(count)]
  table = rows.first(ids, names, label, CLASSES)
  store.create(folder / 'table', table, CLASSES, 'person:anna', {'images': str(folder / 'images')})
  numbers = ('oof_confidence', 'oof_loss', 'oof_entropy', 'loss', 'margin', 'aum', 'knn_agreement', 'outlier')
  spot = random.normal(size=(count, 2)) + 4 * np.stack([np.cos(label), np.sin(label)], 1)
  columns = {
    'id': np.array(ids),
    'oof_predicted': np.where(random.random(count) < 0.8, label, random.integers(0, 10, count)).astype(np.int32),
    **{name: random.random(count).astype(np.float32) for name in numbers},
    'map_x': spot[:, 0].astype(np.float32),
    'map_y': spot[:, 1].astype(np.float32),
  }
  parquet.write(folder / 'run' / 'analysis' / 'best.parquet', columns)


def measured(page: Page, script: str, act, *argument: str) -> float:
  """Returns the median of what a script measures of an action, in milliseconds."""
  found = []
  for _ in range(REPEATS.value):
    page.evaluate(f'(x) => {{ window.measured = ({script})(x); }}', *argument)
    act()
    found.append(page.evaluate('() => window.measured'))
    page.wait_for_timeout(200)
  return statistics.median(found)


def lasso(page: Page) -> None:
  box = page.locator('.plot').bounding_box()
  at = lambda x, y: (box['x'] + box['width'] * x, box['y'] + box['height'] * y)
  page.mouse.move(*at(0.3, 0.3))
  page.mouse.down()
  for point in ((0.7, 0.3), (0.7, 0.7), (0.3, 0.7), (0.3, 0.35)):
    page.mouse.move(*at(*point), steps=4)
  page.mouse.up()


def memory(pid: int) -> float:
  """Returns the resident memory of a process, in MiB."""
  return int(re.search(r'VmRSS:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1]) / 1024


def tab() -> float:
  """Returns the resident memory of the largest renderer among the processes that this one started, in MiB."""
  ours, found = {os.getpid()}, [0.0]
  for path in sorted(Path('/proc').glob('[0-9]*'), key=lambda path: int(path.name)):
    try:
      parent = int((path / 'stat').read_text().rpartition(')')[2].split()[1])
      if parent in ours:
        ours.add(int(path.name))
        if '--type=renderer' in (path / 'cmdline').read_text():
          found.append(memory(int(path.name)))
    except OSError:
      continue  # it has ended
  return max(found)


def main(_) -> None:
  folder = Path(tempfile.mkdtemp())
  load = os.getloadavg()[0]
  try:
    made(folder, ROWS.value)
    command = [sys.executable, 'launch.py', 'review', f'--table={folder / "table"}', f'--workdir={folder / "run"}']
    env = os.environ | {'XDG_CACHE_HOME': str(folder / 'cache'), 'XDG_CONFIG_HOME': str(folder)}
    start = time.perf_counter()
    server = subprocess.Popen([*command, '--author=anna'], stdout=subprocess.PIPE, text=True, env=env)
    try:
      server.stdout.readline()
      url = server.stdout.readline().strip()
      found = {'rows': ROWS.value, 'load': load, 'server starts, s': time.perf_counter() - start}
      found |= in_browser(url)
      found['memory of the server, MiB'] = memory(server.pid)
    finally:
      server.terminate()
      server.wait()
  finally:
    shutil.rmtree(folder)
  found['load after'] = os.getloadavg()[0]
  for name, value in found.items():
    print(f'{name}: {value:,.4g}')
  if RECORD.value:
    Path(RECORD.value).write_text(json.dumps(found, indent=1) + '\n')


def in_browser(url: str) -> dict[str, float]:
  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=FLAGS)
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.set_default_timeout(300_000)
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector('body[data-ready]', state='attached')
    found = {'page ready, s': time.perf_counter() - start}
    page.locator('.tile img').first.wait_for()
    found['first picture, s'] = time.perf_counter() - start
    box = page.get_by_role('group', name='Label').locator('input').first
    found['filter to repaint of the grid, ms'] = measured(page, REPAINT, box.click, 'click')
    page.get_by_role('button', name='Clear all filters').click()
    page.locator('#panel-grid').focus()
    found['decision to saved, ms'] = measured(page, SAVED, lambda: page.keyboard.press('2'))
    page.keyboard.press('m')
    page.wait_for_timeout(1000)
    found['lasso to repaint of the map, ms'] = measured(page, REPAINT, lambda: lasso(page), 'pointerup')
    found['filter to repaint of the map, ms'] = measured(page, REPAINT, box.click, 'click')
    found['memory of the tab, MiB'] = tab()
    browser.close()
    return found


if __name__ == '__main__':
  app.run(main)
