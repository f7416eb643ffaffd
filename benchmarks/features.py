"""Frozen features of EfficientNet-Lite0: a leaderboard of methods on them, and their speed.

  python benchmarks/features.py --what=leaderboard --seeds=3 --out=benchmarks/results
  python benchmarks/features.py --what=epoch
  python benchmarks/features.py --what=speed --torch=.venv-torch/bin/python

leaderboard  methods on weak_supervision in its benchmark form (9,000 verified and 35,000 noisy rows). The images are
             enlarged to the size of --sizes that a linear layer on SUBSET verified rows prefers on the validation rows,
             and pass through the network once. Methods share model, optimizer and schedule, and are compared by
             validation (1,000 verified rows); the audit scores the test part. "pretrained: ImageNet-1k" is among what
             all methods were told. Writes features.md and .json in --out after every method. Finished runs are not
             repeated, and one that was stopped goes on.
epoch        seconds an epoch of --rows random rows of 1,280 features takes with the models linear and mlp.
speed        images per second through the network, ours and PyTorch's, eager and compiled (--torch names a Python that
             has PyTorch: `make test-differential` makes one).
"""

import json
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import program
from absl import flags

from configs import base
from configs.weak_supervision import pretrained
from noisyjax.config.override import override
from noisyjax.data import dataset, features
from noisyjax.data.training import TrainData
from noisyjax.models.efficientnet_lite0 import Model
from noisyjax.models.layers import conv
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import in_memory, launch, run
from noisyjax.system import storage
from noisyjax.system.errors import check_choice

WHAT = flags.DEFINE_enum('what', 'leaderboard', ['leaderboard', 'epoch', 'speed'], 'What to measure.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/features', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', '', 'Folder of the table; empty: the workdir.')
METHODS = flags.DEFINE_list('methods', [], 'Rows of PLANS; empty: all.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds a method.')
SIZES = flags.DEFINE_list('sizes', ['96', '128', '160'], 'Sides of the images, in pixels.')
SUBSET = flags.DEFINE_integer('subset', 2048, 'Verified rows that choose the size.')
TRAIN = flags.DEFINE_string('train', '', 'Training rows, as data.train; empty: those of the recipe.')
ROWS = flags.DEFINE_integer('rows', 50_000, 'epoch: rows.')
BATCH = flags.DEFINE_integer('batch', 32, 'speed: images per batch.')
SIDE = flags.DEFINE_integer('side', 224, 'speed: side of the images, in pixels.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'speed, epoch: timed repeats; the median counts.')
TORCH = flags.DEFINE_string('torch', '', 'speed: a Python with PyTorch; empty: ours alone.')

TRUSTED = {'rows': 'trusted', 'labels': 'verified'}
AFTER = {'optim.lr': 0.1, 'schedule.peak': 0.0}  # after a start on the verified rows the rate falls from its peak
START = 20  # epochs of cross-entropy on the verified rows where a method starts from them
# method → strategy, whether it starts from networks of the verified rows, epochs, own numbers
PLANS = {
  'clean_only': ('naive', True, 0, {}),
  'naive (given labels)': ('naive', False, 8, {}),
  'clean_correction': ('clean_correction', True, 6, {'soft': True, 'posterior': True, 'every_epoch': False}),
  'clean_correction_every_epoch': ('clean_correction', True, 6, {'soft': True, 'posterior': True, 'every_epoch': True}),
  'clean_fixmatch': ('fixmatch', True, 4, {'source': 'verified', 'ratio': 4}),
  'posterior_match': ('posterior_match', True, 4, {'source': 'verified', 'ratio': 4}),
  'glc': ('glc', False, 8, {}),
  'fine_tune': ('fine_tune', False, 10, {}),
  'l2rw': ('l2rw', False, 4, {}),
  'meta_weight_net': ('meta_weight_net', False, 4, {}),
  'gce': ('gce', False, 8, {}),
  'sce': ('sce', False, 8, {}),
  'elr': ('elr', False, 8, {}),
  'bootstrap': ('bootstrap', False, 8, {'beta': 0.95}),
  'forward': ('forward', False, 8, {}),
  'co_teaching': ('co_teaching', False, 8, {'forget': 0.6}),
  'sop': ('sop', False, 8, {}),
  'divide_mix': ('divide_mix', False, 5, {'warmup': 2, 'ramp': 2.0}),
}
HEAD = (
  'method',
  'validation',
  'best by validation',
  'last',
  'mean of last 10',
  'best by test (oracle)',
  'n',
  'epochs',
  'seconds',
  'told (all: 1,000 verified labels to choose the epoch)',
)


def config_of(method: str, size: int, seed: int):
  """Returns the config of one run."""
  c = pretrained.get_config()
  name, starts, epochs, own = PLANS[check_choice('--methods', method, PLANS)]
  c.data.features, c.seed, c.strategy.name, c.phases = f'efficientnet_lite0@{size}', seed, name, ()
  c.data.train = TRAIN.value or c.data.train
  c.strategy[name].update(own)
  if starts:
    c.phases = (('naive', START, TRUSTED), *([(name, epochs, AFTER)] if epochs else []))
  elif name == 'fine_tune':
    c.phases = (('naive', epochs // 3, {}), (name, epochs - epochs // 3, {'optim.lr': 0.1}))
  c.epochs = max(epochs, 1)
  return c


def best_size(sizes: list[int]) -> dict[int, float]:
  """Returns size → accuracy on the validation rows of a linear layer on features of verified rows; the best first."""
  c = pretrained.get_config()
  data, _ = dataset.load(c.data)
  first, end = (int(n) for n in c.data.val.split(':'))
  rows = np.flatnonzero(data.verified >= 0)
  rows, held = rows[(rows < first) | (rows >= end)][: SUBSET.value], np.arange(first, end)
  probe, found = in_memory.probe(), {}
  for size in sizes:
    by = features.extractor(f'efficientnet_lite0@{size}')
    seen, unseen = (features.extract(data.images[part], by) for part in (rows, held))
    labels = data.verified[rows]
    trained = in_memory.fit(probe, TrainData(seen, labels, labels, len(data.classes)))
    found[size] = float((trained.probs(unseen).argmax(1) == data.verified[held]).mean())
    print(f'{size} pixels: validation {100 * found[size]:.2f} %', flush=True)
  return dict(sorted(found.items(), key=lambda item: -item[1]))


def row(method: str, results: list[dict]) -> tuple[float, list[str]]:
  """Returns the mean validation accuracy, by which the table is sorted, and the cells."""
  audits, best = [r['audit'] for r in results], [r['validation']['best'] for r in results]
  found = [spread([a.get(k) for a in audits]) for k in ('best_by_validation', 'last', 'mean_last_10', 'oracle')]
  told = '; '.join(k for k in results[0]['knowledge'] if 'validation' not in k)
  seconds = spread([r['seconds'] for r in results], 1, 1)
  return float(np.mean(best)), [
    method,
    spread(best),
    *found,
    str(len(results)),
    str(results[0]['epochs']),
    seconds,
    told,
  ]


def leaderboard() -> None:
  out, workdir = Path(OUT.value or WORKDIR.value), Path(WORKDIR.value)
  out.mkdir(parents=True, exist_ok=True)
  sizes = list(map(int, SIZES.value))
  chosen = workdir / 'sizes.json'
  if not chosen.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    storage.write_text(chosen, json.dumps(best_size(sizes)) + '\n')
  by_size = json.loads(chosen.read_text())
  size = int(max(by_size, key=by_size.get))
  record, rows = program.record() | {'validation_by_size': by_size, 'size': size, 'runs': []}, []
  load, started = launch.remembering(), time.time()
  for method in METHODS.value or PLANS:
    folders = [workdir / method.replace(' ', '_') / f'seed={seed}' for seed in range(SEEDS.value)]
    results = [run.run(config_of(method, size, s), folder, load=load, page=False) for s, folder in enumerate(folders)]
    rows.append(row(method, results))
    keep = ('seed', 'epochs', 'passes', 'seconds', 'audit', 'validation', 'knowledge', 'peak_memory_mb', 'device')
    record['runs'] += [{'method': method} | {k: r[k] for k in keep} for r in results]
    record['minutes'] = round((time.time() - started) / 60, 1)
    table = markdown(HEAD, [cells for _, cells in sorted(rows, key=lambda r: -r[0])])
    title = f'Frozen features of EfficientNet-Lite0, images enlarged to {size} pixels; pretrained: ImageNet-1k'
    storage.write_text(out / 'features.md', f'### {title}\n\n{table}\n')
    storage.write_text(out / 'features.json', json.dumps(record, indent=1) + '\n')
  print(table)


class Clock(in_memory.Silent):
  """Notes when each epoch ends."""

  def __init__(self) -> None:
    self.times = []

  def epoch(self, phase, position, state, record) -> None:
    super().epoch(phase, position, state, record)
    self.times.append(time.perf_counter())


def epoch() -> None:
  random = np.random.default_rng(0)
  values = random.standard_normal((ROWS.value, 1, 1, 1280), np.float32).astype(np.float16)
  labels = random.integers(0, 10, ROWS.value).astype(np.int32)
  data = TrainData(values, labels, np.full(ROWS.value, -1, np.int32), 10)
  for model in ('linear', 'mlp'):
    c, clock = base.get_config(), Clock()
    override(c, {'model.name': model, 'epochs': REPEATS.value + 1, 'data.val': '', 'data.test': ''}, 'benchmark')
    in_memory.fit(c, data, clock)
    print(f'{model}: {np.median(np.diff(clock.times)):.2f} s an epoch of {ROWS.value:,} x 1,280', flush=True)


def per_second(forward) -> float:
  """Returns the median images per second of a function that passes a batch through a network."""
  forward()
  times = []
  for _ in range(REPEATS.value):
    started = time.perf_counter()
    forward()
    times.append(time.perf_counter() - started)
  return BATCH.value / float(np.median(times))


def speed() -> None:
  images = np.random.default_rng(0).standard_normal((BATCH.value, SIDE.value, SIDE.value, 3), np.float32)
  for kind in dict.fromkeys(('plain', conv.fastest())):
    model = Model(1000, conv=kind)
    variables = jax.jit(lambda: Model(1000).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))()
    forward = jax.jit(lambda variables, x, model=model: model.apply(variables, x, train=False)[0])
    rate = per_second(lambda forward=forward, v=variables: forward(v, images).block_until_ready())
    print(f'ours, {kind}: {rate:.1f} images per second', flush=True)
  if TORCH.value:
    folder = Path(__file__).parent
    command = [TORCH.value, folder / 'torch_published.py', f'{BATCH.value}', f'{SIDE.value}', f'{REPEATS.value}']
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end='')


if __name__ == '__main__':
  program.run(lambda: {'leaderboard': leaderboard, 'epoch': epoch, 'speed': speed}[WHAT.value]())
