"""SSR+ (Feng et al. 2022): a confident classifier relabels, balanced nearest neighbours select.

Each epoch: l_i = argmax p_i where max p_i > θ_r, else the given label; v_i = Σ of the one-hot l_j of the k nearest
rows by cosine of the features, itself among them, over the class shares π of l; selected: v_i[l_i] ≥ θ_s max_c v_i[c].
Loss: cross-entropy of mixup (λ' = max(λ, 1 − λ), λ ~ Beta(α, α)) over two strong views of selected rows, drawn class by
class, plus `consistency` · −cos(h(f(strong)), stop(f(weak))) over all rows, f and h being SimSiam's two perceptrons.
The weak pass is in training mode too: nothing is learnt through it, but the running statistics move.

Official (CIFAR): PreAct-ResNet-18, SGD lr 0.02 wd 5e-4 batch 128, 300 epochs cosine to 1/50; θ_s 1, θ_r 0.9 (0.8 from
50 % noise on), k 200, α 4; the strong view is crop, flip and AutoAugment. It is told no noise rate and has no warm-up.
Departures: rows are scored without augmentation (official: one weak view); the perceptrons follow the networks'
learning rate but not their weight decay; a row without a label is relabeled like any other, and joins once it has one.
All k neighbours weigh alike, as in the official code, whatever the name of its `weighted_knn`.
"""

import jax
import jax.numpy as jnp
import optax

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
  Batch,
  Batches,
  Ctx,
  Out,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  Views,
  surest,
)
from noisyjax.estimate.rank import sizes
from noisyjax.strategies.shared import semi

BLOCK = 256  # rows whose similarities to all others are held at once


def neighbour_votes(features: Array, label: Array, counts: Array, k: int, classes: int) -> Array:
  """Returns, for every row, how many of its k nearest rows that count have each label.

  Args:
    features: [N, F], of unit length.
    label: int [N].
    counts: bool [N]; other rows vote for nobody.
    k: static; all rows that count vote, where there are fewer.
  Returns:
    [N, C].
  """
  total = len(label)
  k = min(k, total)
  blocks = -(-total // BLOCK)
  index = jnp.minimum(jnp.arange(blocks * BLOCK), total - 1).reshape(blocks, BLOCK)

  def votes(rows: Array) -> Array:
    near = jnp.matmul(features[rows], features.T, precision='highest')  # [BLOCK, N]
    best, who = jax.lax.top_k(jnp.where(counts, near, -jnp.inf), k)  # [BLOCK, k]
    ballot = jnp.where(best > -jnp.inf, label[who], classes)  # a class too many, for those who may not vote
    return jax.vmap(lambda b: jnp.zeros(classes).at[b].add(1.0, mode='drop'))(ballot)

  return jax.lax.map(votes, index).reshape(-1, classes)[:total]


def perceptron(own: dict[str, Array], name: str, x: Array) -> Array:
  """linear, batch norm by the batch's statistics, relu, linear: x [M, B, …] → [M, B, …]."""
  x = x @ own[f'{name}_in']
  x = (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
  return jax.nn.relu(own[f'{name}_scale'] * x + own[f'{name}_shift']) @ own[f'{name}_out'] + own[f'{name}_out_bias']


class Strategy(Base):
  """One network, relabeled and selected anew each epoch.

  Attributes:
    relabel: θ_r, the confidence above which a prediction becomes the label.
    select: θ_s.
    neighbours: k.
    alpha: of mixup.
    consistency: λ_fc, weight of the feature loss.
    hidden: width of the hidden layers of f and h.
    projected: width of what f and h return.
  """

  unit_interval = ('relabel', 'select')
  streams = {'train': Views('weak', 'strong'), 'selected': Views('strong', 'strong')}
  mix = None
  relabel: Traced = 0.9
  select: Traced = 1.0
  neighbours: int = 200
  alpha: Traced = 4.0
  consistency: Traced = 1.0
  hidden: int = 256
  projected: int = 128

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    # Uniform in ±1/sqrt(fan in), PyTorch's default; biases at zero.
    uniform = jax.nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
    own = {}
    for i, (name, width) in enumerate((('project', data.features), ('predict', self.projected))):
      first, second = jax.random.split(jax.random.fold_in(key, i))
      own |= {
        f'{name}_in': uniform(first, (width, self.hidden)),
        f'{name}_scale': jnp.ones(self.hidden),
        f'{name}_shift': jnp.zeros(self.hidden),
        f'{name}_out': uniform(second, (self.hidden, self.projected)),
        f'{name}_out_bias': jnp.zeros(self.projected),
      }
    return own, {'given': jnp.array(data.given, jnp.int32)}

  def own_optimizer(self) -> optax.GradientTransformation:
    return semi.paced_sgd()

  def members(self, state: TrainState) -> dict[str, Array]:
    chosen = jnp.where(state.targets.trust[0] > 0.5, state.targets.label, -1)  # class by class in turn
    return {'train': state.targets.weight > 0, 'selected': chosen}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    length = jnp.sqrt((features**2).sum(-1, keepdims=True))
    return surest(logits) | {'features': features / jnp.maximum(length, 1e-12)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    given = jnp.where(ctx.epoch == 0, targets.label, state.extra['given'])  # as the phase found the labels
    usable = ctx.rows & (targets.weight > 0)
    sure, guess = scores['sure'][0], scores['guess'][0]  # [N]
    label = jnp.where(usable & (sure > self.relabel), guess, given)
    usable &= label >= 0
    votes = neighbour_votes(scores['features'][0], label, usable, self.neighbours, ctx.classes)
    votes /= jnp.maximum(sizes(label, usable, ctx.classes), 1)  # a frequent class has no more say than a rare one
    own = jnp.take_along_axis(votes, jnp.maximum(label, 0)[:, None], 1)[:, 0]
    chosen = usable & (own >= self.select * votes.max(-1))
    return targets.replace(label=label, trust=chosen[None].astype(jnp.float32)), {'given': given}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    every, chosen = batch['train'], batch['selected']
    logits, weak = ctx.guess(every['weak'])  # [1, B, C], [1, B, F]
    _, strong = ctx.net(params, every['strong'])
    own = semi.paced(params['own'], ctx.lr)
    goal = jax.lax.stop_gradient(perceptron(own, 'project', weak))
    guess = perceptron(own, 'predict', perceptron(own, 'project', strong))
    apart = -optax.losses.cosine_similarity(guess, goal, epsilon=1e-8)  # [1, B]
    twice = lambda a, b: jnp.concatenate([a, b])[None]  # [1, 2B, …]
    target, weight = twice(chosen['target'], chosen['target']), twice(chosen['weight'], chosen['weight'])
    images = semi.filled(twice(chosen['strong'], chosen['strong1']), weight, every['strong'][None])
    images, target, _ = semi.mix(semi.mixing_key(ctx), self.alpha, images, target, weight)
    mixed, _ = ctx.net(params, images)
    fit = losses.weighted_mean(losses.cross_entropy(mixed, target), weight)
    total = fit + self.consistency * losses.weighted_mean(apart, every['weight'])
    per = losses.cross_entropy(logits, every['target'])
    return total.sum(), Out(logits, {'loss': per, 'apart': apart, 'chosen': every['trust'] > 0.5})
