"""A step on four devices equals that on one, and sends no more than it must; in child processes with four devices."""

import json
import os
import re
import subprocess
import sys

import test_conformance

import runs

sys.path.append(str(runs.ROOT / 'benchmarks'))
from compiled import collectives

FOUR = """
import jax, json, sys
sys.path[:0] = json.loads(sys.argv[1])
import conftest
import dataclasses
import numpy as np
import test_conformance as t
from noisyjax.config import plan
assert len(jax.devices()) == 4
for name in t.NAMES:
  c = t.case(name)
  many = dataclasses.replace(c.phase, spec=dataclasses.replace(c.phase.spec, mesh=plan._mesh(4)))
  one = dataclasses.replace(c.phase, spec=dataclasses.replace(c.phase.spec, mesh=None))
  late = t.later(c)
  a, b = (t.stepped(phase, late, c.data, 1) for phase in (one, many))
  worst = 0.0
  for part in ('params', 'stats', 'ema', 'extra', 'dynamics'):
    x, y = ([np.asarray(v, float) for v in jax.tree.leaves(getattr(s, part)) if v.dtype.kind != 'V'] for s in (a, b))
    # Against the largest number: the bias before a batch norm is nothing but rounding.
    largest = max([1e-3, *(np.abs(v).max() for v in x)])
    worst = max([worst, *(float(np.abs(v - w).max() / largest) for v, w in zip(x, y))])
  print(json.dumps([name, worst]))
"""

# The collective operations of compiled steps as [kind, arrays such as "f32[32,3]"].
SENT = """
import jax, json, sys
sys.path[:0] = json.loads(sys.argv[1])
import conftest
import compiled
import dataclasses
import jax.numpy as jnp
import test_conformance as t
from noisyjax.config import plan
from noisyjax.engine import placement, step
from noisyjax.engine.spec import run_keys
mesh = plan._mesh(4)
for name in ('naive', 'elr', 'sop'):
  c = t.case(name)
  spec = dataclasses.replace(c.phase.spec, mesh=mesh)
  arrays = placement.everywhere(mesh, (c.state, jnp.asarray(c.data.images), run_keys(t.ROOT)))
  state, images, keys = arrays
  call = step.train_step.lower(spec, c.phase.strategy, c.phase.hyper, state, t.walks_of(c.phase, state), images, keys)
  found = [[f.kind, f.shapes] for f in compiled.collectives(call.compile().as_text())]
  print(json.dumps([name, found]))
"""


def on_four_devices(program: str) -> list:
  """Returns the lines of JSON that a program prints in a process with four CPU devices."""
  flags = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=4'
  environment = {**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
  paths = json.dumps([str(runs.ROOT / folder) for folder in ('tests', '', 'benchmarks')])
  done = subprocess.run(
    [sys.executable, '-c', program, paths], capture_output=True, text=True, env=environment, check=False
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return [json.loads(line) for line in done.stdout.splitlines()]


def test_collectives_are_counted_once_and_measured_by_what_arrives():
  text = """
  %a = f32[8,64,10]{2,1,0} all-gather(%x), channel_id=3, dimensions={0}, metadata={op_name="jit(step)/stack"}
  %b = f32[8,64,10]{2,1,0} all-gather(%y), channel_id=3, dimensions={0}
  %c = (bf16[4]{0}, f32[]) all-reduce(%x, %y), channel_id=4
  ROOT %d = (f32[16]{0}, f32[64]{0}, u32[]) all-gather-start(%x), channel_id=5
  %e = f32[64]{0} all-gather-done(%d)
"""
  found = [(f.kind, f.shapes, f.size, f.origin) for f in collectives(text)]
  assert found == [
    ('all-gather', 'f32[8,64,10]', 20480, 'jit(step)/stack'),
    ('all-reduce', 'bf16[4] f32[]', 12, ''),
    ('all-gather', 'f32[64]', 256, ''),
  ]


def test_devices_send_gradients_statistics_and_predictions_alone():
  found = dict(on_four_devices(SENT))
  predictions = f'f32[{test_conformance.case("naive").phase.spec.batch_size},3]'
  of = lambda sent, wanted: [arrays for kind, arrays in sent if kind == wanted]
  for name, sent in found.items():
    assert {kind for kind, _ in sent} == {'all-gather', 'all-reduce'}, name
    assert of(sent, 'all-gather') == [predictions], name
    # The statistics of the one batch norm, those of its gradient, and all gradients.
    assert len(of(sent, 'all-reduce')) == 3, name
    # No array of all rows, such as the dynamics or SOP's variables, is added up over the devices.
    assert not re.search(rf'\b{runs.TRAIN}\b', str(sent)), name


def test_four_devices_take_the_step_that_one_takes():
  found = dict(on_four_devices(FOUR))
  assert set(found) == set(test_conformance.NAMES)
  assert {name: worst for name, worst in found.items() if worst > 1e-5} == {}
