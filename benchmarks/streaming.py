"""What it costs to train from a pack instead of from memory: peak memory as rows grow, and throughput.

  python benchmarks/streaming.py --out=benchmarks/results --scratch=/tmp/streaming

  memory      peak resident memory of whole runs (`run.run`: 20 steps an epoch, the scores and tables of all rows and
              the report) on 1,000 rows and on many, each in a process of its own: 1,000,000 rows of 64 pixels, 50,000
              of 224, and 1,000,000 of 32 by methods that keep more of each row. The network is tiny, so that what is
              kept per row shows. Random pixels, written in the form of a pack without encoding them one by one.
  throughput  the trainer's own loop on images in memory, on a raw pack and on a JPEG pack, in turn: blocks of a few
              steps, medians, so that a machine that others use slows all three alike. The small CNN at 64 pixels, and
              ResNet-18 at 224.

Writes streaming.json in --out after each figure; figures that are in it are kept, and --rerun measures them again. What
is generated in --scratch (12 GB at most at a time) is removed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import program
from absl import flags

from noisyjax.data import decode, pack, packed
from noisyjax.data.training import TrainData
from noisyjax.system import formats, storage

OUT = flags.DEFINE_string('out', 'benchmarks/results', 'Folder of the record.')
SCRATCH = flags.DEFINE_string('scratch', '/tmp/streaming', 'Folder of generated packs; removed at the end.')
PARTS = flags.DEFINE_list('parts', ['memory', 'throughput'], 'What to measure.')
METHODS = 'naive', 'pseudo_label', 'elr', 'sop', 'divide_mix'
SIZES = flags.DEFINE_list(
  'sizes',
  ['1000x64', '1000000x64', '1000x224', '50000x224', *(f'{n}x32:{m}' for m in METHODS for n in (1000, 1_000_000))],
  'Rows x side, of memory, and the method (naive, one epoch, if it is left out; else four epochs).',
)
BLOCKS = flags.DEFINE_integer('blocks', 7, 'Blocks of steps of each kind, of throughput.')
RERUN = flags.DEFINE_bool('rerun', False, 'Measures again what is in the record.')
CHILD = flags.DEFINE_string('child', '', 'Internal: the pack that this process trains on.')
METHOD = flags.DEFINE_string('method', '', 'Internal: the method of this process.')
CLASSES = 10
NETWORKS = {  # name: (model, its fields, side, batch, rows in the pack, steps a block)
  'small_cnn': ('small_cnn', {}, 64, 32, 2000, 4),
  'resnet18': ('resnet18', {'model.resnet18.stem': 'imagenet'}, 224, 16, 200, 2),
}
TINY = '''"""One dense layer on 8 x 8 of the pixels: what a network costs is out of the way."""

import flax.linen as nn


class Model(nn.Module):
  classes: int

  @nn.compact
  def __call__(self, images, train: bool):
    apart = images.shape[1] // 8
    x = images[:, ::apart, ::apart].reshape(len(images), -1)
    return nn.Dense(self.classes, name='head')(x), x
'''


def generated(folder: Path, rows: int, side: int) -> None:
  """Writes a raw pack of random pixels: one random block over and over, each row at another place of it."""
  folder.mkdir(parents=True)
  rng, each = np.random.default_rng(0), side * side * 3
  block = rng.integers(0, 256, 2**25 + 997, np.uint8).tobytes()  # rows do not begin where the block does
  left = rows * each
  with (folder / packed.PIXELS).open('wb') as file:
    while left:
      left -= file.write(block[: min(left, len(block))])
  ids = np.array([hashlib.sha256(str(i).encode()).hexdigest() for i in range(rows)])
  labels = rng.integers(0, CLASSES, rows).astype(np.int32)
  columns = {
    'offset': np.arange(rows) * each,
    'length': np.full(rows, each),
    'id': ids,
    'name': np.char.add(np.arange(rows).astype(str), '.jpg'),
    'given': labels,
    'verified': np.full(rows, -1, np.int32),
    'part': (np.arange(rows) % 100 == 0).astype(np.int8),  # one in a hundred validates
    **{name: np.full(rows, side * side * 127) for name in packed.sum_columns(3)[0]},
    **{name: np.full(rows, side * side * 127**2 * 2) for name in packed.sum_columns(3)[1]},
  }
  packed.write_columns(folder, columns)
  packed.write_columns(folder, {'true': labels}, packed.AUDIT)
  facts = {
    'rows': rows,
    'shape': (side, side, 3),
    'form': 'raw',
    'decoder': 'none',
    'filter': 'none',
    'bytes': rows * each,
    'content': f'{rows} {side}',
    'key': '',
    'made_of': {},
    'files': False,
    'classes': [str(c) for c in range(CLASSES)],
    'notes': [],
    'labels': {name: storage.sha256(folder / name) for name in (packed.ROWS, packed.AUDIT)},
  }
  formats.write_json(formats.PACK, folder / packed.FACTS, facts)


def child(folder: Path) -> None:
  """Trains on a pack and prints the peak of the memory of this process in MB, and the seconds of the run."""
  from configs import base
  from noisyjax.config.override import override
  from noisyjax.runs import run

  (folder / 'tiny.py').write_text(TINY)
  c, found = base.get_config(), packed.facts(folder)
  fields = {
    'data.source': 'packed',
    'data.path': str(folder),
    'data.val': 'source',
    'data.test': '',
    'model.name': str(folder / 'tiny.py'),
    'strategy.name': METHOD.value or 'naive',
    'epochs': 4 if METHOD.value else 1,  # four, so that methods refresh their targets after the warm-up
    'steps_per_epoch': 20,
    'eval_batch_size': 2_000_000 // found['shape'][0] ** 2,  # 488 images of 64 pixels
  }
  override(c, fields, 'benchmark')
  began = time.monotonic()
  run.run(c, folder / 'run')
  status = dict(line.split(':') for line in Path('/proc/self/status').read_text().splitlines())
  print(int(status['VmHWM'].split()[0]) / 1024, time.monotonic() - began)


def memory(name: str) -> dict:
  size, _, method = name.partition(':')
  rows, side = map(int, size.split('x'))
  folder = Path(SCRATCH.value) / size
  shutil.rmtree(folder, ignore_errors=True)
  try:
    generated(folder, rows, side)
    command = [sys.executable, __file__, f'--child={folder}', f'--method={method}']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      raise SystemExit(f'--child={folder} failed:\n{done.stderr[-3000:]}')
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  peak, seconds = map(float, done.stdout.split()[-2:])
  return {'rows': rows, 'side': side, 'peak_mb': round(peak), 'seconds': round(seconds)}


def written(folder: Path, images: np.ndarray, form: str) -> packed.PackedImages:
  """Writes images as a pack writes them and returns them."""
  folder.mkdir(parents=True)
  names = [str(i) for i in range(len(images))]
  one = lambda i: decode.One(images[i], names[i], images.shape[1:3], False, 'arrays', False, '')
  return pack.Writer(folder, form, '', False).store(names, one, '')[0]


def photos(count: int, side: int) -> np.ndarray:
  """Returns smooth random images with some noise, which JPEG compresses about as much as photos."""
  from PIL import Image

  rng, out = np.random.default_rng(0), np.empty((count, side, side, 3), np.uint8)
  for image in out:
    small = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
    image[...] = np.clip(np.asarray(small.resize((side, side), 3)) + rng.normal(0, 6, (side, side, 3)), 0, 255)
  return out


class Trainer:
  """The steps of `train.fit` on one kind of images.

  Args:
    fields: fields of the config.
    images: `Images`, or an array.
    labels: labels of the rows.
  """

  def __init__(self, fields: dict, images, labels: np.ndarray) -> None:
    import jax
    from engine import configured

    from noisyjax.config.plan import Plan
    from noisyjax.engine import between_epochs
    from noisyjax.engine.phase import enter
    from noisyjax.engine.spec import run_keys

    data, root = TrainData(images, labels, np.full(len(labels), -1, np.int32), CLASSES), jax.random.key(0)
    self.phase = Plan.of(configured(fields)).engine_phases(data)[0]
    self.host = data.images
    self.device = jax.numpy.asarray(data.images) if data.images.resident else None
    self.keys, self.state = run_keys(root), enter(self.phase, 0, data, self.device, root, None, template=True)
    self.hyper = self.phase.hyper.replace(steps=np.float32(len(labels) // self.phase.spec.batch_size))
    self.walks = between_epochs.walks(self.state.masks, self.keys.walk, self.state.epoch, CLASSES)

  def block(self, steps: int) -> float:
    """Trains some steps as `train.fit` does, from the first batch to the last loss, and returns the seconds."""
    import itertools

    import jax

    from noisyjax.engine import gather, step

    spec, strategy, tick = self.phase.spec, self.phase.strategy, int(self.state.tick)
    calls, walks, batches = [(tick + i, 1) for i in range(steps)], self.walks, itertools.repeat(self.device)
    began, ahead = time.perf_counter(), None
    if self.device is None:
      batches, walks = gather.ahead(strategy, spec.batch_size, walks, self.host, calls, spec.mesh), None
    for batch, _ in zip(batches, calls):
      self.state, sums = step.train_step(spec, strategy, self.hyper, self.state, walks, batch, self.keys)
      jax.block_until_ready(ahead)
      ahead = sums
    jax.block_until_ready(ahead)
    return time.perf_counter() - began


def throughput(name: str) -> dict:
  model, own, side, batch, rows, steps = NETWORKS[name]
  folder, images = Path(SCRATCH.value) / name, photos(rows, side)
  labels = np.random.default_rng(1).integers(0, CLASSES, rows).astype(np.int32)
  shutil.rmtree(folder, ignore_errors=True)
  try:
    kinds = {'memory': images} | {form: written(folder / form, images, form) for form in packed.FORMS}
    size = {form: kinds[form].length.mean() for form in packed.FORMS}
    fields = {'model.name': model, 'batch_size': batch, 'augment.weak': ('crop', 'flip')} | own
    fields |= {'model.mean': (127.0,) * 3, 'model.std': (64.0,) * 3}  # these packs have no rows.parquet
    trainers = {kind: Trainer(fields, found, labels) for kind, found in kinds.items()}
    found = [{kind: one.block(steps) for kind, one in trainers.items()} for _ in range(BLOCKS.value + 1)]
  finally:
    shutil.rmtree(folder, ignore_errors=True)
  blocks = {kind: np.array([seconds[kind] for seconds in found[1:]]) for kind in trainers}  # the first one compiles
  plain = blocks['memory']
  return {
    'model': model,
    'side': side,
    'batch': batch,
    'blocks': BLOCKS.value,
    'steps_a_block': steps,
    'images_per_second': {k: round(float(steps * batch / np.median(v)), 1) for k, v in blocks.items()},
    # Of blocks that ran one after another: the load of others changes slowly.
    'of_memory': {form: round(float(np.median(plain / blocks[form])), 3) for form in packed.FORMS},
    'bytes_an_image': {form: round(float(v)) for form, v in size.items()},
  }


def main() -> None:
  if CHILD.value:
    child(Path(CHILD.value))
    return
  path = Path(OUT.value) / 'streaming.json'
  record = json.loads(path.read_text()) if path.exists() else {}
  measures = {'memory': (memory, SIZES.value), 'throughput': (throughput, list(NETWORKS))}
  for part in PARTS.value:
    measure, names = measures[part]
    for name in names:
      found = record.setdefault(part, {})
      if name in found and not RERUN.value:
        continue
      load = os.getloadavg()[0]
      found[name] = (
        measure(name)
        | program.record()
        | {
          'date': time.strftime('%Y-%m-%d'),
          'usable_cores': len(os.sched_getaffinity(0)),
          'load': [round(load, 1), round(os.getloadavg()[0], 1)],
        }
      )
      print(part, name, json.dumps(found[name]), flush=True)
      storage.make_folder(path.parent)
      storage.write_json(path, record)


if __name__ == '__main__':
  program.run(main)
