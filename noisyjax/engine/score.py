"""Evaluation of networks on many images: scores of the training rows for `refresh`, and predictions.

Images are processed in chunks of one shape, without augmentation and with running statistics.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from noisyjax.data.images import Images, as_images
from noisyjax.engine import placement
from noisyjax.engine.net import Net
from noisyjax.engine.state import PyTree, Snapshot, Targets, TrainState
from noisyjax.engine.strategy import Scores, Strategy


@functools.partial(jax.jit, static_argnames='net')
def _score_chunk(
  net: Net, strategy: Strategy, params: PyTree, stats: PyTree, targets: Targets, images: Array, index: Array
) -> Scores:
  logits, features = net.look(params, stats, images)
  batch = {'index': index, 'label': targets.label[index], 'weight': targets.weight[index]}
  hard = jax.nn.one_hot(batch['label'], logits.shape[-1])
  batch['target'] = hard if targets.soft is None else targets.soft[index]
  return strategy.score(logits, features, batch)


def score_rows(
  net: Net, strategy: Strategy, state: TrainState, images: Images | Any, chunk: int, averaged: bool = False
) -> dict[str, Array]:
  """Scores all training rows.

  Args:
    net: architecture of the networks.
    strategy: strategy whose `score` is called.
    state: state with the networks and the targets.
    images: images of the training rows, or an array uint8 [N, H, W, C].
    chunk: rows per forward pass.
    averaged: whether to use the averaged networks, if the run keeps an average. By default the trained networks are
      used, as selection methods in the literature do.

  Returns:
    The scores of all rows, as `strategy.score` returns them: {name: [M, N, …]}.
  """
  images = as_images(images)
  asked = state.current if averaged else Snapshot(state.params['net'], state.stats)
  total, parts, ahead = len(images), [], None
  mesh = placement.mesh_of(asked)
  chunk = placement.divisible(mesh, chunk)
  chunks = np.minimum(np.arange(-(-total // chunk) * chunk, dtype=np.int32), total - 1)  # pad the last chunk
  for index, pixels in placement.in_turn(mesh, images, chunks.reshape(-1, chunk)):
    parts.append(_score_chunk(net, strategy, asked.params, asked.stats, state.targets, pixels, index))
    jax.block_until_ready(ahead)  # dispatch at most one chunk ahead, to limit the memory of gathered images
    ahead = parts[-1]
  return placement.everywhere(mesh, jax.tree.map(lambda *p: jnp.concatenate(p, 1)[:, :total], *parts))


@functools.partial(jax.jit, static_argnames='net')
def _predict_chunk(net: Net, strategy: Strategy, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, ...]:
  logits, _ = net.look(params, stats, images)
  asked = (logits, logits[:1]) if len(logits) > 1 else (logits,)  # one network is its own vote
  return tuple(strategy.probs(one) for one in asked)


@functools.partial(jax.jit, static_argnames='net')
def _embed_chunk(net: Net, strategy: Strategy, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, Array]:
  logits, features = net.look(params, stats, images)
  return strategy.probs(logits), features.swapaxes(0, 1).reshape(len(images), -1)


def predict(
  net: Net, strategy: Strategy, snapshot: Snapshot, images: Images | Any, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
  """Predicts the classes of images.

  Args:
    net: architecture of the networks.
    strategy: strategy whose `probs` combines the networks.
    snapshot: the networks.
    images: `Images`, or an array uint8 [n, H, W, C].
    chunk: images per forward pass.

  Returns:
    Probabilities of the vote of all networks, and of the first network alone; each float32 [n, C].
  """
  call = functools.partial(_predict_chunk, net, strategy, snapshot.params, snapshot.stats)
  found = _chunked(call, images, chunk, placement.mesh_of(snapshot))
  return found[0], found[-1]


def embed(
  net: Net, strategy: Strategy, snapshot: Snapshot, images: Images | Any, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
  """Predicts the classes of images, and returns what the last layers of the networks see.

  Args:
    net: architecture of the networks.
    strategy: strategy whose `probs` combines the networks.
    snapshot: the networks.
    images: `Images`, or an array uint8 [n, H, W, C].
    chunk: images per forward pass.

  Returns:
    Probabilities of the vote of all networks, float32 [n, C]; and the features of the networks, one after another,
    float32 [n, M * F].
  """
  call = functools.partial(_embed_chunk, net, strategy, snapshot.params, snapshot.stats)
  probs, features = _chunked(call, images, chunk, placement.mesh_of(snapshot))
  return probs, features


def _chunked(
  call: Callable[[Any], tuple[Array, ...]], images: Images | Any, chunk: int, mesh: Mesh | None
) -> list[np.ndarray]:
  """Returns the results of a function of images, called in chunks of one shape.

  Args:
    call: function of a chunk of images.
    images: the images.
    chunk: images per call.
    mesh: devices that share each chunk; None for one device.
  """
  images = as_images(images)
  total, out, ahead = len(images), [], None
  chunk = placement.divisible(mesh, min(chunk, total) or 1)

  def keep(start: int, found: tuple[Array, ...]) -> None:
    """Copies the results of a chunk: thousands of small arrays of the device would fragment the memory."""
    found = placement.whole(found)
    if not out:
      out.extend(np.empty((total, *a.shape[1:]), a.dtype) for a in found)
    for whole, a in zip(out, found):
      whole[start : start + chunk] = a[: total - start]

  chunks = np.minimum(np.arange(-(-total // chunk) * chunk), total - 1)  # pad the last chunk
  for start, (_, pixels) in zip(range(0, total, chunk), placement.in_turn(mesh, images, chunks.reshape(-1, chunk))):
    now = start, call(pixels)
    if ahead:  # dispatch at most one chunk ahead
      keep(*ahead)
    ahead = now
  if ahead:
    keep(*ahead)
  return out
