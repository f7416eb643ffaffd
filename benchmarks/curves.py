"""Learning curves of the engine and of references that follow the official loops, in pairs, with a test of equivalence.

  .venv-torch/bin/python benchmarks/curves.py --out=benchmarks/results  (make test-differential makes .venv-torch)

One pair is one method with one seed: the engine with the method's strategy, in float32, and the loop of tests/official
that follows the official code (docs/faithfulness.md), in PyTorch. Both begin from the same weights, take the rows in
the same order, and see the same augmented views and random draws; targets, subsets, weights and losses each computes
for itself. They part slowly by rounding, and by what the table of departures names.

5,000 rows of weak_supervision (rows [0, 5000) with their verified labels; generated images where $NOISYJAX_DATA does
not have it), 40 % of the labels made wrong at random (FixMatch: 1,000 rows with a right label, 4,000 without one), and
accuracy on the 5,000 rows that follow. Images reduced to 16 pixels; a network of three convolutions, a quarter of 64,
128, 256 channels wide; 5 epochs, the last with a tenth of the learning rate. Numbers of a method (FIELDS) are those of
its official code where 5 epochs allow it.

Two one-sided t tests on the paired differences of the last epoch say whether both are the same within a margin of 2
points. As a control, each method of ours is compared with the references of the other methods: how many of these the
test takes for the same says how much it can see at this size.

Writes curves.json and curves.md in --out after each pair. Pairs that are in it are not repeated, so that a run that was
stopped goes on.
"""

import itertools
import json
import time
from pathlib import Path

import jax
import numpy as np
import program
from absl import flags
from equivalence import equivalence

from configs import base
from configs.weak_supervision import common
from noisyjax.config.override import override
from noisyjax.config.plan import Plan
from noisyjax.data import dataset, home
from noisyjax.data.training import TrainData
from noisyjax.engine import score, train
from noisyjax.engine.phase import Phase
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import in_memory
from noisyjax.system import storage
from noisyjax.system.errors import UserError

OUT = flags.DEFINE_string('out', 'runs/curves', 'Folder of the record.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Seeds a method.')
ROWS = flags.DEFINE_integer('rows', 5000, 'Training rows, and as many held-out ones.')
GENERATED = flags.DEFINE_bool('generated', False, 'Uses generated images.')

EPOCHS, CLASSES, NOISE, LABELED = 5, 10, 0.4, 0.2
MARGIN = 2.0  # points of held-out accuracy
SHARED = {
  'epochs': EPOCHS,
  'batch_size': 64,
  'model.name': str(Path(__file__).with_name('plain_cnn.py')),
  'optim.lr': 0.02,
  'optim.kernels_only': False,
  'optim.nesterov': False,
  'schedule.name': 'step',
  'schedule.milestones': (EPOCHS - 1.0,),
}
# Method → what it sets beside its defaults. DivideMix: rows of two streams, and a warm-up with twice the batch.
FIELDS = {
  'naive': {},
  'elr': {},
  'co_teaching': {
    'strategy.co_teaching.forget': NOISE,
    'strategy.co_teaching.ramp': 3.0,
    'strategy.co_teaching.official': True,
    'optim.name': 'adam',
    'optim.lr': 1e-3,
    'optim.decay': 0.0,
  },
  'divide_mix': {
    'phases': (
      ('naive', 2, {'strategy.naive.networks': 2, 'batch_size': 128, 'schedule.name': 'constant'}),
      ('divide_mix', EPOCHS - 2, {'schedule.milestones': (EPOCHS - 3.0,)}),
    ),
    'strategy.divide_mix.ramp': 3.0,
  },
  'fixmatch': {'batch_size': 16, 'strategy.fixmatch.together': True, 'strategy.fixmatch.threshold': 0.7},
}
STEPS = {'divide_mix': 128}  # rows per step, as far as they count for the length of an epoch; others: 64


def phases_of(method: str, data: TrainData) -> list[Phase]:
  """Returns the phases of a method."""
  c = base.get_config()
  steps = max(len(data.given) // STEPS.get(method, 64), 1)
  override(c, SHARED | {'strategy.name': method, 'steps_per_epoch': steps} | FIELDS[method], 'curves')
  return Plan.of(c).engine_phases(data)


def rows_of(count: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns twice `count` images, uint8 [2 · count, 16, 16, 3], and their labels."""
  if not generates():
    data, _ = dataset.load(common.get_config('full').data)
    images = np.asarray(data.images[: 2 * count]).reshape(-1, 16, 2, 16, 2, 3)
    return images.mean((2, 4)).round().astype(np.uint8), data.verified[: 2 * count]
  rng = np.random.default_rng(0)
  shown = rng.uniform(64, 192, (CLASSES, 4, 4, 3)).repeat(4, 1).repeat(4, 2)  # one picture per class
  labels = rng.integers(0, CLASSES, 2 * count).astype(np.int32)
  shift = rng.integers(-3, 4, (2 * count, 2))
  moved = np.stack([np.roll(shown[c], by, (0, 1)) for c, by in zip(labels, shift)])
  return (moved + rng.normal(0, 80, moved.shape)).clip(0, 255).astype(np.uint8), labels


def generates() -> bool:
  return GENERATED.value or not Path(home.path('weak_supervision')).exists()


def training(method: str, images: np.ndarray, labels: np.ndarray, seed: int) -> TrainData:
  """Returns the training rows of a pair: noisy labels, or, for FixMatch, a few right ones."""
  rng, count = np.random.default_rng(seed), len(labels)
  if method == 'fixmatch':
    given = np.where(rng.permutation(count) < LABELED * count, labels, -1)
  else:
    given = np.where(rng.random(count) < NOISE, (labels + rng.integers(1, CLASSES, count)) % CLASSES, labels)
  return TrainData(images, given.astype(np.int32), np.full(count, -1, np.int32), CLASSES)


class Scored(in_memory.Silent):
  """Notes the accuracy on held-out images after each epoch.

  Args:
    images: uint8 [n, H, W, C].
    truth: their labels.
  """

  def __init__(self, images: np.ndarray, truth: np.ndarray) -> None:
    self.images, self.truth, self.found = images, truth, []

  def epoch(self, phase, position, state, record) -> None:
    super().epoch(phase, position, state, record)
    probs, _ = score.predict(phase.spec.net, phase.strategy, state.current, self.images, phase.chunk)
    self.found.append(float((probs.argmax(1) == self.truth).mean()))


def pair(method: str, seed: int, images: np.ndarray, labels: np.ndarray) -> dict:
  """Trains the engine and the reference, and returns their accuracies by epoch."""
  import torch
  from torch_curves import reference

  count = len(labels) // 2
  data = training(method, images[:count], labels[:count], seed)
  held, truth = images[count:], labels[count:]
  phases, root, started = phases_of(method, data), jax.random.key(seed), time.perf_counter()
  scored = Scored(held, truth)
  train.fit(phases, data, None, root, scored)
  between = time.perf_counter()
  found = reference(method, phases, data, held, truth, root)
  seconds = [round(between - started, 1), round(time.perf_counter() - between, 1)]
  about = {'revision': program.record()['revision'], 'torch': torch.__version__}
  return {'method': method, 'seed': seed, 'ours': scored.found, 'reference': found, 'seconds': seconds} | about


def last(runs: list[dict], method: str, side: str) -> dict[int, float]:
  """Returns seed → accuracy of the last epoch, in points."""
  return {run['seed']: 100 * run[side][-1] for run in runs if run['method'] == method}


def compared(runs: list[dict], method: str, other: str):
  """Returns the test of ours against the reference of the method `other`; None if they have fewer than two pairs."""
  ours, theirs = last(runs, method, 'ours'), last(runs, other, 'reference')
  seeds = sorted(ours.keys() & theirs.keys())
  return equivalence([ours[s] - theirs[s] for s in seeds], MARGIN) if len(seeds) > 1 else None


def text(record: dict) -> str:
  """Returns the tables."""
  runs, verdicts, curves = record['runs'], [], []
  methods = list(dict.fromkeys(run['method'] for run in runs))
  for method in methods:
    mine = [run for run in runs if run['method'] == method]
    sides = [[run[side] for run in mine] for side in ('ours', 'reference')]
    curves += [
      (method, side, *(spread(values) for values in zip(*found))) for side, found in zip(('ours', 'reference'), sides)
    ]
    if found := compared(runs, method, method):
      verdicts.append(
        (
          method,
          *(spread([values[-1] for values in side]) for side in sides),
          f'{found.mean:+.2f}',
          f'{found.sigma:.2f}',
          f'[{found.low:+.2f}, {found.high:+.2f}]',
          f'{found.p:.1g}',
          f'{100 * found.power:.0f} %',
          'yes' if found.equivalent else 'no',
          str(len(mine)),
        )
      )
  others = [found for a, b in itertools.permutations(methods, 2) if (found := compared(runs, a, b))]
  same = sum(found.equivalent for found in others)
  head = ('method', 'ours', 'reference', 'difference', 'σ', '90 % interval', 'p', 'power', f'within ± {MARGIN:g}', 'n')
  return '\n\n'.join(
    [
      f'### Ours and the references: held-out accuracy of the last of {EPOCHS} epochs, in %',
      markdown(head, verdicts),
      'σ: of the paired difference. Power: the probability that the test finds equivalence if the true difference is 0 '
      f'and σ is as observed. Control: of {len(others)} comparisons of ours with the reference of another method, '
      f'{same} are within the margin.',
      '### By epoch',
      markdown(('method', 'side', *map(str, range(1, EPOCHS + 1))), curves),
    ]
  )


def main() -> None:
  out, settings = Path(OUT.value), {'rows': ROWS.value, 'images': 'generated' if generates() else 'weak_supervision'}
  storage.make_folder(out)
  file, record = out / 'curves.json', {'settings': settings, 'runs': []}
  if file.exists():
    record = storage.read_json(file)
    if record['settings'] != settings:
      raise UserError(f'{file}: holds pairs of {record["settings"]}, expected {settings}; choose another --out.')
  done = {(run['method'], run['seed']) for run in record['runs']}
  missing = [key for key in itertools.product(FIELDS, range(SEEDS.value)) if key not in done]
  images, labels = rows_of(ROWS.value) if missing else (None, None)
  for method, seed in missing:
    made = pair(method, seed, images, labels)
    record['runs'].append(made)
    record['runs'].sort(key=lambda run: (list(FIELDS).index(run['method']), run['seed']))
    storage.write_text(file, json.dumps(record | program.record(), indent=1) + '\n')
    storage.write_text(out / 'curves.md', text(record) + '\n')
    print(json.dumps(made), flush=True)
  print(text(record))


if __name__ == '__main__':
  program.run(main)
