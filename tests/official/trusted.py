"""Methods with trusted rows: GLC, Meta-Weight-Net and L2RW."""

import copy

import torch
from torch.func import functional_call
from torch.nn import functional as F

from official.network import descend, tensor


class GoldLossCorrection:
  """GLC: mmazeika/glc, CIFAR/train_ours.py, lines 293-316 and 333-372, revision 5b456a0.

  The networks have no batch normalization: the code passes gold and silver rows through the network separately.
  """

  def __init__(self, run):
    self.run = run
    net = run.networks[0].eval()
    with torch.no_grad():
      probs = torch.softmax(net(run.pixels), 1)
    self.matrix = torch.stack([probs[run.verified == c].mean(0) for c in range(run.classes)])

  def epoch(self, number):
    pass

  def step(self, batch):
    b, net = batch['train'], self.run.networks[0].train()
    gold = self.run.verified[b['index']] >= 0
    seen = torch.softmax(net(b['weak'][~gold]), 1)
    silver = -torch.log((seen * self.matrix.T[self.run.labels[b['index']][~gold]]).sum(1)).sum()
    known = F.cross_entropy(net(b['weak'][gold]), self.run.verified[b['index']][gold], reduction='sum')
    descend(self.run.optimizers[0], (known + silver) / len(gold))


class Ahead:
  """What Meta-Weight-Net and L2RW share: a copy of the network, one step ahead."""

  def __init__(self, run):
    self.run = run
    self.rows = run.verified < 0

  @property
  def members(self):
    return {'train': self.rows.numpy(), 'trusted': ~self.rows.numpy()}

  def epoch(self, number):
    pass

  def ahead(self, batch, weigh, rate):
    """Returns the mean loss of the verified rows after a step of `rate` on the sum of the weighted losses."""
    b, known = batch['train'], batch['trusted']
    virtual = copy.deepcopy(self.run.networks[0]).train()
    params = dict(virtual.named_parameters())
    cost = F.cross_entropy(virtual(b['weak']), self.run.labels[b['index']], reduction='none')
    grads = torch.autograd.grad(weigh(cost), list(params.values()), create_graph=True)
    moved = {name: p - rate * g for (name, p), g in zip(params.items(), grads, strict=True)}
    out = functional_call(virtual, moved, known['weak'])
    return F.cross_entropy(out, self.run.verified[known['index']])

  def learn(self, batch, shares):
    b, net = batch['train'], self.run.networks[0].train()
    cost = F.cross_entropy(net(b['weak']), self.run.labels[b['index']], reduction='none')
    descend(self.run.optimizers[0], (cost * shares(cost.detach())).sum())


class MetaWeightNet(Ahead):
  """xjtushujun/meta-weight-net, MW-Net.py, lines 190-241 and 272-275, resnet.py, VNet, revision 3f1800f."""

  def __init__(self, run):
    super().__init__(run)
    self.own = {k: torch.nn.Parameter(tensor(v)) for k, v in run.own.items()}
    s = run.strategy
    self.optimizer = torch.optim.Adam(self.own.values(), float(s.lr), weight_decay=float(s.decay))

  def weight(self, cost):
    hidden = F.relu(cost[:, None] * self.own['hidden_kernel'] + self.own['hidden_bias'])
    return torch.sigmoid((hidden * self.own['kernel']).sum(1) + self.own['bias'])

  def step(self, batch):
    rate = self.run.optimizers[0].param_groups[0]['lr']
    mean = lambda cost: (cost * self.weight(cost.detach())).sum() / len(cost)
    descend(self.optimizer, self.ahead(batch, mean, rate))
    self.learn(batch, lambda cost: self.weight(cost).detach() / len(cost))


class Reweighted(Ahead):
  """L2RW: uber-research/learning-to-reweight-examples, revision 0b616c9.

  models/reweight_model.py, lines 38-97; cifar/cifar_train.py, lines 250-290; models/assigned_weights_resnet_model.py,
  lines 72-87 and 150-169.

  The loss of the verified rows is without the weight decay of line 166.
  """

  def step(self, batch):
    weight = torch.zeros(len(batch['train']['index']), dtype=torch.float64, requires_grad=True)
    loss = self.ahead(batch, lambda cost: (cost * weight).sum(), 1.0)
    useful = torch.clamp(-torch.autograd.grad(loss, weight)[0], min=0)
    total = useful.sum()
    self.learn(batch, lambda cost: useful / (total + (total == 0)))
