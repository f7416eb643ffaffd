"""Who makes the most of 9,000 verified and 35,000 noisy rows on two cores: methods × seeds at equal time.

  python benchmarks/weak_supervision.py --minutes=5
  python benchmarks/weak_supervision.py --minutes=15 --methods=clean_only,clean_fixmatch,… --seeds=3

The data are weak_supervision's in its benchmark form; network, optimizer, schedule and average are those of
`configs/weak_supervision/clean_only.py`; a method's own numbers are its defaults unless PLANS says otherwise. There too
are each method's epochs in five minutes of two AVX-512 cores with AMX, at the default widths; other budgets are in
proportion. Two controls never see a given label: `clean_only` (cross-entropy on the verified rows) and `clean_fixmatch`
(the other rows as images alone). Methods are compared by validation (1,000 verified rows); the audit scores the test
part.

Writes weak_supervision_MINUTES.json and .md in --out. Finished runs are not repeated, so a table can be extended.
"""

import json
from pathlib import Path

import numpy as np
import program
from absl import flags

from configs.weak_supervision import clean_only
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import run
from noisyjax.system import storage
from noisyjax.system.errors import check_choice

WORKDIR = flags.DEFINE_string('workdir', 'runs/weak_supervision', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', '', 'Folder of the table; empty: the workdir.')
MINUTES = flags.DEFINE_integer('minutes', 5, 'The budget.')
METHODS = flags.DEFINE_list('methods', [], 'Rows of PLANS; empty: all.')
SEEDS = flags.DEFINE_integer('seeds', 1, 'Seeds a method.')
WIDTHS = flags.DEFINE_list('widths', ['64', '128', '256'], 'Channels of the small CNN.')

TRUSTED = {'rows': 'trusted', 'labels': 'verified'}
# After a start on the verified rows the rate falls from half its peak.
AFTER = {'optim.lr': 0.1, 'schedule.peak': 0.0}
# A fifth of a step's rows has verified labels, as a fifth of all rows has: an epoch of one is an epoch of the other.
MATCH = {'batch_size': 32, 'source': 'verified', 'ratio': 4}
# method → strategy, epochs of cross-entropy on the verified rows before, epochs, own numbers (and `batch_size`)
PLANS = {
  'clean_only': ('naive', 22, 0, {}),
  'clean_fixmatch': ('fixmatch', 10, 2, MATCH),
  'flexmatch': ('flexmatch', 10, 2, MATCH),
  'posterior_match': ('posterior_match', 10, 2, MATCH),
  'mixmatch': ('mixmatch', 10, 3, {'source': 'verified', 'batch_size': 64}),
  'clean_correction': ('clean_correction', 9, 3, {'soft': True, 'posterior': True}),
  'clean_correction_every_epoch': ('clean_correction', 9, 3, {'soft': True, 'posterior': True, 'every_epoch': True}),
  'fine_tune': ('fine_tune', 0, 10, {'lr': 0.02}),
  'glc': ('glc', 0, 5, {}),
  'l2rw': ('l2rw', 0, 1, {}),
  'meta_weight_net': ('meta_weight_net', 0, 1, {}),
  'divide_mix': ('divide_mix', 0, 2, {'warmup': 1, 'batch_size': 64, 'ramp': 2.0}),
  'sop_plus': ('sop_plus', 0, 2, {}),
  'pes_semi': ('pes_semi', 0, 3, {'warmup': 1, 'head_epochs': 1}),
  'ssr_plus': ('ssr_plus', 0, 2, {}),
  'promix': ('promix', 0, 2, {'warmup': 1, 'ramp': 2.0, 'rho': 0.39}),
}
HEAD = (
  'method',
  'validation',
  'best by validation',
  'last',
  'mean of last 10',
  'best by test (oracle)',
  'AUROC of "label is wrong" (in-sample, margin)',
  'n',
  'epochs',
  '10⁶ passes',
  'minutes',
  'told (all: 1,000 verified labels to choose the epoch)',
)


def config_of(method: str, minutes: int, seed: int):
  """Returns the method's config, its epochs in proportion to the budget."""
  c = clean_only.get_config()
  name, start, epochs, own = PLANS[check_choice('--methods', method, PLANS)]
  start, epochs = (n and max(round(n * minutes / 5), 1) for n in (start, epochs))
  c.rows, c.labels, c.seed, c.epochs, c.strategy.name = 'all', '', seed, start + epochs, name
  c.model.small_cnn.widths = tuple(map(int, WIDTHS.value))
  own = dict(own)
  batch = {'batch_size': own.pop('batch_size', c.batch_size)}
  c.strategy[name].update(own)
  if not epochs:
    c.phases = ((name, start, TRUSTED),)
  elif start:
    c.phases = (('naive', start, TRUSTED), (name, epochs, AFTER | batch))
  else:
    c.batch_size = batch['batch_size']
  if name == 'fine_tune':  # an epoch of the verified rows takes a fifth of the time of one of all
    first = max(3 * epochs // 10, 1)
    c.phases = (('naive', first, {}), (name, epochs - first, {'optim.lr': own['lr']}))
  return c


def row(method: str, results: list[dict]) -> tuple[float, list[str]]:
  """Returns the mean validation accuracy, by which the table is sorted, and the cells."""
  audits = [r['audit'] for r in results]
  wrong = [((a.get('detection') or {}).get('in_sample') or {}).get('margin', {}).get('auroc') for a in audits]
  best = [r['validation']['best'] for r in results]
  found = [spread([a.get(k) for a in audits]) for k in ('best_by_validation', 'last', 'mean_last_10', 'oracle')]
  told = ', '.join(k for k in results[0]['knowledge'] if 'validation' not in k)
  passes, seconds = (spread([r[k] for r in results], scale, 2) for k, scale in (('passes', 1e-6), ('seconds', 1 / 60)))
  cells = [method, spread(best), *found, spread(wrong), str(len(results)), str(results[0]['epochs'])]
  return float(np.mean(best)), [*cells, passes, seconds, told]


def main() -> None:
  record = program.record() | {'runs': []}
  rows = []
  folder = Path(OUT.value or WORKDIR.value)
  folder.mkdir(parents=True, exist_ok=True)
  for method in METHODS.value or PLANS:
    results = []
    for seed in range(SEEDS.value):
      workdir = Path(WORKDIR.value) / f'{MINUTES.value}' / method / f'seed={seed}'
      results.append(run.run(config_of(method, MINUTES.value, seed), workdir))
    rows.append(row(method, results))
    keep = ('seed', 'epochs', 'passes', 'seconds', 'audit', 'validation', 'knowledge', 'peak_memory_mb', 'device')
    record['runs'] += [{'method': method} | {k: r[k] for k in keep} for r in results]
    table = markdown(HEAD, [cells for _, cells in sorted(rows, key=lambda r: -r[0])]) + '\n'
    name = folder / f'weak_supervision_{MINUTES.value}'
    storage.write_text(name.with_suffix('.md'), table)
    storage.write_text(name.with_suffix('.json'), json.dumps(record, indent=1) + '\n')
  print(table)


if __name__ == '__main__':
  program.run(main)
