"""Images per second on one GPU, ours beside compiled PyTorch: networks, batches, replicas, and what strategies cost.

  python benchmarks/gpu.py --record=benchmarks/results/gpu.json
  python benchmarks/gpu.py --smoke          (tiny sizes, on any machine: whether it runs at all)

Needs no data: random images, bfloat16, crops and flips on the device, 16 steps a call. A part at a time, of which
--parts chooses; every figure is written as soon as it is known, so that a run cut off keeps what it has.

  speed       4 networks × batches of 128, 512 and 1024: ours, and the part of the card's measured matmul rate
  rivals      the same networks at 512 in PyTorch: channels last, bfloat16 autocast, torch.compile
  networks    co-teaching's two ResNet-18: one after another in one step, and as one vmapped call
  replicas    1 to 16 runs of the small CNN in one vmapped step, against one run
  strategies  an epoch of DivideMix, co-teaching, ELR and FixMatch on 50,000 images, against cross-entropy's; DivideMix'
              300 epochs are extrapolated from 3
"""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PARTS = flags.DEFINE_list('parts', ['speed', 'rivals', 'networks', 'replicas', 'strategies'], 'What to measure.')
RECORD = flags.DEFINE_string('record', '', 'A JSON record to write.')
SMOKE = flags.DEFINE_boolean('smoke', False, 'Tiny sizes.')
RIVAL = flags.DEFINE_string('rival', '', 'Internal: the network and batch that this process trains in PyTorch.')
NETWORKS = ('resnet18', 'preact_resnet18', 'cnn9', 'small_cnn')
BATCHES = (128, 512, 1024)
SECONDS = 2.0  # of one measurement
REPEATS = 3


def sizes() -> tuple[tuple[int, ...], tuple[str, ...], int]:
  """Returns batches, networks and rows."""
  return ((16,), ('small_cnn',), 64) if SMOKE.value else (BATCHES, NETWORKS, 50_000)


def random_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count).astype(np.int32)


def rate(call, images: int) -> list[float]:
  """Returns images per second of `call`, which trains `images` of them and waits: a figure a repeat, after one call."""
  call()
  started = time.perf_counter()
  call()
  times = max(1, int(SECONDS / max(time.perf_counter() - started, 1e-9)))
  rates = []
  for _ in range(REPEATS):
    started = time.perf_counter()
    for _ in range(times):
      call()
    rates.append(times * images / (time.perf_counter() - started))
  return rates


def matmul_rate() -> float:
  """Returns the card's bfloat16 matmul rate, FLOP/s."""
  import jax
  import jax.numpy as jnp

  n = 256 if SMOKE.value else 8192
  a = jax.random.normal(jax.random.key(0), (n, n), jnp.bfloat16)
  product = jax.jit(lambda a: a @ a)
  return 2 * n**3 * float(np.median(rate(lambda: product(a).block_until_ready(), 1)))


def configured(name: str, batch: int, recipe: str = '', **fields):
  """Returns a config: the base's, or a recipe's on CIFAR-10 with half of the labels wrong."""
  import importlib

  from configs import base

  c = importlib.import_module(f'configs.recipes.{recipe}').get_config('sym50') if recipe else base.get_config()
  c.model.name = name or c.model.name
  c.model.dtype, c.batch_size = 'bfloat16', batch or c.batch_size
  for field, value in fields.items():
    *path, last = field.split('__')
    table = c
    for key in path:
      table = table[key]
    table[last] = value
  return c


class Engine:
  """The engine's own step on random images."""

  def __init__(self, config, rows: int):
    import jax

    from noisyjax import config as configs, step, train
    from noisyjax.strategy import TrainData

    images, labels = random_rows(rows)
    verified = np.where(np.arange(rows) < rows // 10, labels, -1).astype(np.int32)
    self.data = TrainData(images, labels, verified, 10)
    self.phase = configs.plan(config, self.data)[0]
    self.root, self.images = jax.random.key(0), jax.numpy.asarray(images)
    self.keys = step.keys(self.root)
    self.state = train.enter(self.phase, 0, self.data, self.images, self.root, None)
    self.hyper = self.phase.hyper.replace(steps=np.float32(rows // config.batch_size))
    self.walks = step.walks(self.state.masks, self.keys.walk, self.state.epoch, 10)
    self.count = 2 if SMOKE.value else 16

  def run(self):
    """Trains 16 steps in one call."""
    import jax

    from noisyjax import step

    phase = self.phase
    arguments = phase.spec, phase.strategy, self.hyper, self.state, self.walks, self.images, self.keys
    self.state, _ = step.steps(*arguments, self.count)
    jax.block_until_ready(self.state)
    self.state = self.state.replace(tick=jax.numpy.zeros_like(self.state.tick))

  def flops(self) -> float:
    """Returns floating-point operations per image, by the compiler's count for one step."""
    from noisyjax import step

    phase = self.phase
    arguments = phase.spec, phase.strategy, self.hyper, self.state, self.walks, self.images, self.keys
    found = step.step.lower(*arguments).cost_analysis() or {}
    return float(found.get('flops', 0.0)) / phase.spec.batch_size

  def rate(self) -> list[float]:
    return rate(self.run, self.count * self.phase.spec.batch_size)


def speed(record: dict):
  batches, networks, _ = sizes()
  peak = record['matmul_flops_per_second']
  for name in networks:
    for batch in batches:
      engine = Engine(configured(name, batch), max(10_240, 16 * batch) if not SMOKE.value else 64)
      rates, flops = engine.rate(), engine.flops()
      yield {'network': name, 'batch': batch, 'images_per_second': rates, 'flops_per_image': flops,
             'part_of_matmul_rate': float(np.median(rates)) * flops / peak}  # fmt: skip


def torch_rate(name: str, batch: int) -> None:
  """Trains in PyTorch, and prints images per second of each repeat as JSON."""
  import torch
  import torch_models

  torch.backends.cudnn.benchmark = True
  device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
  images, labels = random_rows(10_240 if not SMOKE.value else 64)
  pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).to(device)
  answers = torch.from_numpy(labels).long().to(device)
  model = torch_models.MODELS[name]().to(device, memory_format=torch.channels_last)
  learnt = [p for p in model.parameters() if p.requires_grad]
  optimizer = torch.optim.SGD(learnt, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
  compiled = model if SMOKE.value else torch.compile(model, mode='max-autotune-no-cudagraphs')

  def call():
    for rows in torch.randint(len(pixels), (16, batch), device=device):
      optimizer.zero_grad(set_to_none=True)
      with torch.autocast(device.type, torch.bfloat16):
        x = ((pixels[rows].to(torch.bfloat16) - 120.0) / 60.0).contiguous(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(compiled(x), answers[rows])
      loss.backward()
      optimizer.step()
    if device.type == 'cuda':
      torch.cuda.synchronize()

  print(json.dumps({'rates': rate(call, 16 * batch), 'torch': torch.__version__}))


def rivals(record: dict):
  _, networks, _ = sizes()
  batch = 16 if SMOKE.value else 512
  for name in networks:
    command = [sys.executable, __file__, f'--rival={name} {batch}', *(['--smoke'] if SMOKE.value else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
      yield {'network': name, 'error': done.stderr[-500:]}
      continue
    found = json.loads(done.stdout.splitlines()[-1])
    ours = [r for r in record['parts'].get('speed', []) if (r['network'], r['batch']) == (name, batch)]
    ratio = float(np.median(ours[0]['images_per_second']) / np.median(found['rates'])) if ours else None
    yield {'network': name, 'batch': batch, 'images_per_second': found['rates'], 'torch': found['torch'],
           'ours_by_theirs': ratio}  # fmt: skip


def networks(record: dict):
  batch, name = (16, 'small_cnn') if SMOKE.value else (128, 'resnet18')
  for vmap in (False, True):
    fields = {'strategy__name': 'co_teaching', 'model__vmap': vmap}
    engine = Engine(configured(name, batch, **fields), 64 if SMOKE.value else 10_240)
    yield {'network': name, 'batch': batch, 'vmap': vmap, 'images_per_second': engine.rate()}


def replicas(record: dict):
  """R runs in one step: state, keys and walks have a leading R; images and hyper-parameters are shared."""
  import functools

  import jax
  import jax.numpy as jnp

  from noisyjax import step, train

  batch, rows, count = (16, 64, 2) if SMOKE.value else (128, 10_240, 16)
  engine = Engine(configured('small_cnn', batch), rows)
  phase = engine.phase

  @functools.partial(jax.jit, donate_argnums=0)
  def together(states, walks, keys):
    one = lambda state, walks, keys: step.train_step(
      phase.spec, phase.strategy, engine.hyper, state, walks, engine.images, keys
    )[0]
    states, _ = jax.lax.scan(lambda s, _: (jax.vmap(one)(s, walks, keys), None), states, length=count)
    return states

  def runs(r: int):
    """Returns what trains R runs for `count` steps."""
    roots = [jax.random.key(seed) for seed in range(r)]
    states = [train.enter(phase, 0, engine.data, engine.images, root, None) for root in roots]
    keys = [step.keys(root) for root in roots]
    walks = [step.walks(s.masks, k.walk, s.epoch, 10) for s, k in zip(states, keys)]
    states, walks, keys = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees) for trees in (states, walks, keys))

    def call():
      nonlocal states
      states = together(states, walks, keys)
      jax.block_until_ready(states)
      states = states.replace(tick=jnp.zeros_like(states.tick))

    return call

  for r in (1, 2) if SMOKE.value else (1, 2, 4, 8, 16):
    found = rate(runs(r), r * count * batch)
    yield {'network': 'small_cnn', 'batch': batch, 'replicas': r, 'images_per_second': found}


def strategies(record: dict):
  import jax

  from noisyjax import config as configs, train
  from noisyjax.strategy import TrainData

  rows = sizes()[2]
  images, labels = random_rows(rows)
  verified = np.where(np.arange(rows) < rows // 10, labels, -1).astype(np.int32)
  data = TrainData(images, labels, verified, 10)

  class Watch:
    """Notes when epochs end."""

    def begin(self, phase, position, state):
      self.times = [time.perf_counter()]

    def step(self, phase, position, state, count, tick): ...

    def epoch(self, phase, position, state, record):
      jax.block_until_ready(state)
      self.times.append(time.perf_counter())
      self.steps = position.steps

  unit = None
  for name in ('naive', 'elr', 'co_teaching', 'fixmatch', 'divide_mix'):
    c = configured('small_cnn' if SMOKE.value else 'preact_resnet18', 16 if SMOKE.value else 0, recipe=name)
    c.phases, c.epochs = (), 4  # the first one compiles
    c.steps_per_epoch = 2 if SMOKE.value else c.steps_per_epoch
    if name == 'divide_mix':
      c.phases = (('naive', 1, {'strategy.naive.networks': 2}), (name, 4, {}))
    watch = Watch()
    train.fit(configs.plan(c, data), data, None, jax.random.key(0), watch)
    seconds = np.diff(watch.times)[1:]
    unit = unit or float(np.median(seconds))
    found = {'strategy': name, 'batch': c.batch_size, 'steps': watch.steps, 'epoch_seconds': seconds.tolist(),
             'by_cross_entropy': float(np.median(seconds)) / unit}  # fmt: skip
    if name == 'divide_mix':  # warm-up: two networks' cross-entropy
      found['extrapolated_300_epochs_hours'] = (10 * 2 * unit + 290 * float(np.median(seconds))) / 3600
    yield found


def main(argv: list[str]) -> None:
  if RIVAL.value:
    name, batch = RIVAL.value.split()
    torch_rate(name, int(batch))
    return
  import jax

  from noisyjax import compile_cache

  if jax.default_backend() == 'cpu' and not SMOKE.value:
    raise SystemExit('there is no GPU here; --smoke runs tiny sizes on the CPU.')
  compile_cache.enable()
  record = {'device': jax.devices()[0].device_kind, 'jax': jax.__version__, 'python': platform.python_version(),
            'matmul_flops_per_second': matmul_rate(), 'parts': {}}  # fmt: skip
  print(f'{record["device"]}: matmul {record["matmul_flops_per_second"] / 1e12:.0f} TFLOP/s in bfloat16', flush=True)
  parts = {'speed': speed, 'rivals': rivals, 'networks': networks, 'replicas': replicas, 'strategies': strategies}
  for part in PARTS.value:
    record['parts'][part] = []
    for found in parts[part](record):
      record['parts'][part].append(found)
      print(part, json.dumps({k: np.round(np.median(v), 3).item() if isinstance(v, list) else v
                              for k, v in found.items()}), flush=True)  # fmt: skip
      if RECORD.value:
        Path(RECORD.value).write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
  app.run(main)
