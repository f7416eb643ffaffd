"""Methods that select and relabel rows, with layers of their own: SSR+ and ProMix."""

import jax
import numpy as np
import torch
from torch.nn import functional as F

from noisyjax.strategies.shared import semi
from official.mixing import Mixing, sharpened, soft_cross_entropy
from official.network import descend, tensor


class Layers:
  """Learnables of the method, by the names of the strategy, with the optimizer of the networks."""

  def learnables(self, run):
    self.own = {k: torch.nn.Parameter(tensor(v)) for k, v in run.own.items()}
    decay = float(run.strategy.decay)
    self.own_optimizer = torch.optim.SGD(self.own.values(), lr=run.lr, momentum=0.9, weight_decay=decay)


class Relabeling(Mixing, Layers):
  """SSR+: MrChenFeng/SSR_BMVC2022, revision 849530d.

  main_cifar.py, lines 44-98, 120-151 and 274-285, and utils/funcs.py, lines 22-85. Rows are scored without
  augmentation, and the rows of a batch are not drawn as by `ClassBalancedSampler`.
  """

  def __init__(self, run):
    super().__init__(run)
    self.learnables(run)

  def epoch(self, number):
    super().epoch(number)
    s, classes, net = self.run.strategy, self.run.classes, self.run.networks[0].eval()
    with torch.no_grad():
      bank = F.normalize(net.features(self.run.pixels), dim=1)
      sure, guess = torch.softmax(net(self.run.pixels), 1).max(1)
    self.label = torch.where(sure > float(s.relabel), guess, self.run.labels)
    near = (bank @ bank.T).topk(s.neighbours, dim=1)[1]
    # The code divides shares by shares, so that its rounding breaks ties between classes; of counts, they are exact.
    votes = F.one_hot(self.label[near], classes).sum(1) / torch.bincount(self.label, minlength=classes).double()
    own = votes.gather(1, self.label[:, None])[:, 0] / votes.max(1)[0]
    self.chosen = own >= float(s.select)

  @property
  def members(self):
    return {'train': np.ones(len(self.label), bool), 'selected': torch.where(self.chosen, self.label, -1).numpy()}

  def perceptron(self, name, x):
    own = {k.removeprefix(f'{name}_'): v for k, v in self.own.items() if k.startswith(name)}
    x = F.batch_norm(x @ own['in'], None, None, own['scale'], own['shift'], training=True)
    return F.relu(x) @ own['out'] + own['out_bias']

  def step(self, batch):
    every, x, net, s = batch['train'], batch['selected'], self.run.networks[0].train(), self.run.strategy
    target = F.one_hot(self.label[x['index']], self.run.classes).double()
    images, target = torch.cat([x['strong'], x['strong1']]), torch.cat([target, target])
    images, target = self.mixed(self.run.draws(float(s.alpha), len(images))[0], images, target)
    fit = soft_cross_entropy(net(images), target).mean()
    first, second = net.features(every['weak']), net.features(every['strong'])
    goal = self.perceptron('project', first).detach()
    guess = self.perceptron('predict', self.perceptron('project', second))
    loss = fit - float(s.consistency) * F.cosine_similarity(guess, goal, dim=-1).mean()
    self.own_optimizer.zero_grad()
    descend(self.run.optimizers[0], loss)
    self.own_optimizer.step()


class Progressive(Mixing, Layers):
  """ProMix: Justherozen/ProMix, revision 40d8378.

  Train_promix.py, lines 88-336 and 419-455, utils/utils.py, lines 8-29 and 46-77, and utils/fmix.py, lines 34-227. The
  networks have no batch normalization: the code passes the mixtures of selected rows alone.
  """

  def __init__(self, run):
    super().__init__(run)
    self.learnables(run)
    even = lambda: [torch.full((run.classes,), 1 / run.classes, dtype=torch.float64) for _ in (0, 1)]
    self.prior, self.rest = even(), even()

  def epoch(self, number):
    super().epoch(number)
    labels, s = self.run.labels.numpy(), self.run.strategy
    self.small = []
    for net in self.run.networks:
      loss = F.cross_entropy(self.scored(net), self.run.labels, reduction='none').numpy()
      loss = (loss - loss.min()) / (loss.max() - loss.min())
      chosen = np.zeros(len(labels), bool)
      for c in range(self.run.classes):
        rows = np.flatnonzero(labels == c)
        count = max(min(int(np.ceil(len(labels) / self.run.classes * float(s.rho))), len(rows)), 1)
        chosen[rows[np.argsort(loss[rows])[:count]]] = True
      self.small.append(torch.from_numpy(chosen))

  def head(self, m, features):
    return features @ self.own['kernel'][m] + self.own['bias'][m]

  def mask(self, key):
    """FMix's share and mask, of 8x8 pixels."""
    share_key, noise_key, round_key = jax.random.split(key, 3)
    share = float(jax.random.uniform(share_key))
    frequencies = np.sqrt(np.fft.fftfreq(8)[:, None] ** 2 + np.fft.fftfreq(8)[:5] ** 2)
    noise = np.asarray(jax.random.normal(noise_key, (2, 8, 5)), np.float64)
    picture = np.fft.irfftn((noise[0] + 1j * noise[1]) / np.maximum(frequencies, 1 / 8) ** 3, (8, 8), (0, 1))
    count = (np.ceil if bool(jax.random.bernoulli(round_key)) else np.floor)(share * 64)
    mask = np.zeros(64)
    mask[picture.ravel().argsort()[::-1][: int(count)]] = 1
    return share, torch.from_numpy(mask)

  def added(self, w, scores, match):
    """label_guessing: the rows that are newly selected."""
    s, size = self.run.strategy, len(w)
    new = (scores > float(s.tau)).all(0) & match & ~w
    room = int(size * float(s.fill)) - int(w.sum())
    if w.sum() / size >= float(s.fill):
      return torch.zeros_like(w)
    rows = torch.where(new)[0]
    new[rows[(-scores.mean(0)[rows]).sort()[1][room:]]] = False
    return new

  def step(self, batch):
    b, s, run = batch['train'], self.run.strategy, self.run
    hot = self.hot(b['index'])
    since = self.number + s.warmup
    w, slow = min(since / float(s.ramp), 1), min(since / (2 * float(s.ramp)), 1)
    unsure = 0 if slow >= 1 else float(s.unreliable) * slow
    a, g, momentum = float(s.debias), float(s.debias_guess), float(s.bias_momentum)
    features = [[net.train().features(b[v]) for v in ('weak', 'strong')] for net in run.networks]
    plain = [[f @ net.kernel + net.bias for f in own] for net, own in zip(run.networks, features, strict=True)]
    probs = torch.stack([torch.softmax(z[0].detach(), 1) for z in plain])
    scores, guesses = probs.max(2)
    known = [self.small[m][b['index']] | ((hot * probs[m]).sum(1) > float(s.tau)) for m in (0, 1)]
    known = torch.stack(known)
    chosen = known.clone()
    if (self.time / run.epochs) >= 1 - float(s.expand):
      for m in (0, 1):
        chosen[m] |= self.added(known[m], scores, guesses[0] == guesses[1])
    keys = [jax.random.split(jax.random.fold_in(jax.random.fold_in(run.key, 1 << 16), i)) for i in (0, 1)]
    total = 0
    for m, net in enumerate(run.networks):
      prior, rest = torch.log(self.prior[m]), torch.log(self.rest[m])
      guess = F.one_hot((plain[m][0].detach() - g * prior).argmax(1), run.classes).double()
      target = torch.where(known[m][:, None], hot, guess)
      rows, others = torch.where(chosen[m])[0], torch.where(~chosen[m])[0]
      for i, head in enumerate((lambda f, n=net: f @ n.kernel + n.bias, lambda f, m=m: self.head(m, f))):
        share_key, partner_key = jax.random.split(keys[i][0])
        lam = float(jax.random.beta(share_key, s.alpha, s.alpha, (2,))[m])
        partner = torch.from_numpy(np.array(semi.partners(partner_key, chosen.numpy()))[m])[rows]
        share = max(lam, 1 - lam)
        blend = share * b['weak'][rows] + (1 - share) * b['weak'][partner]
        blend_target = share * target[rows] + (1 - share) * target[partner]
        mixup = soft_cross_entropy(head(net.features(blend)) + a * prior, blend_target).mean()
        mask_key, partner_key = jax.random.split(keys[i][1])
        lam, mask = self.mask(jax.random.split(mask_key, 2)[m])
        partner = torch.from_numpy(np.array(semi.partners(partner_key, chosen.numpy()))[m])[rows]
        out = head(net.features(mask * b['weak'][rows] + (1 - mask) * b['weak'][partner])) + a * prior
        one, two = (F.cross_entropy(out, target[who].argmax(1)) for who in (rows, partner))
        fmix = lam * one + (1 - lam) * two
        weak, strong = (soft_cross_entropy(head(f) + a * prior, target)[rows].mean() for f in features[m])
        total = total + weak + w * (strong + mixup + fmix)
      soft = sharpened(torch.softmax(plain[m][0].detach() - g * rest, 1), s.temperature)[others]
      weak, strong = (soft_cross_entropy(self.head(m, f)[others] + a * rest, soft).mean() for f in features[m])
      total = total + unsure * (weak + w * strong)
      self.prior[m] = momentum * self.prior[m] + (1 - momentum) * probs[m][rows].mean(0)
      self.rest[m] = momentum * self.rest[m] + (1 - momentum) * probs[m][others].mean(0)
    for optimizer in (*run.optimizers, self.own_optimizer):
      optimizer.zero_grad()
    total.backward()
    for optimizer in (*run.optimizers, self.own_optimizer):
      optimizer.step()
    self.tick += 1
