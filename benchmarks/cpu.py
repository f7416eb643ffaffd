"""Images per second on CPUs, ours beside PyTorch and Keras, in one run: training, predicting, compiling.

  python benchmarks/cpu.py --rivals=RIVALS_ENVIRONMENT/bin/python --record=benchmarks/results/cpu.json

Child processes, of which one works at a time: each trains (or predicts) a pass over random images when told to, in
turn; its first pass compiles and is not counted. Ours is the engine's own step, without augmentation: float32, and with
`conv = amx` (bfloat16 products) beside PyTorch's bfloat16 autocast. All have their large arrays in huge pages. Prints
medians, and medians of the ratios of neighbouring passes, against the faster rival in float32; and the seconds to
compile our step, with an empty cache and with a filled one.
--rivals names a Python that has benchmarks/requirements.txt; this script runs in ours.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RIVALS = flags.DEFINE_string('rivals', '', 'The Python with PyTorch, TensorFlow and Keras.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'Passes of each side, in turn.')
RECORD = flags.DEFINE_string('record', '', 'A JSON record to write.')
ROWS = flags.DEFINE_list('rows', [], 'Rows of PARTS, such as small_cnn-128; empty: all.')
CHILD = flags.DEFINE_string('child', '', 'Internal: what this process runs, "ours small_cnn 128 2560".')
# network, batch → images a pass, sides
OURS = {'ours': 'auto', 'amx': 'amx'}  # kinds of convolution
CHUNK = 500  # images a forward pass when predicting, as in rivals.py
PARTS = {
  ('resnet18', 128): (384, (*OURS, 'torch', 'torch_low')),
  ('small_cnn', 128): (2560, (*OURS, 'torch', 'torch_low', 'keras')),
  ('model_2', 32): (1024, (*OURS, 'torch', 'torch_low', 'keras')),
  ('model_2', 256): (2048, (*OURS, 'torch', 'torch_low', 'keras')),
  ('model_1', 256): (10_240, (*OURS, 'keras')),
}


def random_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count).astype(np.int32)


class Engine:
  """A phase of cross-entropy that has been entered."""

  def __init__(self, part: str, batch: int, images: np.ndarray, labels: np.ndarray, conv: str):
    import jax

    from configs import base
    from noisyjax import config as configs, step, train
    from noisyjax.strategy import TrainData

    config = base.get_config()
    config.model.name, config.model.conv = part, conv
    config.augment.weak, config.epochs, config.batch_size = (), 1, batch
    data = TrainData(images, labels, np.full(len(labels), -1, np.int32), 10)
    self.phase = configs.plan(config, data)[0]
    self.images, self.pixels, self.count = images, jax.numpy.asarray(images), len(labels) // batch
    root = jax.random.key(0)
    self.keys = step.keys(root)
    self.state = train.enter(self.phase, 0, data, self.pixels, root, None)
    self.hyper = self.phase.hyper.replace(steps=np.float32(self.count))
    self.walks = step.walks(self.state.masks, self.keys.walk, self.state.epoch, 10)

  def arguments(self) -> tuple:
    """Returns the step's."""
    return self.phase.spec, self.phase.strategy, self.hyper, self.state, self.walks, self.pixels, self.keys

  def learn(self) -> None:
    """Trains a pass, one step ahead as the trainer does."""
    import jax

    from noisyjax import step

    ahead = None
    for _ in range(self.count):
      self.state, sums = step.step(*self.arguments())
      jax.block_until_ready(ahead)
      ahead = sums
    jax.block_until_ready(self.state)
    self.state = self.state.replace(tick=jax.numpy.zeros_like(self.state.tick))

  def predict(self):
    from noisyjax import step

    return step.predict(self.phase.spec.net, self.phase.strategy, self.state.current, self.images, CHUNK)


def compile_step(engine: Engine) -> float:
  """Returns the seconds it takes to trace and compile the step, or to trace it and find it in the cache."""
  from noisyjax import step

  started = time.perf_counter()
  step.step.lower(*engine.arguments()).compile()
  return time.perf_counter() - started


def child(side: str, part: str, batch: int, count: int) -> None:
  """Answers "learn" and "predict", a line each, with the seconds it took."""
  kind, _, what = side.partition('_')
  if kind in OURS:
    engine = Engine(part, batch, *random_rows(count), conv=OURS[kind])
    if what == 'compile':
      print(compile_step(engine), flush=True)
      return
    learn, predict = engine.learn, engine.predict
  else:
    import rivals

    learn, predict = getattr(rivals, f'{side}_epochs')(part, batch, *random_rows(count))
  started = time.perf_counter()
  learn()
  print(time.perf_counter() - started, flush=True)
  predict()
  for line in sys.stdin:
    started = time.perf_counter()
    {'learn': learn, 'predict': predict}[line.strip()]()
    print(time.perf_counter() - started, flush=True)


class Side:
  """A child process."""

  def __init__(self, side: str, part: str, batch: int, count: int, cache: str):
    python = sys.executable if side.split('_')[0] in OURS else RIVALS.value
    self.command = [python, __file__, f'--child={side} {part} {batch} {count}']
    wishes = {'TF_CPP_MIN_LOG_LEVEL': '3', 'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
              'JAX_COMPILATION_CACHE_DIR': cache, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}  # fmt: skip
    self.process = subprocess.Popen(
      self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
      env=os.environ | wishes,
    )  # fmt: skip
    self.first = self.answer()  # one compiles while the others wait

  def answer(self) -> float:
    line = self.process.stdout.readline()
    if not line:
      raise SystemExit(f'a child process ended; run it alone: {" ".join(self.command)!r}')
    return float(line)

  def seconds(self, what: str) -> float:
    self.process.stdin.write(f'{what}\n')
    self.process.stdin.flush()
    return self.answer()

  def close(self) -> None:
    self.process.stdin.close()
    self.process.wait()


def measure(part: str, batch: int, cache: str) -> dict:
  """Returns images per second of each side, a figure a pass, and the seconds of each side's first pass."""
  count, names = PARTS[part, batch]
  sides = {name: Side(name, part, batch, count, cache) for name in names}
  record = {'network': part, 'batch': batch, 'first_pass_seconds': {name: s.first for name, s in sides.items()}}
  for what in ('learn', 'predict'):
    rates = {name: [] for name in sides}
    for _ in range(REPEATS.value):
      for name, side in sides.items():
        rates[name].append(round(count / side.seconds(what), 1))
    record[what] = rates
  for side in sides.values():
    side.close()
  return record


def compiling(part: str, batch: int) -> dict[str, list[float]]:
  """Returns the seconds to compile our step with an empty cache, and in another process with what that one left."""
  found = {}
  for kind in OURS:
    with tempfile.TemporaryDirectory() as cache:
      sides = [Side(f'{kind}_compile', part, batch, 2 * batch, cache) for _ in range(2)]
    found[kind] = [side.first for side in sides]
    for side in sides:
      side.close()
  return found


def ratio(rates: dict[str, list[float]], ours: str, rivals: list[str]) -> float | None:
  """Returns the median, over neighbouring passes, of our rate over that of the rival with the best median."""
  rivals = [name for name in rivals if name in rates]
  if not rivals:
    return None
  best = max(rivals, key=lambda name: np.median(rates[name]))
  return round(float(np.median(np.array(rates[ours]) / np.array(rates[best]))), 2)


def main(argv: list[str]) -> None:
  if CHILD.value:
    side, part, batch, count = CHILD.value.split()
    child(side, part, int(batch), int(count))
    return
  if not Path(RIVALS.value).exists():
    raise SystemExit(f'--rivals={RIVALS.value!r}: expected a Python that has benchmarks/requirements.txt.')
  names = ('ours', 'torch', 'keras', 'amx', 'torch_low')
  print('| network | batch | | ours | PyTorch | Keras | ratio | ours, amx | PyTorch, bfloat16 | ratio |')
  print('|---|---|---|---|---|---|---|---|---|---|')
  records = []
  with tempfile.TemporaryDirectory() as cache:
    for part, batch in PARTS:
      if ROWS.value and f'{part}-{batch}' not in ROWS.value:
        continue
      r = measure(part, batch, cache)
      for what in ('learn', 'predict'):
        rates = r[what]
        r[f'{what}_ratio'] = ratio(rates, 'ours', ['torch', 'keras'])
        r[f'{what}_ratio_low'] = ratio(rates, 'amx', ['torch_low'])
        cells = {name: f'{np.median(rates[name]):.0f}' if name in rates else '–' for name in names}
        text = [str(r[f'{what}_ratio{low}'] or '–') for low in ('', '_low')]
        row = (part, str(batch), what, *(cells[n] for n in names[:3]), text[0], *(cells[n] for n in names[3:]), text[1])
        print('| ' + ' | '.join(row) + ' |', flush=True)
      r['compile_seconds'] = compiling(part, batch)
      print(f'  compiling, cold and from the cache: {r["compile_seconds"]}', flush=True)
      records.append(r)
  if RECORD.value:
    machine = {'cores': os.cpu_count(), 'python': platform.python_version(), 'load': os.getloadavg()[0]}
    Path(RECORD.value).write_text(json.dumps({'machine': machine, 'parts': records}, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
