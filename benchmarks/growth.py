"""What the engine's parts cost as rows, classes, networks and replicas grow, and how much memory a run takes.

  python benchmarks/growth.py --out=benchmarks/results

  rows      10³ to 10⁶ rows, 10 classes: the walks of two streams, of classes in turn, both mixtures, the confident
            joint, label issues, DivideMix's whole refresh with its walks, the scores of all rows and a training step
            (both with tiny network and images, so that what is kept per row would show)
  classes   10 to 1,000 classes, 50,000 rows: confident joint, label issues, a training step on hard labels
  networks  1 to 8 networks in one step of the small CNN, per network
  replicas  1 to 8 seeds of the same, one after another through one compiled step as on CPUs, per seed
  memory    peak resident memory, above a process that only starts Python and JAX: of a run of the small CNN on the
            course project's 50,000 images, and of ResNet-18's step at batch 128, by kind of convolution

Medians of 5 calls after one that compiles. Writes growth.json and growth.png in --out. gpu.py has replicas at once.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import program
from absl import flags
from engine import Engine, random_data, seconds

from configs.weak_supervision import clean_only
from noisyjax.engine import between_epochs
from noisyjax.estimate import confident, mixture
from noisyjax.runs import run
from noisyjax.system import storage

OUT = flags.DEFINE_string('out', 'benchmarks/results', 'Folder of the record and the figure.')
PARTS = flags.DEFINE_list('parts', ['rows', 'classes', 'networks', 'replicas', 'memory'], 'What to measure.')
LARGEST = flags.DEFINE_integer('largest', 1_000_000, 'Rows at most.')
CHILD = flags.DEFINE_string('child', '', 'Internal: what this process trains: "resnet18 auto".')
# recipe or network → kinds of convolution
PROCESSES = {'clean_only': ('plain', 'onednn', 'amx'), 'resnet18': ('plain', 'onednn', 'amx')}
SIDE = 4  # of the images that are many
SMALL = {'model.small_cnn.widths': (32, 64, 128)}
TINY = {'model.small_cnn.widths': (4,)}


def refreshed(engine: Engine, scores):
  """Refreshes, settles the members and walks them: all that an epoch does with every row beside scoring it."""
  p = engine.phase
  targets, extra = between_epochs.refresh(
    p.strategy, engine.state, scores, p.rows, engine.keys.refresh, p.hyper.epochs, p.spec.classes
  )
  engine.state = between_epochs.begin_epoch(p.strategy, engine.state.replace(targets=targets, extra=extra), p.rows)
  return engine.walk()


def joint_and_issues(rows: int, classes: int, labels: np.ndarray) -> dict[str, float]:
  """Returns the seconds of confident learning's two parts on random probabilities."""
  import jax

  probs = jax.nn.softmax(jax.numpy.asarray(np.random.default_rng(1).normal(size=(rows, classes)), 'float32'))
  calls = {'confident joint': jax.jit(confident.counted), 'label issues': jax.jit(confident.issues)}
  return {name: seconds(lambda call=call: call(probs, labels)) for name, call in calls.items()}


def of_rows(rows: int) -> dict[str, float]:
  """Returns the seconds of everything that looks at every row, and of a step."""
  import jax

  data, rng = random_data(rows, side=SIDE), np.random.default_rng(1)
  values = jax.numpy.asarray(rng.gamma(2.0, size=(2, rows)) + 4 * (rng.random((2, rows)) < 0.4), 'float32')
  keep = jax.numpy.ones(rows, bool)
  divide, naive = Engine(TINY | {'strategy.name': 'divide_mix'}, data), Engine(TINY, data)
  groups = {'train': jax.numpy.asarray(data.given)}
  gaussian, beta = jax.jit(mixture.gaussian), jax.jit(mixture.beta)
  return {
    'walks of two streams': seconds(divide.walk),
    'walk of classes in turn': seconds(lambda: between_epochs.walks(groups, divide.keys.walk, divide.state.epoch, 10)),
    'Gaussian mixture': seconds(lambda: gaussian(values[0], keep)),
    'beta mixture': seconds(lambda: beta(values[0], keep)),
    **joint_and_issues(rows, 10, data.given),
    "DivideMix's refresh and walks": seconds(lambda: refreshed(divide, {'loss': values})),
    'scores': seconds(naive.score),
    'step': seconds(naive.call),
  }


def by_rows():
  for rows in (n for n in (1_000, 10_000, 100_000, 1_000_000) if n <= LARGEST.value):
    yield {'rows': rows, 'seconds': of_rows(rows)}


def by_classes():
  rows = min(50_000, LARGEST.value)
  for classes in (10, 100, 1_000):
    data = random_data(rows, classes, SIDE)
    found = joint_and_issues(rows, classes, data.given) | {'step': seconds(Engine(TINY, data).call)}
    yield {'classes': classes, 'rows': rows, 'seconds': found}


def by_networks():
  data = random_data(2_000)
  for networks in (1, 2, 4, 8):
    engine = Engine(SMALL | {'strategy.naive.networks': networks}, data)
    yield {'networks': networks, 'seconds': {'step': seconds(engine.call) / networks}}


def by_replicas():
  data = random_data(2_000)
  for replicas in (1, 2, 4, 8):
    engines = [Engine(SMALL, data, seed) for seed in range(replicas)]
    yield {'replicas': replicas, 'seconds': {'step': seconds(lambda e=engines: [one.call() for one in e]) / replicas}}


def child(what: str, conv: str) -> None:
  """Prints this process's peak memory, MB, after a short run of `clean_only.py`, four steps, or nothing but a start."""
  import jax

  jax.numpy.zeros(1).block_until_ready()
  if what == 'clean_only':
    c = clean_only.get_config('full')
    c.rows, c.labels, c.epochs, c.steps_per_epoch, c.model.conv = 'all', '', 1, 20, conv
    with tempfile.TemporaryDirectory() as folder:
      run.run(c, Path(folder))
  elif what:
    engine = Engine({'model.name': what, 'model.conv': conv}, random_data(1_000))
    for _ in range(4):
      jax.block_until_ready(engine.call())
  # Not getrusage's figure, which begins with the peak of the process that started this one.
  (peak,) = (line.split()[1] for line in Path('/proc/self/status').read_text().splitlines() if line.startswith('VmHWM'))
  print(int(peak) / 1024)


def memory():
  def peak(model: str = '', conv: str = 'auto') -> float:
    done = subprocess.run([sys.executable, __file__, f'--child={model} {conv}'], capture_output=True, text=True)
    if done.returncode:
      raise SystemExit(f'--child="{model} {conv}" failed:\n{done.stderr[-2000:]}')
    return float(done.stdout.split()[-1])

  start = peak()
  yield {'process': 'Python and JAX', 'megabytes': start}
  for what, conv in ((what, conv) for what, kinds in PROCESSES.items() for conv in kinds):
    found = peak(what, conv)
    yield {'process': f'{what}, conv = {conv}', 'megabytes': found, 'above': found - start}


MEASURES = {'rows': by_rows, 'classes': by_classes, 'networks': by_networks, 'replicas': by_replicas, 'memory': memory}
GROWING = tuple(MEASURES)[:-1]


def draw(record: dict, path: Path) -> None:
  """Draws seconds against rows and against classes, both logarithmic, and against networks and replicas."""
  import matplotlib

  matplotlib.use('agg')
  from matplotlib import pyplot

  parts = [part for part in GROWING if part in record['parts']]
  figure, axes = pyplot.subplots(1, len(parts), figsize=(5 * len(parts), 4.5), squeeze=False)
  for axis, part in zip(axes[0], parts):
    found = record['parts'][part]
    for name in found[0]['seconds']:
      axis.plot([f[part] for f in found], [f['seconds'][name] for f in found], marker='o', label=name)
    each = {'networks': 'network', 'replicas': 'replica'}.get(part)
    axis.set(**({'ylim': (0, None)} if each else {'xscale': 'log', 'yscale': 'log'}))
    axis.set(xlabel=part, ylabel=f'seconds a step and {each}' if each else 'seconds a call')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
  figure.tight_layout()
  figure.savefig(path, dpi=110)


def main() -> None:
  if CHILD.value:
    child(*CHILD.value.split(' '))
    return
  record = program.record() | {'parts': {}}
  folder = Path(OUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  for part in PARTS.value:
    record['parts'][part] = []
    for found in MEASURES[part]():
      record['parts'][part].append(found)
      print(part, json.dumps(found), flush=True)
    storage.write_text(folder / 'growth.json', json.dumps(record, indent=1) + '\n')
  if set(GROWING) & record['parts'].keys():
    draw(record, folder / 'growth.png')


if __name__ == '__main__':
  program.run(main)
