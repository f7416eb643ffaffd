"""A 2-D convolution in four forms that share their parameters: XLA's own, and three that train faster on CPUs.

XLA's weight gradient is the slow part of training on a CPU: mostly 20-130 GFLOP/s on two AVX-512 cores, where the
forward convolution and the input gradient reach 70-250 (jax 0.10.2, float32, kernels beyond 1x1). `kind='matmul'`
computes the weight gradient as `gradient.T @ patches`, over blocks of images whose patches stay in the cache: 1.3-4
times as fast. Matmuls, unlike convolutions, keep their speed inside `lax.scan`, and patches are never residuals. Its
forward convolution and input gradient are XLA's.

`kind='onednn'` leaves all three to oneDNN (`onednn.py`): 190-320 GFLOP/s, and 90-200 in the weight gradient, which is a
product over patches here too. Where channels are few, to move these takes as long as the product: then both of its
factors are widened a little, instead of one of them a lot. `kind='amx'` does the same with factors rounded to bfloat16,
and with float32 sums, inputs and outputs.

Convolution, input gradient and weight gradient are the three derivatives of one trilinear form,
<g, convolve(x, k)>, so the gradient of each is made of the other two: every order of reverse mode stays fast.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.errors import check_choice
from noisyjax.models import onednn
from noisyjax.models.geometry import Geometry, Pair, blocks, outputs, patch, turned

KINDS = ('plain', 'matmul', 'onednn', 'amx')
BLOCK = 2**21  # numbers in the patches of one block, 8 MiB of float32: by measurement
FEW = 64  # input channels up to which patches cost more than products


def kinds() -> tuple[str, ...]:
  """Returns the kinds that this machine has."""
  return KINDS if onednn.available() else KINDS[:2]


class Conv(nn.Module):
  """`nn.Conv` for images: kernel [h, w, in, out] and bias [out], float32; computes in `dtype`.

  Attributes:
    features: output channels.
    kernel: height and width of the kernel.
    strides: vertical and horizontal.
    padding: 'SAME', 'VALID', or pixels ((top, bottom), (left, right)).
    kind: 'plain' (XLA, any backend, forward and reverse mode), 'matmul' (any CPU, reverse mode only), 'onednn' (CPUs
      where `onednn.available`, reverse mode only) or 'amx' (the same with bfloat16 factors, for CPUs with AMX).
  """

  features: int
  kernel: Pair
  strides: Pair = (1, 1)
  padding: str | tuple[Pair, Pair] = 'SAME'
  use_bias: bool = True
  kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
  bias_init: Callable[..., Any] = nn.initializers.zeros_init()
  dtype: Any = jnp.float32
  kind: str = 'plain'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H', W', features]
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, x.shape[-1], self.features), jnp.float32)
    y = convolution(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding, self.kind)
    if self.use_bias:
      # In float32, which its gradient, a sum over all places, then is too.
      y = (y + self.param('bias', self.bias_init, (self.features,), jnp.float32)).astype(self.dtype)
    return y


def convolution(
  x: jax.Array, kernel: jax.Array, strides: Pair, padding: str | tuple[Pair, Pair], kind: str
) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F], of one type -> [B, H', W', F]; the rest is as in `Conv`."""
  check_choice('conv', kind, KINDS)
  if kind not in kinds():
    onednn.refuse(kind)
  size, window = x.shape[1:3], kernel.shape[:2]
  if isinstance(padding, str):
    padding = tuple(lax.padtype_to_pads(size, window, strides, padding))
  geometry = (size, window, strides, padding)
  return _convolve(x, kernel, geometry) if kind == 'plain' else convolve(x, kernel, geometry, kind)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, kind: str) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F] -> [B, H', W', F]."""
  factor = _factor(x.dtype, kind)
  if factor is None or min(map(min, geometry[3])) < 0:
    return _convolve(x, kernel, geometry)
  return onednn.convolve(x.astype(factor), kernel.astype(factor), geometry, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, kind: str) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in x: g [B, H', W', F], kernel [h, w, C, F] -> [B, H, W, C]."""
  around, strides = turned(geometry), geometry[2]
  factor = _factor(g.dtype, kind)
  spread = strides != (1, 1) and kind != 'amx'  # oneDNN would multiply the zeros between the pixels
  if factor is None or spread or min(map(min, around[3])) < 0:
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry[0], kernel.shape[2]), g.dtype)
    return jax.linear_transpose(lambda x: _convolve(x, kernel, geometry), x)(g)[0]
  # A convolution of the gradient, its pixels `strides` apart, with the kernel turned by half a circle.
  g = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *((0, 0, s - 1) for s in strides), (0, 0, 0)])
  kernel = kernel[::-1, ::-1].swapaxes(2, 3)
  return onednn.convolve(g.astype(factor), kernel.astype(factor), around, g.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, kind: str) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in kernel: x [B, H, W, C], g [B, H', W', F] -> [h, w, C, F]."""
  factor = _factor(x.dtype, kind)
  if factor is None:
    return _by_dot(x, g, geometry).astype(x.dtype)
  c, f = x.shape[-1], g.shape[-1]
  few = c <= FEW and f < 2 * c and geometry[2][0] == 1
  return (_by_rows if few else _by_patches)(x.astype(factor), g.astype(factor), geometry).astype(x.dtype)


convolve.defvjp(
  lambda x, kernel, *how: (convolve(x, kernel, *how), (x, kernel)),
  lambda geometry, kind, saved, g: (
    input_gradient(g, saved[1], geometry, kind), kernel_gradient(saved[0], g, geometry, kind)
  ),
)  # fmt: skip
input_gradient.defvjp(
  lambda g, kernel, *how: (input_gradient(g, kernel, *how), (g, kernel)),
  lambda geometry, kind, saved, x: (
    convolve(x, saved[1], geometry, kind), kernel_gradient(x, saved[0], geometry, kind)
  ),
)  # fmt: skip
kernel_gradient.defvjp(
  lambda x, g, *how: (kernel_gradient(x, g, *how), (x, g)),
  lambda geometry, kind, saved, kernel: (
    input_gradient(saved[1], kernel, geometry, kind), convolve(saved[0], kernel, geometry, kind)
  ),
)  # fmt: skip


def _factor(dtype, kind: str):
  """Returns what oneDNN multiplies; None where it is not asked, or does not know the numbers."""
  if kind == 'matmul' or dtype not in onednn.DTYPES:
    return None
  return jnp.bfloat16 if kind == 'amx' else dtype


def _convolve(x, kernel, geometry):
  _, _, strides, padding = geometry
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _by_dot(x, g, geometry):
  total = jnp.promote_types(x.dtype, jnp.float32)
  x, g = (_split(a.astype(total), x.shape[-1], geometry) for a in (x, g))
  # [blocks, F, pixels]. Transposed before the loop: within it XLA would make one operation of that and the matmul, and
  # a slow one.
  g = g.reshape(len(g), -1, g.shape[-1]).swapaxes(1, 2)
  return _from_patches(_summed(lambda x, g: g @ _patches(x, geometry), x, g), geometry)


def _by_patches(x, g, geometry):
  x, g = (_split(a, x.shape[-1], geometry) for a in (x, g))
  multiply = lambda x, g: onednn.product(g.reshape(-1, g.shape[-1]), _patches(x, geometry), jnp.float32)
  return _from_patches(_summed(multiply, x, g), geometry)


def _from_patches(total, geometry):  # [F, h w C] -> [h, w, C, F]
  return total.T.reshape(*geometry[1], -1, len(total))


def _by_rows(x, g, geometry):
  """As `_by_patches` for strides of 1 from row to row: (h F + w C) numbers a pixel are moved, not (h w C + F)."""
  (h, w), c, f = geometry[1], x.shape[-1], g.shape[-1]
  rows, columns = outputs(geometry)

  def neighbours(x):  # [b, rows + h - 1, columns, w C]: what a row of the kernel sees
    x = _padded(x, geometry[3])
    cut = lambda j: x[:, : rows + h - 1, j : j + (columns - 1) * geometry[2][1] + 1 : geometry[2][1]]
    return jnp.concatenate([cut(j) for j in range(w)], -1).reshape(-1, w * c)

  def above(g):  # [b, rows + h - 1, columns, h F]: the pixels that each row of the kernel took to there
    g = _padded(g, ((h - 1, h - 1), (0, 0)))
    return jnp.concatenate([g[:, h - 1 - i : h - 1 - i + rows + h - 1] for i in range(h)], -1).reshape(-1, h * f)

  multiply = lambda x, g: onednn.product(_moved(above, g), _moved(neighbours, x), jnp.float32)
  total = _summed(multiply, *(_split(a, c, geometry) for a in (x, g)))  # [h F, w C]
  return total.reshape(h, f, w, c).transpose(0, 2, 3, 1)


def _split(a: jax.Array, channels: int, geometry: Geometry) -> jax.Array:
  return blocks(a, patch(geometry, channels), BLOCK)


def _summed(multiply: Callable[..., jax.Array], *blocks: jax.Array) -> jax.Array:
  """Returns the sum of multiply(block, …) over blocks."""
  total = jax.eval_shape(multiply, *(b[0] for b in blocks))
  add = lambda total, images: (total + multiply(*images), None)
  return lax.scan(add, jnp.zeros(total.shape, total.dtype), blocks)[0]


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns the patch under every output pixel: [B, H, W, C] -> [B H' W', h w C]."""
  _, (kh, kw), (sh, sw), padding = geometry
  h, w = outputs(geometry)

  def views(x):
    x = _padded(x, padding)
    cut = lambda i, j: x[:, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
    return jnp.concatenate([cut(i, j) for i in range(kh) for j in range(kw)], axis=-1).reshape(len(x) * h * w, -1)

  return _moved(views, x)


def _padded(x: jax.Array, padding: tuple[Pair, Pair]) -> jax.Array:
  """Returns x with its border in memory: looked up within a concatenation, it costs a third of its speed."""
  return lax.optimization_barrier(
    lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
  )


def _moved(move: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
  """Returns move(x); bfloat16 moves as integers, for XLA would take each number to float32 and back."""
  if x.dtype != jnp.bfloat16:
    return move(x)
  return lax.bitcast_convert_type(move(lax.bitcast_convert_type(x, jnp.uint16)), jnp.bfloat16)
