"""A simulated person fixes labels on the review page, by keys and clicks alone, in a loop that waits for one.

python benchmarks/by_keys.py --loop=W --truth=FILE.csv [--looks=60] [--line=0.95]

W is the folder of `launch.py loop … --config.loop.decide=person`, which ended because its round waits. The person knows
the true label of every image that it looks at (image,label), makes no mistake, and does what the photo seed's author
did: looks at proposals, at unlabeled images of low confidence and at labels of high loss, takes over the proposals
above a line unseen, and commits. The same loop command then goes on. Needs what `make test-browser` installs.
"""

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import app, flags
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.tables import store

LOOP = flags.DEFINE_string('loop', None, 'Folder of the loop.', required=True)
TRUTH = flags.DEFINE_string('truth', None, 'CSV file: image,label.', required=True)
LOOKS = flags.DEFINE_integer('looks', 60, 'Images that the person looks at in each of the three lists.')
LINE = flags.DEFINE_float('line', 0.95, 'Lowest score of a proposal that is taken over unseen.')
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
PATIENCE = 60_000  # milliseconds; a busy machine may take long
ROOT = Path(__file__).resolve().parents[1]


def key_of(classes: list[str], label: str) -> str:
  """Returns the digit that sets a class."""
  return label if all(name.isdigit() and len(name) == 1 for name in classes) else str(classes.index(label) + 1)


def looked(page: Page, panel: str, truth: dict[str, str], classes: list[str]) -> int:
  """Decides on the rows in focus, one after another; returns on how many."""
  done: list[str] = []
  while len(done) < LOOKS.value:
    row = page.locator(f'{panel} .focused')
    if not row.count():
      break
    name = page.locator('#card h2').inner_text()
    if name in done:
      break  # the end of the list
    suggested = row.locator('.suggestion')
    said = suggested.inner_text().strip(' →?') if suggested.count() else ''
    true = truth[Path(name).name]
    page.keyboard.press('a' if said == true else key_of(classes, true))
    done.append(name)
    expect(page.locator('#saved')).to_contain_text('Saved')
  return len(done)


def person(page: Page, truth: dict[str, str], classes: list[str]) -> dict[str, int]:
  """Does the work of a person; returns how many rows were looked at in each list, and taken over unseen."""
  counts = {}
  page.keyboard.press('p')
  page.locator('.rules tr').nth(1).wait_for()
  first(page)
  counts['proposals'] = looked(page, '#panel-proposals', truth, classes)
  page.get_by_label('Line: lowest score').fill(str(LINE.value))
  take = page.get_by_role('button', name='Accept all above the line')
  if take.is_enabled():
    take.click()
    page.locator('dialog[open]').get_by_role('button', name='Change').click()
    page.locator('#saved', has_text=' of ').wait_for()
  page.keyboard.press('Escape')
  page.get_by_role('button', name='Clear all filters').click()
  page.keyboard.press('g')
  page.get_by_role('checkbox', name='unlabeled').check()
  page.get_by_label('Decided since the last commit').select_option('undecided')
  page.locator('#sort').select_option('+oof_confidence')
  first(page)
  counts['unlabeled, least sure first'] = looked(page, '#panel-grid', truth, classes)
  page.get_by_role('button', name='Clear all filters').click()
  page.locator('#panel-grid').focus()
  page.keyboard.press('i')
  first(page)
  counts['label issues'] = looked(page, '#panel-issues', truth, classes)
  page.keyboard.press('Control+Enter')
  page.get_by_label('Why the labels change').fill('looked at by a simulated person')
  page.get_by_role('button', name='Commit a new version').click()
  page.locator('pre', has_text='--config.data.table=').wait_for()
  return counts


def first(page: Page) -> None:
  """Puts the focus on the first row of the list that is shown."""
  page.locator('.panel.rows:visible').last.focus()
  page.keyboard.press('Home')
  page.wait_for_timeout(300)


def main(_) -> None:
  workdir = Path(LOOP.value)
  truth = dict(list(csv.reader(Path(TRUTH.value).read_text().splitlines()))[1:])
  classes = store.Table(workdir / 'table').classes
  command = [sys.executable, ROOT / 'launch.py', 'review', f'--table={workdir / "table"}', '--author=simulated']
  folders = ','.join(str(workdir / f'round={number}') for number in (0, 1))
  server = subprocess.Popen([*command, f'--workdir={folders}'], stdout=subprocess.PIPE, text=True)
  try:
    server.stdout.readline()
    url = server.stdout.readline().strip()
    with sync_playwright() as playwright:
      browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=FLAGS)
      page = browser.new_page(viewport={'width': 1280, 'height': 800})
      page.set_default_timeout(PATIENCE)
      expect.set_options(timeout=PATIENCE)
      page.goto(url)
      page.wait_for_selector('body[data-ready]', state='attached')
      start = time.perf_counter()
      for what, count in person(page, truth, classes).items():
        print(f'{what}: {count} looked at')
      print(f'{(time.perf_counter() - start) / 60:.1f} minutes')
      browser.close()
  finally:
    server.send_signal(signal.SIGINT)
    server.wait()


if __name__ == '__main__':
  app.run(main)
