"""Photos of two kinds, few of them labeled, from scratch: what each method makes of 200 labels and 1,382 other photos.

  python benchmarks/photos.py --seeds=3
  python benchmarks/photos.py --methods=naive,fixmatch --seeds=1 --set=epochs=20 --set=data.size=48

The data are chihuahua_muffin ($NOISYJAX_DATA/chihuahua_muffin, or --data): 100 photos of each kind are labeled, and of
the others 1,242 are chihuahuas and 140 muffins, which no method is told. A fifth of the labels validates, drawn
for each seed; 240 test photos are scored by the audit alone. Methods share the network, the optimizer and the steps of
`configs/photos.py` (which is `naive`) and differ in what METHODS says; passes and minutes are in the table.

Writes photos.json and .md in --out after every run. Finished runs are not repeated, and one that was stopped goes on:
the table may be made over several days.
"""

import csv
import json
import zipfile
from pathlib import Path

import program
from absl import flags

from configs import photos
from noisyjax.config.override import override
from noisyjax.data import home
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import run
from noisyjax.system import storage
from noisyjax.system.errors import UserError, check_choice

DATA = flags.DEFINE_string('data', '', 'Folder of chihuahua_muffin; empty: in $NOISYJAX_DATA.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/photos', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', '', 'Folder of the table; empty: the workdir.')
METHODS_FLAG = flags.DEFINE_list('methods', [], 'Rows of METHODS; empty: all.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds a method.')
SET = flags.DEFINE_multi_string('set', [], 'field=value: a change to every method, such as epochs=20.')

STRONG = {'augment.weak': ('crop', 'flip', 'rand_augment', 'random_cutout')}
# method → what it changes of configs/photos.py
METHODS = {
  'naive': {},
  'naive, strong views': STRONG,
  'pseudo_label': {'strategy.name': 'pseudo_label', 'epochs': 40, 'balance': True},
  'fixmatch': {'strategy.name': 'fixmatch'},
  'fixmatch, 48 pixels, longer': {
    'strategy.name': 'fixmatch',
    'data.size': 48,
    'model.small_cnn.widths': (32, 64, 128),
    'augment.weak': ('resized_crop', 'flip', 'jitter'),
    'augment.scale': (0.35, 1.0),
    'balance': True,
    'batch_size': 16,
    'epochs': 120,
  },
}
HEAD = (
  'method',
  'validation, last',
  'validation, best',
  'test: best by validation',
  'test: last',
  'test: mean of last 10',
  'test: best (oracle)',
  'n',
  'epochs',
  '10³ passes',
  'minutes',
)


def gathered(data: Path, folder: Path) -> Path:
  """Lays training and test photos in one folder, with label files, and returns it.

  The test photos are `undefined` in labels.csv; test.txt names their rows, and truth.csv has what scores them.
  """
  if (folder / 'test.txt').exists():  # written last
    return folder
  for part in ('train.zip', 'test.zip', 'train.csv', 'test.csv', 'truth.csv'):
    if not (data / part).exists():
      raise UserError(f'--data: there is no {part} in {str(data)!r}.{home.hint(data)}')
  names = []
  (folder / 'images').mkdir(parents=True, exist_ok=True)
  for part in ('train', 'test'):
    with zipfile.ZipFile(data / f'{part}.zip') as archive:
      for entry in archive.infolist():
        if not entry.is_dir():
          names.append(Path(entry.filename).name)
          storage.write_bytes(folder / 'images' / names[-1], archive.read(entry))
  read = lambda name: {row['image']: row['label'] for row in csv.DictReader((data / name).open(encoding='utf-8'))}
  given, test, truth = read('train.csv'), read('test.csv'), read('truth.csv')
  lines = lambda labels: 'image,label\n' + ''.join(f'{name},{label}\n' for name, label in labels.items())
  storage.write_text(folder / 'labels.csv', lines(given | dict.fromkeys(test, 'undefined')))
  storage.write_text(folder / 'truth.csv', lines(truth | test))
  rows = [row for row, name in enumerate(sorted(names)) if name in test]
  storage.write_text(folder / 'test.txt', ''.join(f'{row}\n' for row in rows))
  return folder


def config_of(method: str, seed: int, data: Path):
  """Returns the config of one run."""
  c = photos.get_config()
  c.seed = c.data.seed = seed
  c.data.path, c.data.labels, c.data.truth = str(data), 'labels.csv', 'truth.csv'
  c.data.test = f'@{data / "test.txt"}'
  changes = dict(change.partition('=')[::2] for change in SET.value)
  override(c, METHODS[check_choice('--methods', method, METHODS)] | changes, '--set')
  return c


def row(method: str, results: list[dict]) -> list[str]:
  """Returns the cells of one method, from its runs."""
  validation, audits = [r['validation'] for r in results], [r['audit'] for r in results]
  scores = [spread([v[k] for v in validation]) for k in ('last', 'best')]
  scores += [spread([a.get(k) for a in audits]) for k in ('best_by_validation', 'last', 'mean_last_10', 'oracle')]
  passes, minutes = (spread([r[k] for r in results], scale) for k, scale in (('passes', 1e-3), ('seconds', 1 / 60)))
  return [method, *scores, str(len(results)), str(results[0]['epochs']), passes, minutes]


def main() -> None:
  root = Path(DATA.value or home.path('chihuahua_muffin'))
  data = gathered(root, Path(WORKDIR.value) / 'data')
  folder = Path(OUT.value or WORKDIR.value)
  folder.mkdir(parents=True, exist_ok=True)
  record, results = program.record() | {'runs': []}, {}
  for seed in range(SEEDS.value):  # a whole table of one seed comes first
    for method in METHODS_FLAG.value or METHODS:
      workdir = Path(WORKDIR.value) / method.replace(', ', '-').replace(' ', '_') / f'seed={seed}'
      found = run.run(config_of(method, seed, data), workdir)
      results.setdefault(method, []).append(found)
      keep = ('seed', 'epochs', 'steps', 'passes', 'seconds', 'validation', 'audit', 'knowledge', 'device')
      record['runs'].append({'method': method} | {k: found[k] for k in keep})
      table = markdown(HEAD, [row(*item) for item in results.items()]) + '\n'
      storage.write_text(folder / 'photos.md', table)
      storage.write_text(folder / 'photos.json', json.dumps(record, indent=1) + '\n')
  print(table)


if __name__ == '__main__':
  program.run(main)
