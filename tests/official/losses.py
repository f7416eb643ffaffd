"""Methods of one network that only replace the loss: cross-entropy, SCE, truncated GCE, forward, ELR, SOP, CORES²."""

import numpy as np
import torch
from torch.nn import functional as F

from official.network import descend, tensor


class Plain:
  """One network and a loss of logits, labels and row numbers, on the batch's weak view."""

  def __init__(self, run):
    self.run = run
    self.net, self.optimizer = run.networks[0], run.optimizers[0]

  def epoch(self, number):
    pass

  def step(self, batch):
    b = batch['train']
    self.net.train()
    descend(self.optimizer, self.loss(self.net(b['weak']), self.run.labels[b['index']], b['index']))


class CrossEntropy(Plain):
  """Cross-entropy."""

  def loss(self, logits, labels, index):
    return F.cross_entropy(logits, labels)


class Symmetric(Plain):
  """SCE: YisenWang/symmetric_cross_entropy_for_noisy_labels, loss.py, lines 9-21, revision ec778df."""

  def loss(self, logits, labels, index):
    p, y = torch.softmax(logits, 1), F.one_hot(labels, logits.shape[1]).double()
    s = self.run.strategy
    forward = -(y * torch.log(torch.clamp(p, 1e-7, 1.0))).sum(-1).mean()
    reverse = -(p * torch.log(torch.clamp(y, 1e-4, 1.0))).sum(-1).mean()
    return float(s.alpha) * forward + float(s.beta) * reverse


class Truncated(Plain):
  """Truncated GCE: AlanChou/Truncated-Loss, TruncatedLoss.py, lines 7-34, main.py, lines 176-195, revision fef5908.

  Rows are tested before the epochs `start` − 1, `start` + 9, …, with the current network instead of the one of the best
  test epoch.
  """

  start = 2  # epochs: `start_prune`, with every second epoch in place of every tenth

  def __init__(self, run):
    super().__init__(run)
    self.weight = torch.ones(len(run.labels), 1, dtype=torch.float64)

  def quasi(self, p):
    q = float(self.run.strategy.q)
    return (1 - p**q) / q

  def epoch(self, number):
    if number + 1 >= self.start and (number + 1) % 2 == 0:
      self.net.eval()
      with torch.no_grad():
        own = torch.softmax(self.net(self.run.pixels), 1).gather(1, self.run.labels[:, None])
        self.weight = (self.quasi(own) < self.quasi(float(self.run.strategy.k))).double()

  def loss(self, logits, labels, index):
    own = torch.softmax(logits, 1).gather(1, labels[:, None])
    part = self.weight[index]
    return (self.quasi(own) * part - self.quasi(float(self.run.strategy.k)) * part).mean()


class Forward(Plain):
  """Forward correction: giorgiop/loss-correction, loss.py, lines 23-29, revision 15a79de."""

  def loss(self, logits, labels, index):
    p = torch.softmax(logits, 1)
    p = torch.clamp(p / p.sum(-1, keepdim=True), 1e-7, 1 - 1e-7)
    y = F.one_hot(labels, logits.shape[1]).double()
    return -(y * torch.log(p @ tensor(np.array(self.run.strategy.matrix)))).sum(-1).mean()


class EarlyLearning(Plain):
  """ELR: shengliu66/ELR, ELR/model/loss.py, lines 11-29, revision 934af53."""

  def __init__(self, run):
    super().__init__(run)
    self.target = torch.zeros(len(run.labels), run.classes, dtype=torch.float64)

  def loss(self, logits, labels, index):
    beta, strength = float(self.run.strategy.beta), float(self.run.strategy.strength)
    p = torch.clamp(torch.softmax(logits, 1), 1e-4, 1 - 1e-4)
    now = p.detach()
    self.target[index] = beta * self.target[index] + (1 - beta) * now / now.sum(1, keepdim=True)
    away = (1 - (self.target[index] * p).sum(1)).log().mean()
    return F.cross_entropy(logits, labels) + strength * away


class Overparametrized(Plain):
  """SOP and SOP+: shengliu66/SOP, model/loss.py, lines 55-131, trainer/trainer.py, lines 83-110, revision 4d991ce."""

  def __init__(self, run):
    super().__init__(run)
    self.u, self.v = (torch.nn.Parameter(tensor(run.own[name])) for name in ('u', 'v'))
    rates = [{'params': [self.u], 'lr': float(run.strategy.lr_u)}, {'params': [self.v], 'lr': float(run.strategy.lr_v)}]
    self.own_optimizer = torch.optim.SGD(rates)

  @property
  def own(self):
    return {'u': self.u, 'v': self.v}

  def step(self, batch):
    b, s = batch['train'], self.run.strategy
    labels, index = F.one_hot(self.run.labels[b['index']], self.run.classes).double(), b['index']
    consistency = float(getattr(s, 'consistency', 0))
    self.net.train()
    out = self.net(torch.cat([b['weak'], b['strong']]) if consistency else b['weak'])
    weak, strong = torch.chunk(out, 2) if consistency else (out, None)
    plus = torch.clamp(self.u[index] ** 2 * labels, 0, 1)
    minus = torch.clamp(self.v[index] ** 2 * (1 - labels), 0, 1)
    guess = torch.clamp(torch.softmax(weak, 1) + plus - minus.detach(), min=1e-4)
    guess = torch.clamp(F.normalize(guess, p=1, eps=1e-4), 1e-4, 1.0)
    hard = F.one_hot(weak.argmax(1), self.run.classes).double()
    loss = -(labels * torch.log(guess)).sum(-1).mean()
    loss = loss + F.mse_loss(hard + plus - minus, labels, reduction='sum') / len(labels)
    if consistency:
      mean = torch.clamp(guess.mean(0), 1e-4, 1.0)
      loss = loss + float(s.balance) * -(torch.log(mean) / self.run.classes).sum()
      apart = F.kl_div(F.log_softmax(strong, 1), torch.softmax(weak, 1).detach(), reduction='none').sum(1)
      loss = loss + consistency * apart.mean()
    self.own_optimizer.zero_grad()
    descend(self.optimizer, loss)
    self.own_optimizer.step()


class Confident(Plain):
  """CORES²: haochenglouis/cores, phase1.py, lines 45-47, 67-111 and 205-212, loss.py, lines 23-62, revision cf0945e.

  The schedule of β and the first epoch of the sieve (0.0 for 10 epochs, linspace(0, 2, 30), 2; 31) are parameters.
  """

  def __init__(self, run):
    super().__init__(run)
    s = run.strategy
    rise = np.linspace(0.0, float(s.beta), int(s.rise))
    self.beta = np.concatenate([np.zeros(int(s.wait)), rise, np.full(60, float(s.beta))])
    self.first = np.bincount(run.labels, minlength=run.classes) / len(run.labels)
    self.prior = self.first
    self.number = None

  def epoch(self, number):
    if self.number is not None:
      left = self.first * len(self.run.labels) - self.dropped
      self.prior = left / left.sum()
    self.number, self.dropped = number, np.zeros(self.run.classes)
    self.optimizer.param_groups[0]['lr'] = self.run.lr / (1 + self.beta[number])

  def loss(self, logits, labels, index):
    own = F.cross_entropy(logits, labels, reduction='none')
    every = -torch.log(torch.softmax(logits, 1) + 1e-8)
    kept = torch.ones_like(own)
    if self.number > float(self.run.strategy.sieve):
      kept = ((own - every.mean(1)).detach() <= 0).double()
    self.dropped += np.bincount(labels[kept == 0], minlength=self.run.classes)
    per = own - self.beta[self.number] * (torch.from_numpy(self.prior)[None] * every).sum(1)
    return (kept * per).sum() / kept.sum()
