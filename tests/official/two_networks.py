"""Methods of two networks that select rows for each other: co-teaching, co-teaching+ and JoCoR."""

import numpy as np
import torch
from torch.nn import functional as F

from official.network import descend


class Pair:
  """Two networks; the loops of all three count epochs from 1, and forget more of each batch over `ramp` epochs."""

  def __init__(self, run):
    self.run = run
    self.number = None

  def epoch(self, number):
    self.number = number + 1
    forget, ramp = round(float(self.run.strategy.forget), 6), int(self.run.strategy.ramp)  # 0.4, not 0.4 in float32
    rates = np.full(200, forget)
    rates[:ramp] = np.linspace(0, forget, ramp)
    self.forget, self.tick = rates[self.number], 0

  def logits(self, batch):
    self.index = batch['train']['index']
    self.labels = self.run.labels[self.index]
    for net in self.run.networks:
      net.train()
    return [net(batch['train']['weak']) for net in self.run.networks]

  def learn(self, losses):
    for optimizer, loss in zip(self.run.optimizers, losses, strict=True):
      descend(optimizer, loss)

  def exchanged(self, outputs, labels):
    """co-teaching's loss; if no row remains, all count (co-teaching+)."""
    order = [F.cross_entropy(out, labels, reduction='none').argsort() for out in outputs]
    count = int((1 - self.forget) * len(labels)) or len(labels)
    picked = [o[:count] for o in order]
    return [F.cross_entropy(out[rows], labels[rows]) / count for out, rows in zip(outputs, picked[::-1], strict=True)]


class CoTeaching(Pair):
  """bhanML/Co-teaching, loss.py, lines 8-29, main.py, lines 134-135, 166-205 and 287, revision 7c7fbe2."""

  def step(self, batch):
    self.learn(self.exchanged(self.logits(batch), self.labels))


class CoTeachingPlus(Pair):
  """xingruiyu/coteaching_plus, loss.py, lines 10-82, main.py, lines 180-192, 232-262 and 366, revision a68ed61."""

  def step(self, batch):
    logits = self.logits(batch)
    if self.number < float(self.run.strategy.warmup):
      losses = self.exchanged(logits, self.labels)
    else:
      outputs = [torch.softmax(z, 1) for z in logits]
      rows = [i for i in range(len(self.labels)) if logits[0][i].argmax() != logits[1][i].argmax()]
      rows = rows[: sum(int(self.index[i]) != 0 for i in rows)]  # shorter by one with row 0
      if rows:
        losses = self.exchanged([out[rows] for out in outputs], self.labels[rows])
      else:
        factor = float(self.number * self.tick < 5000)
        losses = [factor * F.cross_entropy(out, self.labels) for out in outputs]
    self.tick += 1
    self.learn(losses)


class JoCoR(Pair):
  """hongxin001/JoCoR, algorithm/loss.py, lines 8-40, algorithm/jocor.py, lines 41-42 and 118-142, revision 86db359."""

  def step(self, batch):
    one, two = self.logits(batch)
    share = float(self.run.strategy.agree)
    apart = lambda a, b: F.kl_div(F.log_softmax(a, 1), torch.softmax(b, 1), reduction='none').sum(1)
    loss = (1 - share) * (
      F.cross_entropy(one, self.labels, reduction='none') + F.cross_entropy(two, self.labels, reduction='none')
    )
    loss = loss + share * (apart(one, two) + apart(two, one))
    mean = loss[loss.argsort()[: int((1 - self.forget) * len(loss))]].mean()
    for optimizer in self.run.optimizers:
      optimizer.zero_grad()
    mean.backward()
    for optimizer in self.run.optimizers:
      optimizer.step()
