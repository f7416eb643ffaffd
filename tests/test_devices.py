"""For every strategy, a step on four devices equals the step on one device; in a child process with four devices."""

import json
import os
import subprocess
import sys

import test_conformance

import runs

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


def test_four_devices_take_the_step_that_one_takes():
  flags = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=4'
  environment = {**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'}
  paths = json.dumps([str(runs.ROOT / 'tests'), str(runs.ROOT)])
  done = subprocess.run(
    [sys.executable, '-c', FOUR, paths], capture_output=True, text=True, env=environment, check=False
  )
  assert done.returncode == 0, done.stderr[-3000:]
  found = dict(map(json.loads, done.stdout.splitlines()))
  assert set(found) == set(test_conformance.NAMES)
  assert {name: worst for name, worst in found.items() if worst > 1e-5} == {}
