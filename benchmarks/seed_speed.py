"""Images per second of the course project's networks, ours and Keras, side by side in one run.

  python benchmarks/seed_speed.py --keras=KERAS_ENVIRONMENT/bin/python

Two child processes, of which one works at a time: each trains an epoch of random images when told to, in turn. The
first epoch of each compiles and is not counted. Prints medians, and the median of the ratios of neighbouring epochs.
--keras names a Python that has benchmarks/requirements.txt; this script runs in ours.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

KERAS = flags.DEFINE_string('keras', '', 'The Python with TensorFlow and Keras.')
REPEATS = flags.DEFINE_integer('repeats', 7, 'Epochs of each side, in turn.')
OUT = flags.DEFINE_string('record', '', 'A JSON record to write.')
CHILD = flags.DEFINE_string('child', '', 'Internal: what this process trains, "ours model_1".')
# part → (batch size, images an epoch)
PARTS = {'model_1': (256, 10_240), 'corrector': (256, 2_048), 'model_2': (32, 2_048)}


def random_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count).astype(np.int32)


def keras_epoch(part: str, batch: int, images, labels):
  """Returns a function that trains one epoch of the notebook's model."""
  import tensorflow as tf

  sys.path.insert(0, str(ROOT / 'benchmarks'))
  import seed_keras

  make = {
    'model_1': seed_keras.create_model_I,
    'corrector': seed_keras.label_cor,
    'model_2': seed_keras.create_model_II,
  }
  model = make[part]()
  optimizer = 'adam' if part == 'model_1' else tf.keras.optimizers.Nadam()
  model.compile(optimizer=optimizer, loss='sparse_categorical_crossentropy', metrics=['accuracy'])
  pixels = images.astype(np.float32)
  return lambda: model.fit(pixels, labels, batch_size=batch, epochs=1, verbose=0)


def our_epoch(part: str, batch: int, images, labels):
  """Returns a function that trains one epoch through the engine's step, without validation, logs or checkpoints."""
  import jax

  from configs.weak_supervision import corrector, model_1
  from noisyjax import compile_cache, config as configs, step, train
  from noisyjax.strategy import TrainData

  compile_cache.enable()
  config = (model_1 if part == 'model_1' else corrector).get_config()
  config.rows, config.labels, config.phases, config.epochs, config.batch_size = 'all', '', (), 1, batch
  data = TrainData(images, labels, np.full(len(labels), -1, np.int32), 10)
  phase = configs.plan(config, data)[0]
  root, pixels = jax.random.key(0), jax.numpy.asarray(images)
  keys = step.keys(root)
  state = train.enter(phase, 0, data, pixels, root, None)
  hyper = phase.hyper.replace(steps=np.float32(len(labels) // batch))
  walks = step.walks(state.masks, keys.walk, state.epoch, 10)

  def epoch():
    nonlocal state
    ahead = None
    for _ in range(len(labels) // batch):
      state, sums = step.step(phase.spec, phase.strategy, hyper, state, walks, pixels, keys)
      jax.block_until_ready(ahead)
      ahead = sums
    jax.block_until_ready(state)
    state = state.replace(tick=jax.numpy.zeros_like(state.tick))

  return epoch


def child(side: str, part: str) -> None:
  batch, count = PARTS[part]
  epoch = {'keras': keras_epoch, 'ours': our_epoch}[side](part, batch, *random_rows(count))
  epoch()
  print('ready', flush=True)
  for _ in sys.stdin:
    started = time.perf_counter()
    epoch()
    print(time.perf_counter() - started, flush=True)


def measure(part: str) -> dict:
  count = PARTS[part][1]
  pythons = {'ours': sys.executable, 'keras': KERAS.value}
  children = {}
  for side, python in pythons.items():
    children[side] = subprocess.Popen(
      [python, __file__, f'--child={side} {part}'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
      stderr=subprocess.DEVNULL, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
    )  # fmt: skip
    while (line := children[side].stdout.readline().strip()) != 'ready':  # one compiles while the other waits
      if not line and children[side].poll() is not None:
        raise SystemExit(
          f'{side} {part}: the child process ended; run it alone: {python} {__file__} --child="{side} {part}"'
        )
  rates = {side: [] for side in children}
  for _ in range(REPEATS.value):
    for side, process in children.items():
      process.stdin.write('go\n')
      process.stdin.flush()
      rates[side].append(count / float(process.stdout.readline()))
  for process in children.values():
    process.stdin.close()
    process.wait()
  ratio = float(np.median(np.array(rates['ours']) / np.array(rates['keras'])))
  return {'part': part, 'batch': PARTS[part][0], 'ratio': ratio} | {
    f'{side}_images_per_second': [round(r, 1) for r in values] for side, values in rates.items()
  }


def main(argv: list[str]) -> None:
  if CHILD.value:
    child(*CHILD.value.split())
    return
  if not Path(KERAS.value).exists():
    raise SystemExit(f'--keras={KERAS.value!r}: expected a Python that has benchmarks/requirements.txt.')
  records = []
  print('| network | batch | ours, images/s | Keras, images/s | ours / Keras |\n|---|---|---|---|---|')
  for part in PARTS:
    r = measure(part)
    records.append(r)
    ours, keras = (np.median(r[f'{side}_images_per_second']) for side in ('ours', 'keras'))
    print(f'| {part} | {r["batch"]} | {ours:.0f} | {keras:.0f} | {r["ratio"]:.2f} |', flush=True)
  if OUT.value:
    machine = {'cores': os.cpu_count(), 'python': platform.python_version(), 'load': os.getloadavg()[0]}
    Path(OUT.value).write_text(json.dumps({'machine': machine, 'parts': records}, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
