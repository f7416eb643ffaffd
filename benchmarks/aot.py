"""Compiles the trainer's step, scoring and prediction for TPUs and a GPU that are not there, and says what came out.

  pip install --no-deps --target=.libtpu -r benchmarks/aot_requirements.txt
  PYTHONPATH=.libtpu python benchmarks/aot.py

Writes results/aot.json after each program, and aot.md. A program that the record holds is not compiled again, so that a
second call goes on where the first ended; --again compiles those of --only again. A program takes 20 seconds to 22
minutes of a processor. Each is compiled in a process of its own, because compilers have crashed. Nothing runs. The
seconds of a step are an estimate from compiled code: the largest of operations / peak, bytes of memory traffic /
bandwidth, and bytes sent / bandwidth of one link (a ring over it in one direction). The bodies of loops count once:
that of the loop over the steps of a call as it should, others (sorting, rejection) too few times. What a call does once
counts as if each step did it, such as a copy of the images to another layout.

The images of 32 pixels lie on each chip (50,000 rows), those of 224 come from packed files, step by step. Networks
compute in bfloat16, with the defaults of all other fields; a batch is that of the whole run, however many the chips.
"""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib import metadata
from pathlib import Path

# Otherwise libtpu asks the network what machine this is.
os.environ |= {'JAX_PLATFORMS': 'cpu', 'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost'}
os.environ |= {'TPU_ACCELERATOR_TYPE': 'v5litepod-8', 'ALLOW_MULTIPLE_LIBTPU_LOAD': '1'}

import compiled
import jax
import numpy as np
import program
from absl import flags
from engine import each_product
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from configs import base
from noisyjax.config.override import override
from noisyjax.config.plan import Plan
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, gather, score, step
from noisyjax.engine.phase import enter
from noisyjax.engine.spec import run_keys
from noisyjax.reports.formatting import markdown
from noisyjax.system import plugins, storage

RESULTS = Path(__file__).parent / 'results'
RECORD = flags.DEFINE_string('record', str(RESULTS / 'aot.json'), 'A JSON record to write, and to go on from.')
ONLY = flags.DEFINE_string('only', '', 'Words of the programs to compile, such as "step sop v5e:2x4"; all by default.')
AGAIN = flags.DEFINE_boolean('again', False, 'Compiles programs that the record holds, too.')
MINUTES = flags.DEFINE_float('minutes', math.inf, 'Begins no further program after this time.')
CHILD = flags.DEFINE_string('child', '', 'Internal: the program that this process compiles.')

ROWS, CLASSES, CALL = 50_000, 10, 16  # rows of the data set, its classes, and steps of a call
TASKS = 'step', 'score', 'predict'
COLUMNS = (
  'method, network, images',
  'chips',
  'GFLOP',
  'traffic, GB',
  'arguments, MB',
  'temporaries, MB',
  'of the memory',
  'all-reduce',
  'all-gather',
  'other',
  'not bfloat16',
  'host / float64',
  'ms',
  'of the peak',
)
EXPLAINED = """Every figure is **an estimate from compiled code, not a measurement**: no TPU or GPU was available.

`python benchmarks/aot.py` has compiled {have} of {all} programs (jax {jax}, libtpu {libtpu}). All figures are for one
chip and one step, or one chunk of rows: operations and memory traffic as the compiler counts them; arguments,
temporaries, and the part of the chip's memory that both take; collective operations, as count (MB); the part of the
operations of convolutions and matrix products with factors that are not in bfloat16; transfers to or from the host,
and arrays in float64. "ms" is the largest of operations / peak, traffic / bandwidth and bytes sent / bandwidth of one
link, and what it is bound by; the last column is the part of the peak at that time. CUDA's compiler does not count:
there, operations are those of convolutions and matrix products, and traffic and time are not known. What a call of 16
steps does once counts as if each step did it: on TPUs, 0.77 GB of traffic that copy the images of 32 pixels to another
layout. Batches and chunks have {batch} rows over all chips, at 224 pixels {batch_224}."""
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
BATCH = {32: 512, 224: 256}  # rows of a batch or chunk, by the side of the images
STUDIED = ('naive', 'divide_mix', 'fixmatch', 'sop')
ALONE, EIGHT, TRILLIUM, HOSTS = TOPOLOGIES = 'v5e:1x1', 'v5e:2x4', 'v6e:2x4', 'v5e:8x8'
GPUS = 'h100:1', 'h100:8'


@dataclasses.dataclass(frozen=True)
class Chip:
  """A chip, from the pages of Google Cloud and NVIDIA and, for links of TPUs, "How to Scale Your Model", chapter 2.

  Attributes:
    peak: operations per second in bfloat16.
    memory: bytes.
    bandwidth: bytes per second between chip and memory.
    link: bytes per second of one link to a neighbour in one direction; of a GPU, of all its links.
  """

  peak: float
  memory: float
  bandwidth: float
  link: float


CHIPS = {
  'v5e': Chip(197e12, 16e9, 819e9, 45e9),
  'v6e': Chip(918e12, 32e9, 1640e9, 90e9),
  'h100': Chip(989e12, 80e9, 3350e9, 450e9),
}


@dataclasses.dataclass(frozen=True)
class Program:
  """One program to compile.

  Attributes:
    task: step (16 steps in a call, as the trainer calls it), score or predict (a chunk of rows).
    strategy: name of the strategy, whose last phase is compiled.
    network: name of the model.
    pixels: side of the images.
    topology: chips, such as "v5e:2x4" or "h100:8".
  """

  task: str
  strategy: str
  network: str
  pixels: int
  topology: str

  @property
  def name(self) -> str:
    return f'{self.task} {self.strategy} {self.network} {self.pixels} {self.topology}'

  @property
  def batch(self) -> int:
    """Rows of a batch, or of a chunk, over all chips."""
    return BATCH[self.pixels]


def programs() -> list[Program]:
  """Returns all programs, those that say most first."""
  first, large = ('naive', 'divide_mix'), 'resnet18'
  every = (*first, *(name for name in plugins.names(STRATEGIES, 'Strategy') if name not in first))
  ordered = [
    *(Program('step', name, 'small_cnn', 32, EIGHT) for name in (*first, 'sop', 'elr')),
    *(Program('step', name, 'small_cnn', 32, GPUS[1]) for name in (*first, 'sop', 'elr')),
    *(Program('step', name, large, 32, where) for where in (ALONE, EIGHT, *GPUS) for name in STUDIED),
    *(Program('step', name, large, 224, where) for where in (ALONE, EIGHT) for name in first),
    *(Program('step', name, large, 32, where) for where in (TRILLIUM, HOSTS) for name in first),
    *(Program('step', name, 'small_cnn', 32, EIGHT) for name in every),
    *(Program('step', name, large, size, where) for size in (224, 32) for where in TOPOLOGIES for name in STUDIED),
    *(
      Program(task, name, large, size, where)
      for size in (32, 224)
      for where in TOPOLOGIES
      for name in STUDIED
      for task in ('predict', *(['score'] if name == 'divide_mix' else []))  # of the four, it alone scores rows
    ),
  ]
  return list(dict.fromkeys(ordered))


def phase_of(one: Program):
  """Returns the last phase of a strategy's own plan, and the rows, a tenth of which are verified."""
  fields = {
    'strategy.name': one.strategy,
    'model.name': one.network,
    'model.dtype': 'bfloat16',
    'model.conv': 'plain',
    'model.mean': (125.0, 123.0, 114.0),
    'model.std': (63.0, 62.0, 67.0),
    'batch_size': one.batch,
  }
  if one.pixels == 224:
    fields |= {'model.resnet18.stem': 'imagenet', 'augment.pad': 16.0}
  images = np.broadcast_to(np.uint8(0), (ROWS, one.pixels, one.pixels, 3))  # takes no memory
  label = np.arange(ROWS, dtype=np.int32) % CLASSES
  data = TrainData(images, label, np.where(np.arange(ROWS) % 10 == 0, label, -1).astype(np.int32), CLASSES)
  config = base.get_config()
  override(config, fields, 'aot.py')
  return Plan.of(config).engine_phases(data)[-1], data


def devices_of(topology: str) -> list:
  """Returns the chips of a topology, for which can be compiled and on which nothing can run."""
  chip, shape = topology.split(':')
  if chip == 'h100':
    config = (RESULTS.parent / 'h100.txtpb').read_text()
    return topologies.get_topology_desc(chip, 'cuda', target_config=config, topology=f'1x{shape}x1').devices
  alone = {'chips_per_host_bounds': (1, 1, 1)} if topology == ALONE else {}
  return topologies.get_topology_desc(topology, 'tpu', **alone).devices


def lowered(one: Program) -> tuple:
  """Returns the traced and lowered program, with abstract arguments on the chips of its topology."""
  phase, data = phase_of(one)
  devices = devices_of(one.topology)
  mesh = Mesh(np.array(devices), ('data',)) if len(devices) > 1 else None
  spec, strategy = dataclasses.replace(phase.spec, mesh=mesh), phase.strategy
  spread = lambda axes: NamedSharding(mesh, PartitionSpec(*axes)) if mesh else SingleDeviceSharding(devices[0])
  abstract = lambda a, axes: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=spread(axes))
  place = lambda tree, *axes: jax.tree.map(lambda a: abstract(a, axes), tree)

  def begin(root):
    state = enter(phase, 0, data, None, root, None, template=True)
    keys = run_keys(root)
    walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
    return state, walks, keys, gather.next_rows(strategy, spec.batch_size, walks, np.int32(0), CALL)

  state, walks, keys, rows = place(jax.eval_shape(begin, jax.random.key(0)))
  side = (one.pixels, one.pixels, 3)
  if one.task == 'step':
    images = place(jax.ShapeDtypeStruct((ROWS, *side), np.uint8))
    if one.pixels == 224:
      pixels = {
        name: place(jax.ShapeDtypeStruct((*r.index.shape, *side), np.uint8), *[None] * (r.index.ndim - 1), 'data')
        for name, r in rows.items()
      }
      walks, images = None, gather.Gathered(rows, pixels)
    traced = step.train_steps.trace(spec, strategy, phase.hyper, state, walks, images, keys, CALL)
  else:
    pixels = place(jax.ShapeDtypeStruct((one.batch, *side), np.uint8), 'data')
    networks = spec.net, strategy, state.params['net'], state.stats
    if one.task == 'predict':
      traced = score._predict_chunk.trace(*networks, pixels)
    else:
      index = place(jax.ShapeDtypeStruct((one.batch,), np.int32), 'data')
      traced = score._score_chunk.trace(*networks, state.targets, pixels, index)
  return traced, traced.lower(), len(devices)


def described(one: Program) -> dict:
  """Compiles a program and returns what it says, per chip and step."""
  traced, low, devices = lowered(one)
  started = time.perf_counter()
  done = low.compile()  # refused if the chip's memory is too small
  seconds = time.perf_counter() - started
  text, memory = done.as_text(), done.memory_analysis()
  found = compiled.collectives(text)
  products = list(each_product(traced.jaxpr.jaxpr))
  wide = [size for size, kind in products if kind != 'bfloat16']
  total = sum(size for size, _ in products) / (CALL if one.task == 'step' else 1)
  # CUDA's compiler does not count: operations are those of convolutions and matrix products, traffic is not known.
  cost = done.cost_analysis() or {'flops': total / devices, 'bytes accessed': math.nan}
  chip = CHIPS[one.topology.split(':')[0]]
  times = {
    'arithmetic': cost['flops'] / chip.peak,
    'memory': cost['bytes accessed'] / chip.bandwidth,
    'link': sum(c.sent(devices) for c in found) / chip.link,
  }
  return {
    'devices': devices,
    'compile_seconds': round(seconds),
    'operations': cost['flops'],
    'traffic_bytes': cost['bytes accessed'],
    'argument_bytes': memory.argument_size_in_bytes,
    'temporary_bytes': memory.temp_size_in_bytes,
    'part_of_memory': (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / chip.memory,
    'collectives': summed(found),
    'largest': [[c.kind, c.shapes[:120], c.origin[-160:]] for c in sorted(found, key=lambda c: -c.size)[:8]],
    'host_transfers': compiled.host_transfers(text),
    'float64': compiled.float64(text),
    'products': len(products),
    'products_not_bfloat16': len(wide),
    'part_of_operations_not_bfloat16': sum(wide) / max(1.0, sum(size for size, _ in products)),
    'estimated_seconds': times,
    'part_of_peak': times['arithmetic'] / float(np.max([*times.values()])),  # not a number if one is not known
  }


def summed(found: list[compiled.Collective]) -> dict[str, list[int]]:
  """Returns kind → [count, bytes]."""
  of = {kind: [c.size for c in found if c.kind == kind] for kind in compiled.KINDS}
  return {kind: [len(sizes), sum(sizes)] for kind, sizes in of.items() if sizes}


def table(record: dict) -> str:
  """Returns the record as Markdown."""
  wanted = programs()
  have = [one for one in wanted if one.name in record['programs']]
  done = [one for one in have if 'error' not in record['programs'][one.name]]
  failed = [one for one in have if one not in done]
  rows = {task: [_cells(one, record['programs'][one.name]) for one in done if one.task == task] for task in TASKS}
  missing = [one.name for one in wanted if one not in have]
  parts = [
    '# Programs compiled for TPUs and a GPU',
    EXPLAINED.format(have=len(done), all=len(wanted), batch=BATCH[32], batch_224=BATCH[224], **record),
    *(f'## {task.capitalize()}\n\n{markdown(COLUMNS, cells)}' for task, cells in rows.items() if cells),
    *(['## Not compiled'] if failed else []),
    *(f'* {one.name}: {record["programs"][one.name]["error"]}' for one in failed),
    *([textwrap.fill(f'Not tried yet ({len(missing)}): {", ".join(missing)}.', 120)] if missing else []),
  ]
  return '\n\n'.join(parts) + '\n'


def _cells(one: Program, found: dict) -> list[str]:
  pairs = found['collectives']
  pair = lambda kind: f'{pairs[kind][0]} ({pairs[kind][1] / 1e6:.2f})' if kind in pairs else '-'
  rest = [f'{pairs[kind][0]} {kind} ({pairs[kind][1] / 1e6:.2f})' for kind in compiled.KINDS[2:] if kind in pairs]
  times = found['estimated_seconds']
  if found['part_of_peak'] is None:
    estimate = ('?', '?')
  else:
    bound = max(times, key=lambda name: times[name])
    estimate = (f'{1e3 * times[bound]:.2f} ({bound})', f'{found["part_of_peak"]:.0%}')
  return [
    f'{one.strategy}, {one.network}, {one.pixels} px',
    one.topology,
    f'{found["operations"] / 1e9:,.1f}',
    f'{found["traffic_bytes"] / 1e9:.2f}' if found['traffic_bytes'] else '?',
    f'{found["argument_bytes"] / 1e6:,.0f}',
    f'{found["temporary_bytes"] / 1e6:,.0f}',
    f'{found["part_of_memory"]:.0%}',
    pair('all-reduce'),
    pair('all-gather'),
    ', '.join(rest) or '-',
    f'{found["part_of_operations_not_bfloat16"]:.1%}',
    f'{found["host_transfers"]} / {found["float64"]}',
    *estimate,
  ]


def child(name: str) -> None:
  """Compiles a program in this process and prints what `described` returns, or {"error": …} or {"skipped": …}."""
  one = next(one for one in programs() if one.name == name)
  try:
    found = described(one)
  except jax.errors.JaxRuntimeError as error:  # such as too little memory
    found = {'error': str(error).splitlines()[0][:200]}
  except NotImplementedError as error:  # that of CUDA is a package of its own
    found = {'skipped': str(error)}
  print(json.dumps(found))


def compiled_apart(one: Program) -> dict:
  """Returns what a process of its own prints about a program; {"error": …} if that crashed."""
  done = subprocess.run([sys.executable, __file__, f'--child={one.name}'], capture_output=True, text=True, check=False)
  if -done.returncode in CRASHES:
    return {'error': f'the compiler crashed ({signal.Signals(-done.returncode).name})'}
  if done.returncode:
    raise SystemExit(f'{one.name} failed:\n{done.stderr[-3000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
  jax.config.update('jax_enable_compilation_cache', False)  # it would keep programs that nothing here can run
  if CHILD.value:
    child(CHILD.value)
    return
  path, started = Path(RECORD.value), time.monotonic()
  record = storage.read_json(path) if path.exists() else {'programs': {}}
  about = program.record()
  record |= {name: about[name] for name in ('python', 'jax')} | {'libtpu': metadata.version('libtpu')}
  words = set(ONLY.value.split())
  for one in programs():
    if (one.name in record['programs'] and not AGAIN.value) or not words <= set(one.name.split()):
      continue
    if time.monotonic() - started > 60 * MINUTES.value:
      break
    print(one.name, flush=True)
    found = compiled_apart(one)
    if 'skipped' in found:
      print(f'skipped: {found["skipped"]}; expected benchmarks/aot_requirements.txt', flush=True)
      continue
    record['programs'][one.name] = found | {'revision': about['revision']}
    storage.write_json(path, record)
    storage.write_text(path.with_suffix('.md'), table(storage.read_json(path)))


if __name__ == '__main__':
  program.run(main)
