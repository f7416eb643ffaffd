"""The references of curves.py: the loops of tests/official around a small convolutional network in PyTorch, float32.

Initial weights, the order of the rows and their augmented views are the engine's, because they come from its keys; the
rows of a selected subset are those that the reference selects itself.
"""

import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, step, train
from noisyjax.engine.phase import Phase
from noisyjax.engine.spec import run_keys

sys.path.append(str(Path(__file__).resolve().parents[1] / 'tests'))
from official import losses, mixing, two_networks
from official.network import descend
from trajectory import draws, of_networks

CHUNK = 1000  # images per forward pass in evaluation


class Plain(nn.Module):
  """`plain_cnn.Model` with PyTorch's own layers.

  Args:
    params: parameters of one network.
    stats: its running statistics.
  """

  def __init__(self, params: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
    super().__init__()
    blocks = []
    for i in range(len(stats)):
      kernel = torch.tensor(params[f'conv{i}']['kernel']).permute(3, 2, 0, 1)  # [h, w, in, out] -> [out, in, h, w]
      conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, bias=False)
      norm = nn.BatchNorm2d(kernel.shape[0])  # weight 1, bias 0, mean 0, variance 1, as the initial ones of Flax
      conv.weight.data.copy_(kernel)
      blocks += [conv, norm, nn.ReLU(), nn.MaxPool2d(2)]
    self.blocks = nn.Sequential(*blocks)
    self.head = nn.Linear(*params['head']['kernel'].shape)
    self.head.weight.data.copy_(torch.tensor(params['head']['kernel']).T)
    self.head.bias.data.copy_(torch.tensor(params['head']['bias']))

  def forward(self, x: torch.Tensor) -> torch.Tensor:  # [B, C, H, W] -> [B, classes]
    if not self.training and len(x) > CHUNK:
      return torch.cat([self(part) for part in x.split(CHUNK)])
    return self.head(self.blocks(x).mean((2, 3)))


class Warmup:
  """The warm-up of LiJunnan1992/DivideMix (Train_cifar.py, revision d9d3058) for symmetric noise.

  Both networks take their step at the same time, with the same rows.
  """

  def __init__(self, run: Any) -> None:
    self.run = run

  def epoch(self, number: int) -> None:
    pass

  def step(self, batch: Mapping[str, Any]) -> None:
    b = batch['train']
    for net, optimizer in zip(self.run.networks, self.run.optimizers, strict=True):
      descend(optimizer, F.cross_entropy(net.train()(b['weak']), self.run.labels[b['index']]))


# Method → the reference of each of its phases.
LOOPS = {
  'naive': (losses.CrossEntropy,),
  'elr': (losses.EarlyLearning,),
  'co_teaching': (two_networks.CoTeaching,),
  'divide_mix': (Warmup, mixing.DivideMix),
  'fixmatch': (mixing.FixMatch,),
}


def reference(
  method: str, phases: Sequence[Phase], data: TrainData, held: np.ndarray, truth: np.ndarray, root: jax.Array
) -> list[float]:
  """Trains the reference of a method.

  Args:
    method: a key of LOOPS.
    phases: phases of the engine, whose settings are followed.
    data: the training rows.
    held: held-out images, uint8 [n, H, W, C].
    truth: their true labels, int [n].
    root: key of the run.

  Returns:
    The accuracy on the held-out images after each epoch: of the mean probability, if there are two networks.
  """
  images, keys = jnp.asarray(data.images), run_keys(root)
  prepared = lambda a: _prepared(phases[0], a)
  begin = train.enter(phases[0], 0, data, images, root, template=True)
  trees = (of_networks(tree, phases[0].spec.net.networks) for tree in (begin.params['net'], begin.stats))
  networks = [Plain(*own) for own in zip(*trees, strict=True)]
  optimizers = [_optimizer(phases[0], net) for net in networks]
  run = types.SimpleNamespace(
    networks=networks,
    optimizers=optimizers,
    labels=torch.tensor(data.given).long(),
    pixels=prepared(np.asarray(data.images)),
    classes=data.classes,
  )
  run.draws = lambda alpha, count: draws(run.key, alpha, len(networks), count)
  batches = jax.jit(step.batches, static_argnums=0)
  found, epoch, count, last = [], 0, 0, sum(phase.epochs for phase in phases) - 1
  seen_held = prepared(held)
  for number, (phase, loop) in enumerate(zip(phases, LOOPS[method], strict=True)):
    spec, strategy, hyper = phase.spec, phase.strategy, phase.hyper
    run.strategy, run.batch, run.steps, run.epochs = strategy, spec.batch_size, phase.steps, float(phase.epochs)
    state = train.enter(phase, number, data, images, root, template=True)
    official = loop(run)
    for own in range(phase.epochs):
      for optimizer in optimizers:
        optimizer.param_groups[0]['lr'] = float(hyper.optimizer.lr) * (0.1 if epoch == last else 1)
      official.epoch(own)
      masks = {name: jnp.asarray(rows) for name, rows in getattr(official, 'members', state.masks).items()}
      walks = between_epochs.walks(masks, keys.walk, jnp.int32(epoch), data.classes)
      for tick in range(phase.steps):
        now = state.replace(step=jnp.int32(count), epoch=jnp.int32(epoch), tick=jnp.int32(tick), masks=masks)
        seen, _ = batches(spec, strategy, hyper, now, walks, images, keys)
        run.key = jax.random.fold_in(keys.step, count)
        official.step({name: _shown(part, prepared) for name, part in seen.items()})
        count += 1
      epoch += 1
      found.append(_accuracy(networks, seen_held, truth))
  return found


def _optimizer(phase: Phase, net: nn.Module) -> torch.optim.Optimizer:
  o = phase.hyper.optimizer
  lr, decay = float(o.lr), float(o.decay)
  if o.name == 'adam':
    return torch.optim.Adam(net.parameters(), lr, weight_decay=decay)
  return torch.optim.SGD(net.parameters(), lr, momentum=float(o.momentum), weight_decay=decay)


def _prepared(phase: Phase, images: Any) -> torch.Tensor:
  """Returns images [..., H, W, C] in 0-255 as the networks see them, [..., C, H, W]."""
  net = phase.spec.net
  scaled = (np.asarray(images, np.float32) - np.float32(net.mean)) / np.float32(net.std)
  return torch.from_numpy(scaled).movedim(-1, -3).contiguous()


def _shown(part: Mapping[str, Any], prepared: Any) -> dict[str, torch.Tensor]:
  """Returns a batch as the reference gets it: row numbers and views, but no target, trust or weight."""
  views = {name: prepared(value) for name, value in part.items() if name.startswith(('weak', 'strong'))}
  return views | {'index': torch.tensor(np.asarray(part['index'])).long()}


def _accuracy(networks: Sequence[nn.Module], images: torch.Tensor, truth: np.ndarray) -> float:
  with torch.no_grad():
    probs = sum(torch.softmax(net.eval()(images), 1) for net in networks)
  return float((probs.argmax(1).numpy() == truth).mean())
