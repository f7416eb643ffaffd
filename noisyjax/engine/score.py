"""What networks make of rows that they are not trained on at the moment: scores for `refresh`, and predictions.

Images are streamed in chunks of one shape, each looked at without augmentation and under running statistics.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.data.images import Images, as_images
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
  """Streams every row through the networks.

  Args:
    net: the networks' architecture.
    strategy: whose `score` is kept.
    state: whose networks are asked.
    images: of the training rows, or an array of them, uint8 [N, H, W, C].
    chunk: rows a forward pass.
    averaged: whether the averaged networks are asked, where there are any. Otherwise the raw ones are: selection
      methods in the literature score the networks that they train.
  Returns:
    What `strategy.score` keeps of the rows, {name: [M, N, …]}.
  """
  images = as_images(images)
  asked = state.current if averaged else Snapshot(state.params['net'], state.stats)
  total, parts, ahead = len(images), [], None
  for start in range(0, total, chunk):
    index = np.minimum(np.arange(start, start + chunk, dtype=np.int32), total - 1)  # one shape; the surplus is cut
    parts.append(_score_chunk(net, strategy, asked.params, asked.stats, state.targets, images.take(index), index))
    jax.block_until_ready(ahead)  # one chunk ahead of the device, and no more: gathered images take memory
    ahead = parts[-1]
  return jax.tree.map(lambda *p: jnp.concatenate(p, 1)[:, :total], *parts)


@functools.partial(jax.jit, static_argnames='net')
def _predict_chunk(net: Net, strategy: Strategy, params: PyTree, stats: PyTree, images: Array) -> tuple[Array, Array]:
  logits, _ = net.look(params, stats, images)
  return strategy.probs(logits), strategy.probs(logits[:1])


def predict(
  net: Net, strategy: Strategy, snapshot: Snapshot, images: Images | Any, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns probabilities of the vote and of the first network alone, float32 [n, C].

  Args:
    net: the networks' architecture.
    strategy: whose `probs` is the vote.
    snapshot: the networks.
    images: `Images`, or an array of them, uint8 [n, H, W, C].
    chunk: images a forward pass.
  """
  images = as_images(images)
  total, found, ahead = len(images), [], None
  chunk = min(chunk, total) or 1
  for start in range(0, total, chunk):
    part = np.asarray(images.take(np.arange(start, min(start + chunk, total))))
    short = chunk - len(part)
    if short:  # one shape: the last chunk is padded and cut
      part = np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)])
    found.append(_predict_chunk(net, strategy, snapshot.params, snapshot.stats, part))
    jax.block_until_ready(ahead)  # one chunk ahead of the device, and no more
    ahead = found[-1]
  votes, alone = (np.concatenate(jax.device_get(parts))[:total] for parts in zip(*found))
  return votes, alone
