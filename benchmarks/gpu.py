"""Images per second on one GPU, ours beside compiled PyTorch: networks, batches, replicas, and what strategies cost.

  python benchmarks/gpu.py --record=benchmarks/results/gpu.json
  python benchmarks/gpu.py --smoke          (tiny sizes, on any machine: whether it runs at all)

Needs no data: random images, bfloat16, 16 steps a call. Compiling included it takes --minutes: the figures that have
goals come first, and one that would not be done in time is left out and named in the record, which is written after
each. Figures that the record holds already stand, so that a second call goes on where the first ended.

  speed       4 networks × batches of 512, 128 and 1024, without augmentation: ours, and the part of the card's measured
              matmul rate that the step's convolutions and products reach
  rivals      the same in PyTorch: channels last, bfloat16 autocast, torch.compile, images on the device
  strategies  an epoch of PreAct-ResNet-18 on 50,000 images, with crop and flip and the same optimizer for all, against
              cross-entropy's: 391 steps of 128 rows. A step of DivideMix has 64 labeled and 64 unlabeled rows in two
              views, as in its paper; 391 steps go once through half of the rows, which is what 50 % noise leaves to
              learn. Its 300 epochs: 10 of warm-up (two networks' cross-entropy, batch 128) and 290 such ones; at most,
              290 twice as long, where all rows are taken for clean (782 steps). Each is the median of 3 whole epochs,
              the scores of all rows included, after two that compile; nothing is validated
  replicas    2 to 16 runs of the small CNN in one step of a program of its own, vmapped (and 8 of them one after
              another in it), against one run in the trainer's
  networks    co-teaching's two ResNet-18: one after another in one step, and as one vmapped call
"""

import functools
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path

import numpy as np
from absl import app, flags
from engine import Engine, configured, random_data, random_rows

STARTED = time.perf_counter()
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # PyTorch needs room on the same card

PARTS = flags.DEFINE_list('parts', ['speed', 'rivals', 'strategies', 'replicas', 'networks'], 'What to measure.')
MINUTES = flags.DEFINE_float('minutes', 9.0, 'The time there is.')
RECORD = flags.DEFINE_string('record', '', 'A JSON record to write, and to go on from.')
SMOKE = flags.DEFINE_boolean('smoke', False, 'Tiny sizes.')
RIVAL = flags.DEFINE_string('rival', '', 'Internal: network, batch and mode that this process trains in PyTorch.')
NETWORKS = ('resnet18', 'preact_resnet18', 'cnn9', 'small_cnn')
BATCHES = (512, 128, 1024)
MODES = ('reduce-overhead', 'default')  # of torch.compile: the second where the first fails
# Seconds that a figure of the part may take, or of the strategy.
EXPECTED = {'speed': 30, 'rivals': 75, 'strategies': 60, 'replicas': 40, 'networks': 60, 'divide_mix': 150}
RIVAL_SECONDS = 240  # at most, of one process: the first imports and compiles with cold caches
REPEATS = 3
BFLOAT16 = {'model.dtype': 'bfloat16'}
HALF = 391  # steps of 64 rows once through half of 50,000, and of 128 once through all
PER_CALL = 17  # divides them: one program to compile instead of two


def count() -> int:
  """Returns the steps of a call."""
  return 2 if SMOKE.value else 16


@functools.cache
def rows():
  """Returns what the engines are timed on."""
  return random_data(64 if SMOKE.value else 10_240)


def left() -> float:
  """Returns the seconds that are left."""
  return 60 * MINUTES.value - (time.perf_counter() - STARTED)


def rate(call, images: int, seen=lambda rates: None) -> list[float]:
  """Returns images per second of `call(times)`, which trains `times · images` and waits once, by repeat.

  `seen` is shown the rates after each.
  """
  call(1)  # compiles
  started = time.perf_counter()
  call(1)
  times = max(1, int((0.05 if SMOKE.value else 0.7) / (time.perf_counter() - started)))
  rates = []
  for _ in range(REPEATS):
    started = time.perf_counter()
    call(times)
    rates.append(times * images / (time.perf_counter() - started))
    seen(rates)
  return rates


def preflight() -> None:
  """Trains one convolution in bfloat16: where that fails, all figures would."""
  import jax
  import jax.numpy as jnp

  x, kernel = jnp.ones((8, 16, 16, 8), jnp.bfloat16), jnp.ones((3, 3, 8, 8), jnp.bfloat16)
  convolve = lambda k: jax.lax.conv_general_dilated(x, k, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  jax.block_until_ready(jax.jit(jax.grad(lambda k: (convolve(k).astype(jnp.float32) ** 2).sum()))(kernel))


def matmul_rate() -> float:
  """Returns the card's bfloat16 matmul rate, FLOP/s: chains of 20 products before it is waited for."""
  import jax
  import jax.numpy as jnp

  n, chain = 256 if SMOKE.value else 8192, 20
  draw = lambda seed: jax.random.normal(jax.random.key(seed), (n, n), jnp.bfloat16)
  a, b = draw(0), draw(1) * n**-0.5  # numbers keep their size in products with b
  product = jax.jit(jnp.matmul)

  def call(times: int):
    for _ in range(times):
      x = a
      for _ in range(chain):
        x = product(x, b)
      x.block_until_ready()

  return 2 * n**3 * float(np.median(rate(call, chain)))


def engine_rate(engine: Engine) -> list[float]:
  return rate(lambda times: engine.learn(times, count()), count() * engine.phase.spec.batch_size)


def find(record: dict, part: str, **what) -> dict:
  """Returns the figure that was measured before, or nothing."""
  same = (f for f in record['parts'].get(part, []) if all(f.get(k) == v for k, v in what.items()) and 'error' not in f)
  return next(same, {})


def speed(record: dict, network: str, batch: int) -> dict:
  engine = Engine(BFLOAT16 | {'model.name': network, 'batch_size': batch}, rows())
  known = find(record, 'speed', network=network).get('flops_per_image')  # of any batch
  rates, flops = engine_rate(engine), known or engine.flops()
  part = float(np.median(rates)) * flops / record['matmul_flops_per_second']
  return {'images_per_second': rates, 'flops_per_image': flops, 'part_of_matmul_rate': part}


def torch_rate(network: str, batch: int, mode: str) -> None:
  """Trains in PyTorch, and prints images per second of each repeat as JSON."""
  import torch
  import torch_models

  torch.backends.cudnn.benchmark = True
  device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')

  class Objective(torch.nn.Module):
    """All of a step that can be compiled: rows to loss. The images are buffers, so that no graph copies them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
      super().__init__()
      self.model = torch_models.MODELS[network]().to(memory_format=torch.channels_last)
      self.register_buffer('images', torch.from_numpy(images))
      self.register_buffer('labels', torch.from_numpy(labels).long())

    def forward(self, index):
      x = ((self.images[index].to(torch.bfloat16) - 120.0) / 60.0).permute(0, 3, 1, 2)  # is channels last
      return torch.nn.functional.cross_entropy(self.model(x), self.labels[index])

  objective = Objective(*random_rows(64 if SMOKE.value else 10_240)).to(device)
  learnt = [p for p in objective.parameters() if p.requires_grad]
  optimizer = torch.optim.SGD(learnt, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
  compiled = objective if SMOKE.value else torch.compile(objective, mode=mode)

  def call(times: int):
    for index in torch.randint(len(objective.images), (count() * times, batch), device=device):
      torch.compiler.cudagraph_mark_step_begin()
      optimizer.zero_grad(set_to_none=True)
      with torch.autocast(device.type, torch.bfloat16):
        loss = compiled(index)
      loss.backward()
      optimizer.step()
    if device.type == 'cuda':
      torch.cuda.synchronize()

  found = {'torch': torch.__version__, 'cudnn': torch.backends.cudnn.version(), 'cuda': torch.version.cuda}
  show = lambda rates: print(json.dumps({'images_per_second': rates} | found), flush=True)
  rate(call, count() * batch, show)


def torch_process(network: str, batch: int, mode: str) -> dict:
  """Returns what a process printed that trains in PyTorch, or why it did not."""
  command = [sys.executable, __file__, f'--rival={network} {batch} {mode}', *(['--smoke'] if SMOKE.value else [])]
  with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
    try:
      out, said = process.communicate(timeout=max(1.0, min(RIVAL_SECONDS, left())))
    except subprocess.TimeoutExpired as error:
      process.kill()
      out, said = process.communicate()
      said += f'\nnot done in {error.timeout:.0f} s'
  lines = [line for line in out.splitlines() if line.startswith('{"images_per_second"')]
  late = {} if process.returncode == 0 else {'ended': said[-300:]}
  return json.loads(lines[-1]) | {'mode': mode} | late if lines else {'error': f'{mode}: {said[-2000:]}'}


def rivals(record: dict, network: str, batch: int) -> dict:
  first, second = MODES
  found = torch_process(network, batch, first)
  if 'error' in found and left() > EXPECTED['rivals']:
    found = {'failed': found['error']} | torch_process(network, batch, second)
  return found


def compared(record: dict) -> None:
  """Writes the ratios of figures to one another beside them, as far as there are both."""
  speed = lambda f: float(np.median(f['images_per_second']))
  good = lambda part: [f for f in record['parts'].get(part, []) if 'error' not in f]
  for f in good('rivals'):
    if ours := find(record, 'speed', network=f['network'], batch=f['batch']):
      f['ours_by_theirs'] = speed(ours) / speed(f)
  for f in good('replicas'):
    if one := find(record, 'replicas', replicas=1):
      f['seconds_by_seconds_of_one'] = f['replicas'] * speed(one) / speed(f)
  for f in good('strategies'):
    if unit := find(record, 'strategies', strategy='naive'):
      f['by_cross_entropy'] = float(np.median(f['epoch_seconds']) / np.median(unit['epoch_seconds']))


def networks(record: dict, network: str, batch: int, vmap: bool) -> dict:
  fields = {'model.name': network, 'batch_size': batch, 'strategy.name': 'co_teaching', 'model.vmap': vmap}
  return {'images_per_second': engine_rate(Engine(BFLOAT16 | fields, rows()))}


def replicas(record: dict, replicas: int, batch: int, vmap: bool = True) -> dict:
  """R runs in one step: state, keys and walks have a leading R; images and hyper-parameters are shared."""
  fields = BFLOAT16 | {'model.name': 'small_cnn', 'batch_size': batch}
  if replicas == 1:
    return {'images_per_second': engine_rate(Engine(fields, rows()))}
  return {'images_per_second': together_rate([Engine(fields, rows(), seed) for seed in range(replicas)], vmap)}


def together_rate(engines: list[Engine], vmap: bool) -> list[float]:
  """Returns images per second, over all engines, of one step that trains them all, at once or in turn."""
  import jax
  import jax.numpy as jnp

  from noisyjax.engine import step

  first = engines[0]
  spec, strategy, hyper, _, _, images, _ = first.arguments()
  parts = [tuple(getattr(e, name) for e in engines) for name in ('state', 'walks', 'keys')]
  stacked = jax.jit(lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))
  states, walks, keys = map(stacked, parts)

  @functools.partial(jax.jit, donate_argnames='states')
  def together(hyper, states, walks, images, keys):
    one = lambda state, walks, keys: step.one_step(spec, strategy, hyper, state, walks, images, keys)
    own = lambda tree, r: jax.tree.map(lambda a: a[r], tree)

    def in_turn(states, walks, keys):
      done = [one(*(own(tree, r) for tree in (states, walks, keys))) for r in range(len(engines))]
      return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)

    each = jax.vmap(one) if vmap else in_turn
    return jax.lax.scan(lambda s, _: each(s, walks, keys), states, length=count())

  def call(times: int):
    nonlocal states
    for _ in range(times):
      states, _ = together(hyper, states, walks, images, keys)
    jax.block_until_ready(states)
    states = states.replace(tick=jnp.zeros_like(states.tick))

  return rate(call, len(engines) * count() * spec.batch_size)


class Watch:
  """Notes when a phase begins and when its epochs end."""

  def __init__(self):
    self.times, self.steps = [], []

  def begin(self, phase, position, state):
    self.times.append([time.perf_counter()])
    self.steps.append(position.steps)

  def step(self, phase, position, state, count, tick): ...

  def epoch(self, phase, position, state, record):
    self.times[-1].append(time.perf_counter())

  def seconds(self) -> list[list[float]]:
    """Returns those of each phase's epochs, less the first two, which compile (the second what comes between two)."""
    return [np.diff(times)[2:].tolist() for times in self.times]


def strategies(record: dict, strategy: str) -> dict:
  import jax

  from noisyjax.config.plan import Plan
  from noisyjax.engine import train

  smoke = {'model.name': 'small_cnn', 'batch_size': 16, 'per_call': 2}
  full = {'model.name': 'preact_resnet18', 'batch_size': 128, 'per_call': PER_CALL}
  fields = BFLOAT16 | {'augment.weak': ('crop', 'flip'), 'optim.lr': 0.02} | (smoke if SMOKE.value else full)
  phases = ((strategy, 5, {}),)
  if strategy == 'divide_mix':
    half = {'batch_size': fields['batch_size'] // 2, 'steps_per_epoch': 2 if SMOKE.value else HALF}
    phases = ('naive', 5, {'strategy.naive.networks': 2}), (strategy, 5, half)
  data, watch = random_data(64 if SMOKE.value else 50_000), Watch()
  plan = Plan.of(configured(fields | {'phases': phases})).engine_phases(data)
  state, _ = train.fit(plan, data, None, jax.random.key(0), watch)
  *warm, epochs = watch.seconds()
  epoch = float(np.median(epochs))
  # A loss that left the numbers, or a split with nothing on one side, would be other work.
  found = {
    'network': fields['model.name'],
    'steps': watch.steps[-1],
    'epoch_seconds': epochs,
    'bad_step': int(state.bad_step),
    'trusted_part': float((state.targets.trust > 0.5).mean()),
  }
  if warm:
    hours = lambda times: (10 * float(np.median(warm[0])) + 290 * times * epoch) / 3600
    found |= {'warm_up_epoch_seconds': warm[0], 'hours_of_300_epochs': hours(1), 'hours_at_most': hours(2)}
  return found


def figures() -> list[tuple[str, dict]]:
  """Returns what there is to measure, as (part, of what): what has goals first, then batch by batch."""
  names, batches, small = (('small_cnn',), (16,), 16) if SMOKE.value else (NETWORKS, BATCHES, 128)
  grid = [{'network': name, 'batch': batch} for batch in batches for name in names]
  many = 2 if SMOKE.value else 8
  pairs = lambda grid: [(part, of) for of in grid for part in ('speed', 'rivals')]
  return [
    *pairs(grid[:1]),
    *(('strategies', {'strategy': name}) for name in ('naive', 'divide_mix')),
    *(('replicas', {'replicas': r, 'batch': small, 'vmap': v}) for r, v in ((1, True), (many, True), (many, False))),
    ('strategies', {'strategy': 'co_teaching'}),
    *(('speed', of) for of in grid[1 : len(names)]),
    *(('networks', {'network': names[0], 'batch': small, 'vmap': vmap}) for vmap in (False, True)),
    *(('rivals', of) for of in grid[1 : len(names)]),
    *pairs(grid[len(names) :]),
    *(('replicas', {'replicas': r, 'batch': small, 'vmap': True}) for r in (() if SMOKE.value else (16, 4, 2))),
  ]


FIGURES = {'speed': speed, 'rivals': rivals, 'strategies': strategies, 'replicas': replicas, 'networks': networks}


def measured(part: str, of: dict, record: dict) -> dict:
  """Returns a figure; one that fails, for whatever reason, is no reason to lose the others."""
  started = time.perf_counter()
  try:
    found = FIGURES[part](record, **of)
  except Exception:
    found = {'error': traceback.format_exc()[-2000:]}
  return of | found | {'seconds': time.perf_counter() - started}


def main(argv: list[str]) -> None:
  if RIVAL.value:
    network, batch, mode = RIVAL.value.split()
    torch_rate(network, int(batch), mode)
    return
  import jax

  from noisyjax.system import compile_cache
  from noisyjax.system.errors import check_choice

  if jax.default_backend() == 'cpu' and not SMOKE.value:
    raise SystemExit('there is no GPU here; --smoke runs tiny sizes on the CPU.')
  for part in PARTS.value:
    check_choice('--parts', part, FIGURES)
  compile_cache.enable()
  preflight()
  record = {
    'device': jax.devices()[0].device_kind,
    'python': platform.python_version(),
    'versions': {name: metadata.version(name) for name in ('jax', 'jaxlib', 'flax', 'optax')},
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
    'smoke': SMOKE.value,
    'matmul_flops_per_second': matmul_rate(),
    'parts': {},
    'skipped': [],
  }
  if RECORD.value and Path(RECORD.value).exists():
    before, same = json.loads(Path(RECORD.value).read_text()), ('device', 'python', 'versions', 'xla_flags', 'smoke')
    if any(before.get(field) != record[field] for field in same):
      raise SystemExit(f'{RECORD.value}: is of another machine or other versions; expected a new file.')
    record = before | {'skipped': []}
  print(f'{record["device"]}: matmul {record["matmul_flops_per_second"] / 1e12:.0f} TFLOP/s in bfloat16', flush=True)
  for part, of in figures():
    if part not in PARTS.value:
      continue
    if find(record, part, **of):
      continue
    seen = record['parts'].setdefault(part, [])
    if EXPECTED.get(of.get('strategy'), EXPECTED[part]) > left():
      record['skipped'].append({'part': part} | of)
    else:
      seen[:] = [f for f in seen if any(f.get(k) != v for k, v in of.items())]  # where an earlier call failed
      seen.append(measured(part, of, record))
      compared(record)
      shown = {k: np.round(np.median(v), 3).item() if isinstance(v, list) else v for k, v in seen[-1].items()}
      print(part, json.dumps(shown), flush=True)
    if RECORD.value:
      Path(RECORD.value).write_text(json.dumps(record, indent=1) + '\n')
  if record['skipped']:
    print('no time was left for', json.dumps(record['skipped']))


if __name__ == '__main__':
  app.run(main)
