"""A label table of a million rows: seconds of each operation (wall clock, and of the CPU), and the peak memory.

python benchmarks/tables.py [--rows=1000000] [--edits=100000]
"""

import hashlib
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.tables import compare, rows, store, verify
from noisyjax.tables.decisions import Decision

ROWS = flags.DEFINE_integer('rows', 1_000_000, 'Rows of the table.')
EDITS = flags.DEFINE_integer('edits', 100_000, 'Edits of the commit that is timed.')
CLASSES = [f'class {c}' for c in range(10)]


def timed(what: str, function):
  start, cpu = time.perf_counter(), time.process_time()
  out = function()
  wall, cpu = time.perf_counter() - start, time.process_time() - cpu
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(f'{what}: {wall:.2f} s, CPU {cpu:.2f} s, peak memory {peak:.2f} GiB', flush=True)
  return out


def first() -> rows.Rows:
  random = np.random.default_rng(0)
  ids = [hashlib.sha256(f'{i}'.encode()).hexdigest() for i in range(ROWS.value)]
  names = [f'folder/{i:08d}.jpg' for i in range(ROWS.value)]
  digests = [hashlib.sha256(f'pixels {i}'.encode()).hexdigest() for i in range(ROWS.value)]
  return rows.first(ids, names, random.integers(-1, 10, ROWS.value), CLASSES, digests=digests)


def synced(folder: Path) -> list[float]:
  """Returns the milliseconds that the disk alone takes for a line."""
  times = []
  with (folder / 'probe').open('ab') as file:
    for _ in range(100):
      start = time.perf_counter()
      file.write(b'x' * 500)
      file.flush()
      os.fsync(file.fileno())
      times.append(1e3 * (time.perf_counter() - start))
  return times


def main(_) -> None:
  with tempfile.TemporaryDirectory(dir='.') as folder:
    timed('make ids, and init', lambda: store.create(f'{folder}/t', first(), CLASSES, 'person:a', {}))
    table = timed('open', lambda: store.Table(f'{folder}/t'))
    old, ids = table.version, table.rows.id[:: max(1, ROWS.value // EDITS.value)][: EDITS.value].tolist()
    edits = [Decision(id, 'label', CLASSES[i % 10], reason='sure', evidence='0.97') for i, id in enumerate(ids)]
    timed(f'decide {len(edits):,} rows at once', lambda: table.decide('rule:r', edits))
    new = timed('commit', lambda: table.commit('promote', 'rule:r'))
    found = timed('diff', lambda: compare.diff(old, new))
    assert len(found.places) > len(edits) / 2
    times = []
    for id in table.rows.id[1:2000:10].tolist():
      start = time.perf_counter()
      table.decide('person:a', [Decision(id, 'label', CLASSES[3], reason='seen')])
      times.append(1e3 * (time.perf_counter() - start))
    disk = synced(Path(folder))
    print(f'one decision: median {statistics.median(times):.2f} ms, largest {max(times):.2f}')
    print(f'of which the disk: median {statistics.median(disk):.2f} ms, largest {max(disk):.2f}')
    timed('commit the single ones', lambda: table.commit('by hand', 'person:a'))
    old = new = found = table = None
    timed('verify all three versions', lambda: list(verify.verify(Path(f'{folder}/t'))))


if __name__ == '__main__':
  app.run(main)
