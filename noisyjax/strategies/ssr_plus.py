"""SSR+ (Feng et al. 2022): a confident classifier relabels rows; balanced nearest neighbors select the clean ones.

Relabeling and selection, once per epoch: l_i = argmax p_i if max p_i > θ_r, else the given label. v_i is the sum of the
one-hot l_j of the k nearest rows by the cosine of the features, including the row itself, divided by the class shares π
of l. A row is selected if v_i[l_i] ≥ θ_s max_c v_i[c].

Loss: cross-entropy with mixup (λ' = max(λ, 1 − λ), λ ~ Beta(α, α)) over two strong views of selected rows, balanced by
class, plus `consistency` · −cos(h(f(strong)), stop(f(weak))) over all rows, where f and h are SimSiam's two
perceptrons. The pass of the weak view is in training mode, too: it has no gradient, but updates the running statistics.

Official settings (CIFAR): PreAct-ResNet-18, SGD with learning rate 0.02 and weight decay 5e-4, batch size 128, 300
epochs, cosine schedule to 1/50; θ_s 1, θ_r 0.9 (0.8 from 50 % noise on), k 200, α 4; the strong view is crop, flip and
AutoAugment. There is no warm-up, and no noise rate is given.

As in the code (MrChenFeng/SSR_BMVC2022, main_cifar.py, lines 44-98 and 120-151, utils/funcs.py, lines 22-85, revision
849530d), the mixed rows pass through the network before the weak and the strong view, the perceptrons follow the
learning rate of the networks and have a weight decay, and all k neighbors have the same weight, despite the name of its
`weighted_knn`.

Departures: rows are scored without augmentation (official: on one weak view). An unlabeled row is relabeled like any
other, and takes part once it has a label. The batch of selected rows takes one row from each class in turn (official: a
class is drawn for each row).
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

BLOCK = 256  # number of rows whose similarities to all others are in memory at once


def neighbour_votes(features: Array, label: Array, counts: Array, k: int, classes: int) -> Array:
  """Counts the labels of the k nearest rows of every row.

  Args:
    features: features of unit length, [N, F].
    label: labels, int [N].
    counts: rows that may be neighbors, bool [N].
    k: number of neighbors, static; if fewer rows may be neighbors, all of them are.
    classes: number of classes C.

  Returns:
    Number of neighbors with each label, [N, C].
  """
  total = len(label)
  k = min(k, total)
  blocks = -(-total // BLOCK)
  index = jnp.minimum(jnp.arange(blocks * BLOCK), total - 1).reshape(blocks, BLOCK)

  def votes(rows: Array) -> Array:
    near = jnp.matmul(features[rows], features.T, precision='highest')  # [BLOCK, N]
    best, who = jax.lax.top_k(jnp.where(counts, near, -jnp.inf), k)  # [BLOCK, k]
    # An additional class, which `drop` ignores, for rows that may not be neighbors.
    ballot = jnp.where(best > -jnp.inf, label[who], classes)
    return jax.vmap(lambda b: jnp.zeros(classes).at[b].add(1.0, mode='drop'))(ballot)

  return jax.lax.map(votes, index).reshape(-1, classes)[:total]


def perceptron(own: dict[str, Array], name: str, x: Array) -> Array:
  """Applies a linear layer, batch normalization with batch statistics, relu and a linear layer.

  Args:
    own: learnables of the strategy.
    name: name of the perceptron, "project" (f) or "predict" (h).
    x: inputs, [M, B, …].

  Returns:
    Outputs, [M, B, …].
  """
  x = x @ own[f'{name}_in']
  x = (x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5)
  return jax.nn.relu(own[f'{name}_scale'] * x + own[f'{name}_shift']) @ own[f'{name}_out'] + own[f'{name}_out_bias']


class Strategy(Base):
  """One network, trained on rows that are relabeled and selected in each epoch.

  Attributes:
    relabel: θ_r, the confidence above which a prediction becomes the label.
    select: θ_s, the votes that the label of a selected row needs, as a fraction of the votes of the leading class.
    neighbours: k, the number of neighbors.
    alpha: parameter of mixup's Beta(α, α).
    consistency: λ_fc, the weight of the feature loss.
    decay: weight decay of the perceptrons; official: that of the networks.
    hidden: width of the hidden layers of f and h.
    projected: width of the outputs of f and h.
  """

  unit_interval = ('relabel', 'select')
  streams = {'train': Views('weak', 'strong'), 'selected': Views('strong', 'strong')}
  mix = None
  relabel: Traced = 0.9
  select: Traced = 1.0
  neighbours: int = 200
  alpha: Traced = 4.0
  consistency: Traced = 1.0
  decay: Traced = 5e-4
  hidden: int = 256
  projected: int = 128

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    # Uniform in ±1/sqrt(fan-in), the default of PyTorch; biases are 0.
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
    chosen = jnp.where(state.targets.trust[0] > 0.5, state.targets.label, -1)  # the batch takes from each class in turn
    return {'train': state.targets.weight > 0, 'selected': chosen}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    length = jnp.sqrt((features**2).sum(-1, keepdims=True))
    return surest(logits) | {'features': features / jnp.maximum(length, 1e-12)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    given = jnp.where(ctx.epoch == 0, targets.label, state.extra['given'])  # the labels at the start of the phase
    usable = ctx.rows & (targets.weight > 0)
    sure, guess = scores['sure'][0], scores['guess'][0]  # [N]
    label = jnp.where(usable & (sure > self.relabel), guess, given)
    usable &= label >= 0
    votes = neighbour_votes(scores['features'][0], label, usable, self.neighbours, ctx.classes)
    votes /= jnp.maximum(sizes(label, usable, ctx.classes), 1)  # balances the classes
    own = jnp.take_along_axis(votes, jnp.maximum(label, 0)[:, None], 1)[:, 0]
    chosen = usable & (own >= self.select * votes.max(-1))
    return targets.replace(label=label, trust=chosen[None].astype(jnp.float32)), {'given': given}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    every, chosen = batch['train'], batch['selected']
    twice = lambda a, b: jnp.concatenate([a, b])[None]  # [1, 2B, …]
    target, weight = twice(chosen['target'], chosen['target']), twice(chosen['weight'], chosen['weight'])
    images = semi.filled(twice(chosen['strong'], chosen['strong1']), weight, every['strong'][None])
    images, target, _ = semi.mix(semi.mixing_key(ctx), self.alpha, images, target, weight)
    mixed, _ = ctx.net(params, images)
    fit = losses.weighted_mean(losses.cross_entropy(mixed, target), weight)
    logits, weak = ctx.guess(every['weak'])  # [1, B, C], [1, B, F]
    _, strong = ctx.net(params, every['strong'])
    own = semi.paced(params['own'], ctx.lr)
    goal = jax.lax.stop_gradient(perceptron(own, 'project', weak))
    guess = perceptron(own, 'predict', perceptron(own, 'project', strong))
    apart = -optax.losses.cosine_similarity(guess, goal, epsilon=1e-8)  # [1, B]
    total = fit + self.consistency * losses.weighted_mean(apart, every['weight'])
    per = losses.cross_entropy(logits, every['target'])
    total = total.sum() + semi.decayed(own, self.decay)
    return total, Out(logits, {'loss': per, 'apart': apart, 'chosen': every['trust'] > 0.5})
