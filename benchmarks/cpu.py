"""Images per second on CPUs, ours beside PyTorch and Keras, in one run: training, predicting, scoring, compiling.

  python benchmarks/cpu.py --rivals=RIVALS_ENVIRONMENT/bin/python --record=benchmarks/results/cpu.json

Child processes, of which one works at a time: each trains on a pass of random images, predicts or scores them when told
to, in turn, after a pass that is not counted; its first passes compile. Ours is the engine's own step, without
augmentation: float32, and with `conv = amx` (bfloat16 products) beside PyTorch's bfloat16 autocast. All have their
large arrays in huge pages.
Prints medians, and medians of the ratios of neighbouring passes, against the faster rival in float32. A score is the
loss of every row, as methods ask for it that select rows; the rivals have none, and their predictions stand beside it.
And the seconds to compile our step, with an empty cache and with a filled one.
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

import engine
import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RIVALS = flags.DEFINE_string('rivals', '', 'The Python with PyTorch, TensorFlow and Keras.')
REPEATS = flags.DEFINE_integer('repeats', 5, 'Passes of each side, in turn.')
RECORD = flags.DEFINE_string('record', '', 'A JSON record to write, row by row; its other rows stay.')
ROWS = flags.DEFINE_list('rows', [], 'Rows of PARTS, such as small_cnn-128; empty: all.')
CHILD = flags.DEFINE_string('child', '', 'Internal: what this process runs, "ours small_cnn 128 2560".')
KINDS = {'ours': 'auto', 'amx': 'amx'}  # of convolution
WHAT = ('learn', 'predict', 'score')
CHUNK = 512  # images a forward pass when predicting: all passes below are a number of whole ones, or shorter than one
# network, batch → images a pass, sides
PARTS = {
  ('resnet18', 128): (384, (*KINDS, 'torch', 'torch_low')),
  ('small_cnn', 128): (2560, (*KINDS, 'torch', 'torch_low', 'keras')),
  ('model_2', 32): (1024, (*KINDS, 'torch', 'torch_low', 'keras')),
  ('model_2', 256): (2048, (*KINDS, 'torch', 'torch_low', 'keras')),
  ('model_1', 256): (10_240, (*KINDS, 'keras')),
}


def our_engine(part: str, batch: int, count: int, conv: str) -> engine.Engine:
  """Returns a phase of cross-entropy."""
  fields = {'model.name': part, 'model.conv': conv, 'batch_size': batch, 'eval_batch_size': min(count, CHUNK)}
  return engine.Engine(fields, engine.random_data(count))


def compile_step(ours: engine.Engine) -> float:
  """Returns the seconds it takes to trace and compile the step, or to trace it and find it in the cache."""
  from noisyjax.engine import step

  started = time.perf_counter()
  step.train_step.lower(*ours.arguments()).compile()
  return time.perf_counter() - started


def child(side: str, part: str, batch: int, count: int) -> None:
  """Answers "learn", "predict" and (ours) "score", a line each, with the seconds it took."""
  kind, _, what = side.partition('_')
  if kind in KINDS:
    ours = our_engine(part, batch, count, KINDS[kind])
    if what == 'compile':
      print(compile_step(ours), flush=True)
      return
    calls = {'learn': lambda: ours.learn(count // batch), 'predict': ours.predict, 'score': ours.score}
  else:
    import rivals

    calls = dict(zip(WHAT, getattr(rivals, f'{side}_epochs')(part, batch, *engine.random_rows(count))))
  first, *_ = (timed(call) for call in calls.values())  # all of them compile before the parent is answered
  print(first, flush=True)
  for line in sys.stdin:
    call = calls[line.strip()]
    call()  # a process that stood still finds its memory given back and its cores asleep
    print(timed(call), flush=True)


def timed(call) -> float:
  """Returns the seconds that a call takes."""
  started = time.perf_counter()
  call()
  return time.perf_counter() - started


class Side:
  """A child process."""

  def __init__(self, side: str, part: str, batch: int, count: int, cache: str):
    python = sys.executable if side.split('_')[0] in KINDS else RIVALS.value
    self.command = [python, __file__, f'--child={side} {part} {batch} {count}']
    wishes = {
      'TF_CPP_MIN_LOG_LEVEL': '3',
      'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
      'JAX_COMPILATION_CACHE_DIR': cache,
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    self.process = subprocess.Popen(
      self.command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      stderr=subprocess.DEVNULL,
      env=os.environ | wishes,
    )
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
  record |= {what: {name: [] for name in sides if what != 'score' or name in KINDS} for what in WHAT}
  for _ in range(REPEATS.value):
    for what in WHAT:
      for name, rates in record[what].items():
        rates.append(round(count / sides[name].seconds(what), 1))
  for side in sides.values():
    side.close()
  return record


def compiling(part: str, batch: int) -> dict[str, list[float]]:
  """Returns the seconds to compile our step with an empty cache, and in another process with what that one left."""
  found = {}
  for kind in KINDS:
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
  path = Path(RECORD.value)
  records = json.loads(path.read_text())['parts'] if RECORD.value and path.exists() else []
  with tempfile.TemporaryDirectory() as cache:
    for part, batch in PARTS:
      if ROWS.value and f'{part}-{batch}' not in ROWS.value:
        continue
      r = measure(part, batch, cache)
      for what in WHAT:
        rates = (r['predict'] if what == 'score' else {}) | r[what]  # scores beside the rivals' predictions
        r[f'{what}_ratio'] = ratio(rates, 'ours', ['torch', 'keras'])
        r[f'{what}_ratio_low'] = ratio(rates, 'amx', ['torch_low'])
        cells = {name: f'{np.median(rates[name]):.0f}' if name in rates else '–' for name in names}
        text = [str(r[f'{what}_ratio{low}'] or '–') for low in ('', '_low')]
        row = (part, str(batch), what, *(cells[n] for n in names[:3]), text[0], *(cells[n] for n in names[3:]), text[1])
        print('| ' + ' | '.join(row) + ' |', flush=True)
      r['compile_seconds'] = compiling(part, batch)
      print(f'  compiling, cold and from the cache: {r["compile_seconds"]}', flush=True)
      r |= {'cores': os.cpu_count(), 'python': platform.python_version(), 'load': os.getloadavg()[0]}
      records = [old for old in records if (old['network'], old['batch']) != (part, batch)] + [r]
      if RECORD.value:
        path.write_text(json.dumps({'parts': records}, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
