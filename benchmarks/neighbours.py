"""Exact nearest neighbours of N points in F dimensions, timed: `python benchmarks/neighbours.py [N] [F]`."""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.analysis import neighbours


def features(count: int, width: int, seed: int = 0) -> np.ndarray:
  """Returns points in 100 clusters, made sparse and positive by a ReLU as a network's last features are."""
  rng = np.random.default_rng(seed)
  centers = rng.normal(size=(100, width)).astype(np.float32)
  noise = rng.normal(size=(count, width)).astype(np.float32)
  return np.maximum(centers[rng.integers(0, 100, count)] + noise, 0)


def main() -> None:
  count, width = (int(word) for word in (*sys.argv[1:], 50_000, 512)[:2])
  points = features(count, width)
  for finder in (neighbours.cosine, neighbours.euclidean):
    wall, processor = time.perf_counter(), time.process_time()
    found = finder(points, 10)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    mean = found.distance.mean()
    print(f'{finder.__name__}: {count:,} x {width}: {wall:.1f} s, {processor:.1f} processor s (mean {mean:.4f})')


if __name__ == '__main__':
  main()
