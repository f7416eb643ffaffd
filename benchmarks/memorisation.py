"""The memorisation curve: what networks learn of human label noise, and then of its mistakes, epoch by epoch.

  python benchmarks/memorisation.py --workdir=runs/memorisation --out=benchmarks/results

10,000 images of CIFAR-10N `worse` (40 % of the labels are wrong), the small CNN, a constant rate, flips alone and no
weight decay: nothing but the method stands between the network and the mistakes. Every method has the same epochs and
its recipe's numbers, whose warm-ups and ramps take the same part of these epochs as of the recipe's own. Drawn are
accuracy on the true labels of 5,000 test images, and on the given labels of the training images as the network is
trained.

Writes memorisation.json and memorisation.png in --out.
"""

import importlib
import json
from pathlib import Path

import program
from absl import flags

from noisyjax.reports import formatting
from noisyjax.runs import run
from noisyjax.system import storage

WORKDIR = flags.DEFINE_string('workdir', 'runs/memorisation', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', 'benchmarks/results', 'Folder of the figure.')
METHODS = flags.DEFINE_list('methods', ['naive', 'gce', 'elr', 'sop', 'co_teaching'], 'Strategies; the first is CE.')
EPOCHS = flags.DEFINE_integer('epochs', 40, 'Epochs.')
SEEDS = flags.DEFINE_integer('seeds', 1, 'Seeds.')
CONV = flags.DEFINE_string('conv', 'auto', 'Convolution of the CPU: auto, plain, matmul, onednn or amx.')


def config_of(method: str, seed: int):
  c = importlib.import_module(f'configs.recipes.{method}').get_config(f'worse-short{EPOCHS.value}-held')
  c.data.train, c.data.val = '0:10000', ''
  c.seed, c.ema, c.model.conv = seed, 0.0, CONV.value
  c.optim.lr, c.optim.decay, c.schedule.name = 0.05, 0.0, 'constant'
  c.augment.weak = ('flip',)
  return c


def curve(method: str, seed: int) -> dict:
  """Trains, and returns accuracies by epoch."""
  folder = Path(WORKDIR.value) / method / f'seed={seed}'
  result = run.run(config_of(method, seed), folder)
  audit, metrics = (storage.read_lines(folder / name) for name in ('audit.jsonl', 'metrics.jsonl'))
  return {
    'method': method,
    'seed': seed,
    'seconds': result['seconds'],
    'true': [line['test_accuracy'] for line in audit],
    'given': [line['train_accuracy_given'] for line in audit],
    'loss': [line['loss'] for line in metrics],
  }


def draw(curves: list[dict], path: Path) -> None:
  """Draws both accuracies by epoch, methods in colours, the mean over seeds."""
  import matplotlib

  matplotlib.use('agg')
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharex=True)
  for method in dict.fromkeys(c['method'] for c in curves):
    mine = [c for c in curves if c['method'] == method]
    for axis, name in zip(axes, ('true', 'given')):
      mean = [100 * sum(values) / len(values) for values in zip(*(c[name] for c in mine))]
      axis.plot(range(1, len(mean) + 1), mean, label=method)
  for axis, title in zip(axes, ('test images, true labels', 'training images, given labels (40 % wrong)')):
    axis.set(title=title, xlabel='epoch', ylabel='accuracy, %')
    axis.grid(alpha=0.3)
  axes[0].legend()
  figure.tight_layout()
  figure.savefig(path, dpi=110)


def main() -> None:
  curves = [curve(method, seed) for method in METHODS.value for seed in range(SEEDS.value)]
  folder = Path(OUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  record = program.record() | {'curves': curves}
  storage.write_text(folder / 'memorisation.json', json.dumps(record, indent=1) + '\n')
  draw(curves, folder / 'memorisation.png')
  rows = []
  for c in curves:
    true, best = c['true'], max(c['true'])
    cells = (best, true[-1], best - true[-1], c['given'][-1])
    rows.append((c['method'], str(true.index(best) + 1), *(f'{100 * v:.1f}' for v in cells)))
  print(formatting.markdown(('method', 'best epoch', 'true labels, best', 'last', 'fall', 'given labels, last'), rows))


if __name__ == '__main__':
  program.run(main)
