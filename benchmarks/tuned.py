"""Ten methods on human labels, each tuned equally by noisy validation, at the passes of cross-entropy's 40 epochs.

  python benchmarks/tuned.py --workdir=runs/tuned --conv=amx --minutes=60

Data, network and optimizer are those of `leaderboard.py` (the recipe's `-short-held` form on the first 10,000 rows of
CIFAR-10N worse). A method has three settings (TRIALS; the first is the published one), each trained with seed 0. The
one with the best accuracy on the noisy validation labels gets the other seeds. A method whose epoch costs k times as
many passes as cross-entropy's trains for 40 / k epochs, with its plan, warm-ups and ramps scaled. Neither test images
nor true labels choose anything.

The sweep may be cut at any time and may take several days: each call goes on where the last one ended, for --minutes.
Writes tuned.json, tuned.md and tuned.png (a panel of curves for each method) in --out after each run. tuned.json holds
what is needed of each finished run, so that the sweep goes on from it on another machine, too.
"""

import importlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import leaderboard
import numpy as np
import program
from absl import flags

from noisyjax.config.override import override
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import dry_run, launch, run
from noisyjax.system import storage
from noisyjax.system.errors import UserError

MINUTES = flags.DEFINE_float('minutes', 0.0, 'No run begins after so many minutes; 0: all are finished.')

# Settings of the number that matters most; the first one is the recipe's, which is the published one.
TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
  'naive': ({}, {'optim.lr': 0.05}, {'optim.lr': 0.2}),
  'gce': ({}, {'strategy.gce.q': 0.5}, {'strategy.gce.q': 0.3}),
  'elr': ({}, {'strategy.elr.strength': 1.0}, {'strategy.elr.strength': 7.0, 'strategy.elr.beta': 0.9}),
  'sop': ({}, {'strategy.sop.lr_u': 1.0}, {'strategy.sop.lr_u': 1.0, 'strategy.sop.lr_v': 100.0}),
  'loss_filter': ({}, {'strategy.loss_filter.warmup': 3.0}, {'strategy.loss_filter.warmup': 12.0}),
  'co_teaching': ({}, {'strategy.co_teaching.ramp': 5.0}, {'strategy.co_teaching.ramp': 10.0}),
  'divide_mix': ({}, {'strategy.divide_mix.lambda_u': 25.0}, {'strategy.divide_mix.threshold': 0.6}),
  'fixmatch': ({}, {'strategy.fixmatch.threshold': 0.8}, {'strategy.fixmatch.threshold': 0.7}),
  'clean_correction': (
    {},
    {'strategy.clean_correction.confidence': 0.8},
    {'strategy.clean_correction.confidence': 0.99},
  ),
  'glc': ({}, {'optim.lr': 0.05}, {'optim.lr': 0.2}),
}
NOISE, EPOCHS, SEEDS = 'worse', 40, 3
# Methods whose passes depend on how they divide the rows, and the epochs that take as many as 40 of cross-entropy: they
# follow from the passes that runs of 3 and 74 epochs, which an estimate had named, have counted.
COUNTED = {'divide_mix': 6, 'clean_correction': 60}
HEAD = (
  'method',
  'setting chosen',
  'noisy validation, best',
  'last',
  'mean of last 10',
  'best by validation',
  'best by test (oracle)',
  'n',
  'epochs',
  'passes / CE',
  'seconds',
  'told',
)


class Method:
  """The runs of one method.

  Attributes:
    name: its recipe.
    epochs: epochs that cost as many passes as cross-entropy's 40.
    settings: the changes of each trial.
    finished: what is kept of each finished run.
  """

  def __init__(self, name: str, epochs: int, finished: Iterable[dict]) -> None:
    self.name = name
    self.epochs = epochs
    self.settings = TRIALS[name]
    own = lambda r: (r['method'], r['epochs']) == (name, epochs) and r['setting'] in self.settings
    self.finished = list(filter(own, finished))

  def train(self, setting: int, seed: int, load: run.Load) -> None:
    """Trains one network and keeps what the table and the curves need of it."""
    config = leaderboard.config_of(self.name, NOISE, self.epochs, seed)
    override(config, self.settings[setting], 'the trial')
    folder = Path(leaderboard.WORKDIR.value) / self.name / f'setting={setting}' / f'seed={seed}'
    result = run.run(config, folder, load=load, page=False)
    curve = [round(100 * line['test_accuracy'], 2) for line in storage.read_lines(folder / 'audit.jsonl')]
    kept = {name: result[name] for name in ('epochs', 'passes', 'seconds', 'knowledge')}
    audit = {name: result['audit'].get(name) for name in leaderboard.ACCURACIES}
    kept |= {'validation': result['validation']['best'], 'audit': audit, 'curve': curve}
    self.finished.append({'method': self.name, 'setting': self.settings[setting], 'seed': seed} | kept)

  def result(self, setting: int, seed: int) -> dict | None:
    found = (r for r in self.finished if r['setting'] == self.settings[setting] and r['seed'] == seed)
    return next(found, None)

  def chosen(self) -> int | None:
    """Returns the setting with the best noisy validation of seed 0; None: not all were tried yet."""
    found = [self.result(i, 0) for i in range(len(self.settings))]
    done = [r['validation'] for r in found if r is not None]
    return int(np.argmax(done)) if len(done) == len(self.settings) else None

  def missing(self) -> Iterator[tuple[int, int]]:
    """Yields the runs that are still to be trained: (setting, seed)."""
    for setting in range(len(self.settings)):
      if self.result(setting, 0) is None:
        yield setting, 0
    if (chosen := self.chosen()) is not None:
      yield from ((chosen, seed) for seed in range(1, SEEDS) if self.result(chosen, seed) is None)

  def results(self) -> list[dict]:
    """Returns the finished runs of the chosen setting."""
    chosen = self.chosen()
    found = [] if chosen is None else [self.result(chosen, seed) for seed in range(SEEDS)]
    return [r for r in found if r is not None]


def row(method: Method, unit: float) -> list[str]:
  results, chosen = method.results(), method.chosen()
  assert chosen is not None
  found = lambda name: spread([r['audit'].get(name) for r in results])
  return [
    method.name,
    ', '.join(f'{k.split(".")[-1]} = {v:g}' for k, v in method.settings[chosen].items()) or 'as published',
    spread([r['validation'] for r in results]),
    *(found(name) for name in leaderboard.ACCURACIES),
    str(len(results)),
    str(results[0]['epochs']),
    f'{np.mean([r["passes"] for r in results]) / unit:.2f}',
    spread([r['seconds'] for r in results], 1, 0),
    ', '.join(results[0]['knowledge']) or 'nothing',
  ]


def accuracies(method: Method) -> tuple[np.ndarray, np.ndarray]:
  """Returns the accuracy on the test images after each epoch, [seeds, epochs], and the share of the epochs by then."""
  out = np.array([r['curve'] for r in method.results()])
  return out, np.linspace(0, 1, out.shape[1] + 1)[1:]


def draw(methods: list[Method], path: Path) -> None:
  """Draws a panel for each method: its accuracy on the test images by the share of the epochs; dashed: the first's."""
  import matplotlib

  matplotlib.use('agg')
  from matplotlib import pyplot

  across = 5
  down = -(-len(methods) // across)
  figure, axes = pyplot.subplots(down, across, figsize=(13, 2.7 * down), sharex=True, sharey=True, squeeze=False)
  for axis in axes.flat[len(methods) :]:
    axis.set_visible(False)
  for axis, method in zip(axes.flat, methods):
    for one, style in ((methods[0], {'color': '0.6', 'ls': '--'}), (method, {'color': 'C0'})):
      curves, share = accuracies(one)
      axis.plot(share, curves.mean(0), **style, label=one.name)
      axis.fill_between(share, curves.min(0), curves.max(0), color=style['color'], alpha=0.2, lw=0)
    axis.set_title(method.name, fontsize=10)
    axis.grid(alpha=0.3)
  figure.supxlabel('share of the epochs', fontsize=10)
  figure.supylabel('accuracy on test images, %', fontsize=10)
  figure.tight_layout()
  figure.savefig(path, dpi=110)
  pyplot.close(figure)


def write(methods: list[Method], unit: float, folder: Path) -> str:
  """Writes the table, the record and the curves of what is there, and returns the table."""
  runs = [r for m in methods for r in m.finished]
  storage.write_text(
    folder / 'tuned.json', json.dumps(program.record() | {'protocol': protocol(), 'runs': runs}, indent=1) + '\n'
  )
  there = [m for m in methods if m.results()]
  if not there:
    return ''
  mean = lambda m: float(np.mean([r['audit']['best_by_validation'] for r in m.results()]))
  table = markdown(HEAD, [row(m, unit) for m in sorted(there, key=lambda m: -mean(m))])
  storage.write_text(folder / 'tuned.md', table + '\n')
  if there[0] is methods[0]:
    draw(there, folder / 'tuned.png')
  return table


def protocol() -> dict:
  """Returns what all runs of one record have in common."""
  return {'rows': leaderboard.ROWS.value, 'widths': leaderboard.WIDTHS.value, 'conv': leaderboard.CONV.value}


def read(folder: Path) -> list[dict]:
  """Returns the finished runs of an earlier call. Raises UserError where they follow another protocol."""
  path = folder / 'tuned.json'
  record = json.loads(path.read_text()) if path.exists() else {'protocol': protocol(), 'runs': []}
  if record['protocol'] != protocol():
    raise UserError(f'{path}: holds runs of {record["protocol"]}; expected {protocol()}, or choose another --out.')
  return record['runs']


def main() -> None:
  names = leaderboard.METHODS.value or list(TRIALS)
  for name in TRIALS:
    importlib.import_module(f'configs.recipes.{name}')
  folder = Path(leaderboard.OUT.value or leaderboard.WORKDIR.value)
  storage.make_folder(folder)
  finished = read(folder)
  passes = lambda name: dry_run.estimated(leaderboard.config_of(name, NOISE, EPOCHS, 0)).passes
  unit = passes('naive')
  epochs = lambda name: COUNTED.get(name) or round(EPOCHS * unit / passes(name))
  methods = [Method(name, epochs(name), finished) for name in TRIALS]
  load, total = launch.remembering(), sum(len(m.settings) + SEEDS - 1 for m in methods)
  began = time.monotonic()  # the passes of the methods took a minute
  while left := [(m, *next(m.missing())) for m in methods if m.name in names and next(m.missing(), None)]:
    if MINUTES.value and time.monotonic() - began > 60 * MINUTES.value:
      break
    # The method with the fewest finished runs comes next, so that a table that was cut says something about each.
    method, setting, seed = min(left, key=lambda item: len(item[0].finished))
    done = sum(len(m.finished) for m in methods)
    print(f'{done} of {total} runs: {method.name} {method.settings[setting]} seed {seed}', flush=True)
    method.train(setting, seed, load)
    write(methods, unit, folder)
  print(write(methods, unit, folder))


if __name__ == '__main__':
  program.run(main)
