"""GFLOP/s of one convolution and of its two gradients, by kind of convolution.

  python benchmarks/conv.py

Batch 128, float32 in and out, median of 7; prints a table: forward / input gradient / weight gradient of each kind.
"""

import sys
from pathlib import Path

import numpy as np
from engine import seconds

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BATCH, REPEATS = 128, 7
# side, input channels, features, kernel, stride
SHAPES = [
  (31, 24, 32, 3, 1),
  (15, 32, 96, 3, 1),
  (7, 96, 192, 3, 1),
  (15, 64, 256, 3, 1),
  (7, 256, 256, 3, 1),
  (32, 64, 64, 3, 1),
  (32, 64, 128, 3, 2),
  (8, 256, 256, 3, 1),
  (4, 512, 512, 3, 1),
  (31, 128, 64, 2, 1),
]


def rates(kind: str, side: int, channels: int, features: int, size: int, stride: int) -> list[float]:
  """Returns GFLOP/s of the forward convolution, of the input's and of the weight's gradient."""
  import jax
  import jax.numpy as jnp

  from noisyjax.models.layers import conv

  draw = lambda *shape: jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
  x, kernel = draw(BATCH, side, side, channels), draw(size, size, channels, features)
  padding = tuple(jax.lax.padtype_to_pads((side, side), (size, size), (stride, stride), 'SAME'))
  geometry = ((side, side), (size, size), (stride, stride), padding)
  if kind == 'plain':
    run = lambda x, kernel: jax.lax.conv_general_dilated(
      x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
  else:
    run = lambda x, kernel: conv.convolve(x, kernel, geometry, kind)
  g = draw(*jax.eval_shape(run, x, kernel).shape)
  forward = jax.jit(run)
  back_x = jax.jit(lambda x, kernel, g: jax.vjp(lambda x: run(x, kernel), x)[1](g))
  back_kernel = jax.jit(lambda x, kernel, g: jax.vjp(lambda kernel: run(x, kernel), kernel)[1](g))
  calls = (lambda: forward(x, kernel), lambda: back_x(x, kernel, g), lambda: back_kernel(x, kernel, g))
  flops = 2 * g.size * size * size * channels
  return [flops / seconds(call, REPEATS) / 1e9 for call in calls]


def main() -> None:
  from noisyjax.models.layers.conv import KINDS

  print('| side | channels | kernel | stride | ' + ' | '.join(KINDS) + ' |\n' + '|---' * (4 + len(KINDS)) + '|')
  for side, channels, features, size, stride in SHAPES:
    cells = [' / '.join(f'{r:.0f}' for r in rates(kind, side, channels, features, size, stride)) for kind in KINDS]
    print(f'| {side} | {channels} → {features} | {size}x{size} | {stride} | ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
  from noisyjax.system import huge_pages

  huge_pages.ask()
  main()
