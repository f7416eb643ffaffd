"""Looks whether a change of the code changed what it computes: five methods, before and after, bit by bit.

  python benchmarks/identical.py --before=f6f4d8a

Trains configs/digits.py for 2 epochs with each method, once in a checkout of the revision --before and once in this
working tree, on the same machine and packages. Every field of metrics.jsonl (but seconds and images_per_second), every
array of weights/last and every array of the last checkpoint must have the same bits.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import app, flags, logging

BEFORE = flags.DEFINE_string('before', None, 'The revision to compare with.', required=True)
METHODS = flags.DEFINE_list(
  'methods', ['naive', 'co_teaching', 'divide_mix', 'clean_correction', 'sop'], 'Strategies to train.'
)
logging.set_verbosity('warning')

EPOCHS = flags.DEFINE_integer('epochs', 2, 'Epochs of each run.')

HERE = Path(__file__).resolve().parents[1]
CLOCKED = ('seconds', 'images_per_second')


def train(checkout: Path, method: str, workdir: Path) -> None:
  """Trains one method with the code of a checkout."""
  flags_ = ['--config=configs/digits.py', f'--config.strategy.name={method}', f'--config.epochs={EPOCHS.value}']
  subprocess.run(
    [sys.executable, 'launch.py', 'train', *flags_, f'--workdir={workdir}'],
    cwd=checkout,
    env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1'},
    check=True,
    capture_output=True,
  )


def arrays(folder: Path) -> dict[str, np.ndarray]:
  """Returns path → array of everything that orbax stored in a folder."""
  with ocp.PyTreeCheckpointer() as saver:
    tree = saver.restore(folder)
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf) for path, leaf in leaves}


def metrics(workdir: Path) -> list[dict[str, Any]]:
  """Returns the records of metrics.jsonl without those of the clock."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [{k: v for k, v in json.loads(line).items() if k not in CLOCKED} for line in lines]


def differences(before: Path, after: Path) -> Iterator[str]:
  """Yields a line for each field or array that differs between two workdirs."""
  old, new = metrics(before), metrics(after)
  if json.dumps(old) != json.dumps(new):
    fields = sorted({k for a, b in zip(old, new) for k in a.keys() | b.keys() if a.get(k) != b.get(k)})
    yield f'metrics.jsonl: {len(old)} and {len(new)} records; fields that differ: {fields}'
  last = max((before / 'checkpoints').iterdir(), key=lambda path: int(path.name)).name
  for part in ('weights/last/state', f'checkpoints/{last}/state'):
    old, new = arrays(before / part), arrays(after / part)
    for name in sorted(old.keys() | new.keys()):
      if name not in old or name not in new:
        yield f'{part}: {name} is {"new" if name in new else "gone"}'
      elif old[name].dtype != new[name].dtype or old[name].tobytes() != new[name].tobytes():
        yield f'{part}: {name} differs'


def main(_) -> None:
  with tempfile.TemporaryDirectory() as folder:
    base, checkout = Path(folder), Path(folder) / 'checkout'
    subprocess.run(['git', 'worktree', 'add', '--detach', checkout, BEFORE.value], cwd=HERE, check=True)
    try:
      found = 0
      for method in METHODS.value:
        for name, place in (('before', checkout), ('after', HERE)):
          train(place, method, base / name / method)
        lines = list(differences(base / 'before' / method, base / 'after' / method))
        count = len(arrays(base / 'after' / method / 'weights/last/state'))
        print(f'{method}: {len(metrics(base / "after" / method))} epochs, {count} weights:', *lines or ['identical'])
        found += len(lines)
    finally:
      subprocess.run(['git', 'worktree', 'remove', '--force', checkout], cwd=HERE, check=True)
  if found:
    raise SystemExit(1)


if __name__ == '__main__':
  app.run(main)
