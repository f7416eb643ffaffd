"""Methods that mix rows with guessed labels: MixMatch, FixMatch, DivideMix, ELR+ and PES (semi)."""

import copy

import numpy as np
import torch
from golden import low_part
from torch.nn import functional as F

from official.network import descend


def soft_cross_entropy(logits, target):
  return -(F.log_softmax(logits, 1) * target).sum(1)


def sharpened(p, temperature):
  power = p ** (1 / float(temperature))
  return power / power.sum(1, keepdim=True)


class Mixing:
  """What the methods share: one-hot labels, the time, and mixup with the engine's draws."""

  def __init__(self, run):
    self.run = run

  def epoch(self, number):
    self.number, self.tick = number, 0

  def hot(self, index):
    return F.one_hot(self.run.labels[index], self.run.classes).double()

  @property
  def time(self):
    """Epochs so far, with fractions."""
    return self.number + self.tick / self.run.steps

  def mixed(self, draw, *arrays):
    share, partner = draw
    return [share * a + (1 - share) * a[partner] for a in arrays]

  def scored(self, net):
    """Logits of all rows in evaluation mode, without a gradient."""
    with torch.no_grad():
      return net.eval()(self.run.pixels)


class MixMatch(Mixing):
  """microsoft/Semi-supervised-learning, revision 1ef4cbe.

  semilearn/algorithms/mixmatch/mixmatch.py, lines 46-128, and semilearn/algorithms/utils/ops.py, lines 48-63.
  """

  @property
  def members(self):
    labeled = self.run.labels.numpy() >= 0
    return {'labeled': labeled, 'unlabeled': ~labeled}

  def step(self, batch):
    b, u, net, s = batch['labeled'], batch['unlabeled'], self.run.networks[0].train(), self.run.strategy
    views = [u['weak'], u['weak1']]
    with torch.no_grad(), net.frozen():
      guess = sharpened(sum(torch.softmax(net(x), 1) for x in views) / 2, s.temperature)
    rows = len(b['index'])
    images, target = torch.cat([b['weak'], *views]), torch.cat([self.hot(b['index']), guess, guess])
    images, target = self.mixed(self.run.draws(float(s.alpha), len(images))[0], images, target)
    first, *others = torch.split(images, rows)
    logits = [net(first)]
    with net.frozen():
      logits += [net(x) for x in others]
    known = soft_cross_entropy(logits[0], target[:rows]).mean()
    unknown = F.mse_loss(torch.softmax(torch.cat(logits[1:]), 1), target[rows:])
    weight = float(s.lambda_u) * np.clip(self.time / self.run.epochs / float(s.ramp), 0, 1)
    descend(self.run.optimizers[0], known + weight * unknown)
    self.tick += 1


class FixMatch(Mixing):
  """microsoft/Semi-supervised-learning, semilearn/algorithms/fixmatch/fixmatch.py, lines 48-105, revision 1ef4cbe."""

  members = MixMatch.members

  def step(self, batch):
    b, u, net, s = batch['labeled'], batch['unlabeled'], self.run.networks[0].train(), self.run.strategy
    rows = len(b['index'])
    out = net(torch.cat([b['weak'], u['weak'], u['strong']]))
    weak, strong = out[rows:].chunk(2)
    sure, guess = torch.softmax(weak.detach(), 1).max(1)
    mask = (sure >= float(s.threshold)).double()
    known = F.cross_entropy(out[:rows], self.run.labels[b['index']])
    unknown = (F.cross_entropy(strong, guess, reduction='none') * mask).mean()
    descend(self.run.optimizers[0], known + float(s.lambda_u) * unknown)


class DivideMix(Mixing):
  """LiJunnan1992/DivideMix, Train_cifar.py, lines 41-122, 165-203 and 260-273, revision d9d3058.

  Both networks take their step at the same time, and the mixture begins with the best split in two.
  """

  def epoch(self, number):
    super().epoch(number)
    losses = [F.cross_entropy(self.scored(net), self.run.labels, reduction='none') for net in self.run.networks]
    clean = [low_part(loss.numpy(), np.ones(len(loss), bool)) for loss in losses]
    self.clean = torch.from_numpy(np.stack(clean[::-1]))  # each network trains on the other's split

  @property
  def members(self):
    labeled = self.clean.numpy() > float(self.run.strategy.threshold)
    return {'labeled': labeled, 'unlabeled': ~labeled}

  def step(self, batch):
    x, u, s, nets = batch['labeled'], batch['unlabeled'], self.run.strategy, self.run.networks
    views = lambda part, m: [part['weak'][m], part['weak1'][m]]
    with torch.no_grad():
      peers = [[torch.softmax(nets[1 - m].eval()(v), 1) for v in views(u, m)] for m in (0, 1)]
    losses = []
    for m, net in enumerate(nets):
      net.train()
      with torch.no_grad():
        guesses = [torch.softmax(net(v), 1) for v in views(u, m)] + peers[m]
        unknown = sharpened(sum(guesses) / 4, s.temperature)
        own = sum(torch.softmax(net(v), 1) for v in views(x, m)) / 2
        w = self.clean[m][x['index'][m]][:, None]
        known = sharpened(w * self.hot(x['index'][m]) + (1 - w) * own, s.temperature)
      images = torch.cat([*views(x, m), *views(u, m)])
      images, target = self.mixed(self.draws[m], images, torch.cat([known, known, unknown, unknown]))
      logits, count = net(images), 2 * len(known)
      fit = soft_cross_entropy(logits[:count], target[:count]).mean()
      apart = ((torch.softmax(logits[count:], 1) - target[count:]) ** 2).mean()
      prior = torch.full((self.run.classes,), 1 / self.run.classes, dtype=torch.float64)
      penalty = (prior * torch.log(prior / torch.softmax(logits, 1).mean(0))).sum()
      weight = float(s.lambda_u) * np.clip(self.time / float(s.ramp), 0, 1)
      losses.append(fit + weight * apart + penalty)
    for optimizer, loss in zip(self.run.optimizers, losses, strict=True):
      descend(optimizer, loss)
    self.tick += 1

  @property
  def draws(self):
    return self.run.draws(float(self.run.strategy.alpha), 4 * self.run.batch)


class EarlyLearningPlus(Mixing):
  """shengliu66/ELR, ELR_plus/trainer/trainer.py, lines 60-137 and 321-359, revision 934af53.

  The loss is ELR_plus/model/loss.py, lines 14-41, and the rise of the average's decay utils/util.py, lines 45-52. Both
  networks take their step at the same time.
  """

  def __init__(self, run):
    super().__init__(run)
    self.average = [copy.deepcopy(net) for net in run.networks]
    self.history = torch.zeros(2, len(run.labels), run.classes, dtype=torch.float64)
    self.steps = 0

  @property
  def members(self):
    return {'train': np.ones((2, len(self.run.labels)), bool)}

  def step(self, batch):
    b, s = batch['train'], self.run.strategy
    self.steps += 1
    draws = self.run.draws(float(s.alpha), self.run.batch)
    losses = []
    for m, net in enumerate(self.run.networks):
      images, index = b['weak'][m], b['index'][m]
      seen, target = self.mixed(draws[m], images, self.hot(index))
      out = net.train()(seen)
      with torch.no_grad():
        teacher = torch.softmax(self.average[1 - m].train()(images), 1)
      beta = float(s.beta)
      self.history[m][index] = beta * self.history[m][index] + (1 - beta) * teacher / teacher.sum(1, keepdim=True)
      (aim,) = self.mixed(draws[m], self.history[m][index])
      if s.reweigh:
        target = target * aim / (target * aim).sum(1, keepdim=True)
      p = torch.clamp(torch.softmax(out, 1), 1e-4, 1 - 1e-4)
      away = (1 - (aim * p).sum(1)).log().mean()
      losses.append(soft_cross_entropy(out, target).mean() + float(s.strength) * away)
    for optimizer, loss in zip(self.run.optimizers, losses, strict=True):
      descend(optimizer, loss)
    rest = 1 - min(self.steps + 1, self.run.ema_ramp) / self.run.ema_ramp
    decay = self.run.ema * np.exp(-5 * rest**2)
    for average, net in zip(self.average, self.run.networks, strict=True):
      for old, new in zip(average.parameters(), net.parameters(), strict=True):
        old.data.mul_(decay).add_((1 - decay) * new.data)


class Confident(Mixing):
  """PES (semi): tmllab/2021_NeurIPS_PES, PES_semi.py, lines 64-142, 145-195 and 198-216, revision ec5290d.

  The optimizer does not hold the renewed head. Labeled and unlabeled rows come in equal numbers, and rows are predicted
  without augmentation.
  """

  held = ('kernel', 'bias')  # parameters that the optimizer does not hold

  def epoch(self, number):
    super().epoch(number)
    labels = self.run.labels.numpy()
    self.sure = self.scored(self.run.networks[0]).argmax(1).numpy() == labels
    count = np.bincount(labels[self.sure], minlength=self.run.classes)
    with np.errstate(divide='ignore'):
      weight = np.mean(count[count != 0]) / count
    weight[weight == np.inf] = 0
    self.weight = torch.from_numpy(np.minimum(weight, 3))

  @property
  def members(self):
    return {'train': self.sure, 'unlabeled': ~self.sure}

  def step(self, batch):
    x, u, net, s = batch['train'], batch['unlabeled'], self.run.networks[0].train(), self.run.strategy
    with torch.no_grad():
      guess = sharpened((torch.softmax(net(u['weak']), 1) + torch.softmax(net(u['weak1']), 1)) / 2, s.temperature)
    label = self.hot(x['index'])
    early = self.number + s.warmup < (self.run.epochs + s.warmup) / 2
    alpha = float(s.alpha if early else s.late_alpha)
    images = torch.cat([x['weak'], x['weak1'], u['weak'], u['weak1']])
    target = torch.cat([label, label, guess, guess])
    images, target = self.mixed(self.run.draws(alpha, len(images))[0], images, target)
    logits, count = net(images), 2 * len(label)
    known = (-(F.log_softmax(logits[:count], 1) * target[:count]).mean(0) * self.weight).sum()
    unknown = ((torch.softmax(logits[count:], 1) - target[count:]) ** 2).mean()
    weight = float(s.penalty) * np.clip(self.time / float(s.ramp), 0, 1)
    descend(self.run.optimizers[0], known + weight * unknown)
    self.tick += 1
