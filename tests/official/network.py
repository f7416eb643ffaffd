"""A small network in PyTorch: `trajectory.Dense` with the same weights, and the optimizer of the official loops."""

import contextlib

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def tensor(array):
  """Returns a copy as float64 if it holds floats."""
  array = np.array(array)
  return torch.from_numpy(array.astype(np.float64) if array.dtype.kind == 'f' else array)


class BatchNorm(nn.Module):
  """Batch normalization as PyTorch's, except that the running variance is the biased one, as in Flax."""

  def __init__(self, scale, shift, mean, var):
    super().__init__()
    self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)
    self.mean, self.var, self.moves = mean, var, True

  def forward(self, x):
    mean, var = self.mean, self.var
    if self.training:
      mean, var = x.mean(0), x.var(0, correction=0)
      if self.moves:
        self.mean = 0.9 * self.mean + 0.1 * mean.detach()
        self.var = 0.9 * self.var + 0.1 * var.detach()
    return (x - mean) / torch.sqrt(var + 1e-5) * self.scale + self.shift


class Dense(nn.Module):
  """One hidden layer with batch normalization and relu, then the head.

  Args:
    params: parameters of one network of `trajectory.Dense`.
    stats: its running statistics.
  """

  def __init__(self, params, stats):
    super().__init__()
    self.hidden = nn.Parameter(tensor(params['hidden']['kernel']))
    self.norm = None
    if stats:
      norm, moving = params['norm'], stats['norm']
      self.norm = BatchNorm(*(tensor(a) for a in (norm['scale'], norm['bias'], moving['mean'], moving['var'])))
    self.kernel, self.bias = (nn.Parameter(tensor(params['head'][k])) for k in ('kernel', 'bias'))

  def features(self, x):
    x = x @ self.hidden
    return F.relu(x if self.norm is None else self.norm(x))

  def forward(self, x):
    return self.features(x) @ self.kernel + self.bias

  @contextlib.contextmanager
  def frozen(self):
    """Passes inside leave the running statistics as they are (USB's `bn_controller`)."""
    self.norm.moves = False
    yield
    self.norm.moves = True

  def arrays(self):
    """Returns the parameters and running statistics as (params, stats), in the form of `trajectory.Dense`."""
    a = lambda t: t.detach().numpy()
    params = {'head': {'bias': a(self.bias), 'kernel': a(self.kernel)}, 'hidden': {'kernel': a(self.hidden)}}
    if self.norm is None:
      return params, {}
    norm = self.norm
    return params | {'norm': {'bias': a(norm.shift), 'scale': a(norm.scale)}}, {
      'norm': {'mean': a(norm.mean), 'var': a(norm.var)}
    }


def descend(optimizer, loss):
  """One step of an official loop."""
  optimizer.zero_grad()
  loss.backward()
  optimizer.step()
