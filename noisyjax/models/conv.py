"""A 2-D convolution in three forms that share their parameters: XLA's own, and two that train faster on CPUs.

XLA's weight gradient is the slow part of training on a CPU: mostly 12-70 GFLOP/s on two AVX-512 cores where the forward
convolution and the input gradient reach 45-260 (jax 0.10.2, float32, kernels beyond 1x1 and a few input channels).
`kind='matmul'` computes the weight gradient as `gradient.T @ patches`, over blocks of images whose patches stay in the
cache: 1.3-4 times as fast, most for large images. Matmuls, unlike convolutions, keep their speed inside `lax.scan`, and
patches are never residuals. Forward convolution and input gradient are Winograd's (`winograd.py`) where that is faster,
and else XLA's.

`kind='amx'` makes such matmuls of all three, of factors rounded to bfloat16, with float32 sums, inputs and outputs.
XLA's convolutions have no bfloat16 on CPUs (they take float32 inside), while its matmuls reach 500-1,500 GFLOP/s on two
cores with AMX. What then takes time is to move patches: they move as integers (XLA would take each bfloat16 to float32
and back), and where the outputs are few, one wider patch serves two pixels of a row, for 1.3 times the arithmetic.
Everything between convolutions stays float32, for the same reason: a model's `dtype` is best left at that.

Convolution, input gradient and weight gradient are the three derivatives of one trilinear form,
<g, convolve(x, k)>, so the gradient of each is made of the other two: every order of reverse mode stays fast.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.errors import check_choice
from noisyjax.models import winograd
from noisyjax.models.geometry import Geometry, Pair, blocks, outputs, patch, turned

KINDS = ('plain', 'matmul', 'amx')
BLOCK = 2**21  # numbers in the patches of one block: 8 MiB of float32, 4 MiB of bfloat16, by measurement
FEW = 64  # output channels up to which two pixels of a row are computed from one patch


class Conv(nn.Module):
  """`nn.Conv` for images: kernel [h, w, in, out] and bias [out], float32; computes in `dtype`.

  Attributes:
    features: output channels.
    kernel: height and width of the kernel.
    strides: vertical and horizontal.
    padding: 'SAME', 'VALID', or pixels ((top, bottom), (left, right)).
    kind: 'plain' (XLA, any backend, forward and reverse mode), 'matmul' (for CPUs, reverse mode only) or 'amx' (the
      same for CPUs with AMX, with bfloat16 factors; not measured elsewhere).
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
    check_choice('conv', self.kind, KINDS)
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, x.shape[-1], self.features), jnp.float32)
    size = x.shape[1:3]
    padding = self.padding
    if isinstance(padding, str):
      padding = tuple(lax.padtype_to_pads(size, self.kernel, self.strides, padding))
    geometry = (size, self.kernel, self.strides, padding)
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    y = _convolve(x, kernel, geometry) if self.kind == 'plain' else convolve(x, kernel, geometry, self.kind == 'amx')
    if self.use_bias:
      y += self.param('bias', self.bias_init, (self.features,), jnp.float32).astype(self.dtype)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, low: bool) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F] -> [B, H', W', F]; `low`: as products in bfloat16."""
  if low:
    return _multiply(x, kernel, geometry)
  return (winograd.convolve if winograd.pays(geometry, *kernel.shape[2:], x.dtype) else _convolve)(x, kernel, geometry)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, low: bool) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in x: g [B, H', W', F], kernel [h, w, C, F] -> [B, H, W, C]."""
  if not low and not winograd.pays(geometry, *kernel.shape[2:], g.dtype):
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry[0], kernel.shape[2]), g.dtype)
    return jax.linear_transpose(lambda x: _convolve(x, kernel, geometry), x)(g)[0]
  # A convolution of the gradient, its pixels `strides` apart, with the kernel turned by half a circle.
  g = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *((0, 0, s - 1) for s in geometry[2]), (0, 0, 0)])
  return (_multiply if low else winograd.convolve)(g, kernel[::-1, ::-1].swapaxes(2, 3), turned(geometry))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, low: bool) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in kernel: x [B, H, W, C], g [B, H', W', F] -> [h, w, C, F]."""
  b, _, w, f = g.shape
  given, total_type = x.dtype, jnp.promote_types(x.dtype, jnp.float32)
  # XLA takes a loop of one turn apart, and has no bfloat16 for the transposed matmul that it then makes.
  factor = total_type if b == 1 else jnp.bfloat16 if low else given
  tile, count, wide = _tiled(geometry, f, low)
  g = jnp.pad(g, ((0, 0), (0, 0), (0, count * tile - w), (0, 0)))
  x, g = x.astype(factor), g.astype(factor)
  split = lambda a: blocks(a, patch(wide, x.shape[-1]), BLOCK, turns=2)

  def add(total, images):
    x, g = images
    return total + jnp.dot(g, _patches(x, wide), preferred_element_type=total_type), None

  # [blocks, tile F, pixels], pixels = block H' W' / tile. Transposed before the loop: within it XLA would make one
  # operation of that and the matmul, and a slow one.
  pixels = lambda g: (g := split(g)).reshape(len(g), -1, tile * f).swapaxes(1, 2)
  start = jnp.zeros((tile * f, math.prod(wide[1]) * x.shape[-1]), total_type)
  total, _ = lax.scan(add, start, (split(x), _moved(pixels, g)))
  kernel = jax.ShapeDtypeStruct((*geometry[1], x.shape[-1], f), total_type)
  total = total.T.reshape(*wide[1], x.shape[-1], tile * f)
  return jax.linear_transpose(lambda k: _widen(k, tile), kernel)(total)[0].astype(given)


convolve.defvjp(
  lambda x, kernel, *how: (convolve(x, kernel, *how), (x, kernel)),
  lambda geometry, low, saved, g: (
    input_gradient(g, saved[1], geometry, low), kernel_gradient(saved[0], g, geometry, low)
  ),
)  # fmt: skip
input_gradient.defvjp(
  lambda g, kernel, *how: (input_gradient(g, kernel, *how), (g, kernel)),
  lambda geometry, low, saved, x: (convolve(x, saved[1], geometry, low), kernel_gradient(x, saved[0], geometry, low)),
)
kernel_gradient.defvjp(
  lambda x, g, *how: (kernel_gradient(x, g, *how), (x, g)),
  lambda geometry, low, saved, kernel: (
    input_gradient(saved[1], kernel, geometry, low), convolve(saved[0], kernel, geometry, low)
  ),
)  # fmt: skip


def _convolve(x, kernel, geometry):
  _, _, strides, padding = geometry
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _multiply(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
  """`_convolve` as patches times kernel, block by block: products of bfloat16, sums in float32."""
  f, (h, w) = kernel.shape[-1], outputs(geometry)
  tile, count, wide = _tiled(geometry, f, True)
  given, x, kernel = x.dtype, x.astype(jnp.bfloat16), _widen(kernel, tile).reshape(-1, tile * f).astype(jnp.bfloat16)
  one = lambda _, x: (None, jnp.dot(_patches(x, wide), kernel, preferred_element_type=jnp.float32))
  _, y = lax.scan(one, None, blocks(x, patch(wide, x.shape[-1]), BLOCK, turns=2))
  return y.reshape(len(x), h, count * tile, f)[:, :, :w].astype(given)


def _tiled(geometry: Geometry, features: int, low: bool) -> tuple[int, int, Geometry]:
  """Returns how many pixels of a row are computed at once, how often that is a row, and the patches it takes."""
  size, (kh, kw), (sh, sw), (rows, (left, right)) = geometry
  width = outputs(geometry)[1]
  tile = 2 if low and features <= FEW and (sh, sw) == (1, 1) else 1
  count = -(-width // tile)
  return tile, count, (size, (kh, kw + tile - 1), (sh, sw * tile), (rows, (left, right + count * tile - width)))


def _widen(kernel: jax.Array, tile: int) -> jax.Array:
  """Returns the kernel [h, w + tile - 1, C, tile F] that computes `tile` pixels of a row from one patch."""
  shifts = [((0, 0), (i, tile - 1 - i), (0, 0), (0, 0)) for i in range(tile)]
  return jnp.concatenate([jnp.pad(kernel, shift) for shift in shifts], -1)


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns the patch under every output pixel: [B, H, W, C] -> [B H' W', h w C]."""
  _, (kh, kw), (sh, sw), padding = geometry
  h, w = outputs(geometry)

  def views(x):
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
    cut = lambda i, j: lax.slice(
      x, (0, i, j, 0), (len(x), i + (h - 1) * sh + 1, j + (w - 1) * sw + 1, x.shape[3]), (1, sh, sw, 1)
    )
    return jnp.concatenate([cut(i, j) for i in range(kh) for j in range(kw)], axis=-1).reshape(len(x) * h * w, -1)

  return _moved(views, x)


def _moved(move: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
  """Returns move(x); bfloat16 moves as integers, for XLA would take each number to float32 and back."""
  if x.dtype != jnp.bfloat16:
    return move(x)
  return lax.bitcast_convert_type(move(lax.bitcast_convert_type(x, jnp.uint16)), jnp.bfloat16)
