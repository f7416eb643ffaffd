"""Methods × noise × seeds at one budget, as two tables: equal epochs, and equal passes.

  python benchmarks/leaderboard.py --workdir=runs/leaderboard --methods=naive,elr,divide_mix --noise=worse --seeds=3

Every method runs its recipe's `-short-held` form: one model, one optimizer, one augmentation, the method's own numbers
as published, none tuned here. Equal epochs: every plan, warm-up and ramp is scaled to --epochs. Equal passes: all is
scaled again, by what the first table measured, so that all methods show their networks as many images as cross-entropy
did (a method whose epoch costs k times as much gets 1/k of the epochs). With fewer --rows, trusted rows and an epoch's
fixed steps are fewer in proportion. The test part is scored by the audit alone. Finished runs are not repeated, so a
table can be extended.

Writes leaderboard.json and leaderboard.md in the workdir (or --out).
"""

import importlib
import json
from pathlib import Path

import numpy as np
import program
from absl import flags

from configs.recipes import common
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import run
from noisyjax.system import storage

WORKDIR = flags.DEFINE_string('workdir', 'runs/leaderboard', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', '', 'Folder of the tables; empty: the workdir.')
METHODS = flags.DEFINE_list('methods', [], 'Strategies; empty: all.')
NOISE = flags.DEFINE_list('noise', ['worse'], f'Kinds of noise: {", ".join(common.NOISE)}.')
SEEDS = flags.DEFINE_integer('seeds', 1, 'Seeds a method.')
MAIN = flags.DEFINE_list('main', [], 'Methods that get --main_seeds seeds instead.')
MAIN_SEEDS = flags.DEFINE_integer('main_seeds', 3, 'Seeds of the main methods.')
EPOCHS = flags.DEFINE_integer('epochs', 20, 'Epochs of the first table.')
ROWS = flags.DEFINE_integer('rows', 10_000, 'Training rows (the first ones).')
WIDTHS = flags.DEFINE_list('widths', ['32', '64', '128'], 'Channels of the small CNN.')
CONV = flags.DEFINE_string('conv', 'auto', "Convolutions, as in model.conv; bfloat16's `amx` halves the time.")
BUDGETS = flags.DEFINE_list('budgets', ['epochs', 'passes'], 'Which tables.')
ALL_ROWS = 45_000  # of the `held` form
TOLERANCE = 1.15  # methods within 15 % of cross-entropy's passes are not run again for the second table

ACCURACIES = ('last', 'mean_last_10', 'best_by_validation', 'oracle')
HEAD = (
  'method',
  'last',
  'mean of last 10',
  'best by validation',
  'best by test (oracle)',
  'one network, last',
  'n',
  'AUROC of "label is wrong" (in-sample, margin)',
  'F1 of its decision',
  'passes / CE',
  'epochs',
  'seconds',
  'told',
  'published',
)


def config_of(method: str, noise: str, epochs: int, seed: int):
  """Returns the recipe's short form of `epochs` on the first rows."""
  recipe = importlib.import_module(f'configs.recipes.{method}')
  c = recipe.get_config(f'{noise}-short{epochs}-held')
  fewer = lambda steps: -(-steps * ROWS.value // ALL_ROWS)
  own_steps = lambda own: {k: fewer(v) if k == 'steps_per_epoch' else v for k, v in own.items()}
  c.phases = tuple((name, n, own_steps(own)) for name, n, own in c.phases)
  c.steps_per_epoch = fewer(c.steps_per_epoch)
  c.seed, c.model.conv = seed, CONV.value
  c.data.train = f'0:{ROWS.value}'
  c.model.small_cnn.widths = tuple(map(int, WIDTHS.value))
  return c


def measure(method: str, noise: str, budget: str, epochs: int, seed: int) -> dict:
  folder = Path(WORKDIR.value) / noise / budget / method / f'seed={seed}'
  return run.run(config_of(method, noise, epochs, seed), folder) | {'workdir': str(folder)}


def row(method: str, noise: str, results: list[dict], passes: float) -> tuple[float, list[str]]:
  """Returns the mean of "best by validation", by which the table is sorted, and the cells."""
  audits = [r['audit'] for r in results]
  found = {name: [a.get(name) for a in audits] for name in ACCURACIES}
  alone = [(a.get('one_network') or {}).get('last') for a in audits]
  found_wrong = [a.get('detection') or {} for a in audits]
  ranked = [d.get('in_sample', {}).get('margin', {}).get('auroc') for d in found_wrong]
  decided = [d.get('decision', {}).get('f1') for d in found_wrong]
  published = getattr(importlib.import_module(f'configs.recipes.{method}'), 'PUBLISHED', {}).get(noise, '')
  cells = [
    method,
    *(spread(found[name]) for name in ACCURACIES),
    spread(alone),
    str(len(results)),
    spread(ranked),
    spread(decided),
    f'{np.mean([r["passes"] for r in results]) / passes:.2f}',
    spread([r['epochs'] for r in results], 1, 0),
    spread([r['seconds'] for r in results], 1, 0),
    ', '.join(results[0]['knowledge']) or 'nothing',
    published or '–',
  ]
  return float(np.mean([v or 0.0 for v in found['best_by_validation']])), cells


def table(title: str, rows: list[tuple[float, list[str]]]) -> str:
  return f'### {title}\n\n{markdown(HEAD, [cells for _, cells in sorted(rows, key=lambda r: -r[0])])}\n'


def seeds_of(method: str) -> int:
  return MAIN_SEEDS.value if method in MAIN.value else SEEDS.value


def main() -> None:
  recipes = {path.stem for path in Path(common.__file__).parent.glob('*.py')} - {'__init__', 'common'}
  methods = METHODS.value or sorted(recipes)
  methods = ['naive', *(m for m in methods if m != 'naive')]  # whose passes are the unit
  text, record = [], program.record() | {'runs': []}
  for noise in NOISE.value:
    by_epochs = {}
    for method in methods:
      by_epochs[method] = [measure(method, noise, 'epochs', EPOCHS.value, s) for s in range(seeds_of(method))]
    unit = np.mean([r['passes'] for r in by_epochs['naive']])
    title = f'CIFAR-10{"N" if noise in common.HUMAN else ""} {noise}, {ROWS.value} rows'
    if 'epochs' in BUDGETS.value:
      rows = [row(m, noise, results, unit) for m, results in by_epochs.items()]
      text.append(table(f'{title}: equal epochs ({EPOCHS.value})', rows))
    by_passes = {}
    if 'passes' in BUDGETS.value:
      for method, results in by_epochs.items():
        ratio = np.mean([r['passes'] for r in results]) / unit
        if 1 / TOLERANCE < ratio < TOLERANCE:
          by_passes[method] = results
          continue
        epochs = max(round(EPOCHS.value / ratio), 1)
        by_passes[method] = [measure(method, noise, 'passes', epochs, s) for s in range(seeds_of(method))]
      text.append(table(f'{title}: equal passes', [row(m, noise, r, unit) for m, r in by_passes.items()]))
    for budget, groups in (('epochs', by_epochs), ('passes', by_passes)):
      for method, results in groups.items():
        keep = ('seed', 'epochs', 'passes', 'seconds', 'validation', 'knowledge', 'networks', 'device')
        for r in results:
          audit = {k: v for k, v in r['audit'].items() if k not in ('noise', 'report')}  # per class, and long
          what = {'method': method, 'noise': noise, 'budget': budget}
          record['runs'].append(what | {k: r[k] for k in keep} | {'audit': audit})
    folder = Path(OUT.value or WORKDIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_text(folder / 'leaderboard.md', '\n'.join(text))
    storage.write_text(folder / 'leaderboard.json', json.dumps(record, indent=1) + '\n')
  print('\n'.join(text))


if __name__ == '__main__':
  program.run(main)
