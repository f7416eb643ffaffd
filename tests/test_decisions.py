"""Selections on 50,000 rows of generated losses, probabilities and features: the same rows as independent code selects.

Each reference is written with NumPy or scikit-learn, in float64, as the official code that it names.
"""

import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import Given
from numpy.testing import assert_array_equal
from sklearn.mixture import GaussianMixture

from noisyjax.engine.state import Targets
from noisyjax.estimate import mixture
from noisyjax.strategies import aum, cores2, gce, pes, promix, ssr_plus
from noisyjax.strategies.shared import small_loss

ROWS, CLASSES = 50_000, 10


@pytest.fixture(scope='module')
def data():
  """Labels, of which 40 % are wrong, and what a network half way through training says about them."""
  rng = np.random.default_rng(0)
  truth = rng.integers(0, CLASSES, ROWS)
  label = np.where(rng.random(ROWS) < 0.4, rng.integers(0, CLASSES, ROWS), truth)
  logits = rng.normal(0, 1.2, (2, ROWS, CLASSES))
  logits[:, np.arange(ROWS), truth] += rng.gamma(3.0, 1.2, (2, ROWS))
  logits = logits.astype(np.float32)
  probs = np.exp(logits.astype(np.float64))
  probs /= probs.sum(-1, keepdims=True)
  loss = -np.log(probs[:, np.arange(ROWS), label])
  return types.SimpleNamespace(truth=truth, label=label.astype(np.int32), logits=logits, probs=probs, loss=loss)


def state_of(data, trust=None, **extra):
  ones = jnp.ones(ROWS)
  targets = Targets(jnp.asarray(data.label), None, ones, jnp.ones((2, ROWS)) if trust is None else trust)
  return types.SimpleNamespace(targets=targets, extra=extra)


CTX = types.SimpleNamespace(rows=jnp.ones(ROWS, bool), classes=CLASSES, epoch=jnp.int32(0))


def best_split(values):
  """Where EM begins here: scikit-learn's arguments for the split of values [N] into two parts of least variance."""
  ranked = np.sort(values)
  count = np.arange(1, len(ranked))
  sums = np.cumsum(ranked)[:-1]
  between = sums**2 / count + (ranked.sum() - sums) ** 2 / (len(ranked) - count)
  last = ranked[between.argmax()]
  parts = values[values <= last], values[values > last]
  return {
    'weights_init': [len(part) / len(values) for part in parts],
    'means_init': [[part.mean()] for part in parts],
    'precisions_init': [[[1 / (part.var() + 5e-4)]] for part in parts],
  }


@pytest.mark.parametrize('begin, off', [('split', 1e-3), (0, 1e-2), (1, 1e-2)])
def test_the_mixture_divides_as_scikit_learns_with_dividemixs_settings(data, begin, off):
  """LiJunnan1992/DivideMix, Train_cifar.py, lines 165-190, revision d9d3058.

  That code begins with a k-means, drawn by a seed, which stops before it has the best split.
  """
  for loss in data.loss:
    unit = (loss - loss.min()) / (loss.max() - loss.min())
    start = best_split(unit) if begin == 'split' else {'random_state': begin}
    official = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, **start)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # it need not converge
      official.fit(unit[:, None])
    want = official.predict_proba(unit[:, None])[:, official.means_.argmin()]
    found = np.asarray(mixture.gaussian(jnp.asarray(loss, jnp.float32), jnp.ones(ROWS, bool)))
    assert 0.1 < (want > 0.5).mean() < 0.9
    flipped = (found > 0.5) != (want > 0.5)
    assert np.abs(want[flipped] - 0.5).max(initial=0) < off and flipped.mean() < 2e-3
    assert np.abs(found - want).max() < off


@pytest.mark.parametrize('keep', [1.0, 0.8, 0.55, 0.1])
def test_small_losses_are_those_that_co_teaching_remembers(data, keep):
  """bhanML/Co-teaching, loss.py, lines 8-25, revision 7c7fbe2, on one batch of all rows."""
  found = np.asarray(small_loss.smallest(jnp.asarray(data.loss, jnp.float32), jnp.ones(ROWS, bool), keep))
  for own, loss in zip(found, data.loss.astype(np.float32), strict=True):
    want = np.zeros(ROWS, bool)
    want[np.argsort(loss, kind='stable')[: int(keep * ROWS)]] = True
    assert_array_equal(own, want)


def test_cores2_sieves_what_the_official_loss_sieves(data):
  """haochenglouis/cores, loss.py, lines 23-54, revision cf0945e."""
  strategy = cores2.Strategy.build()
  batch = {'weak': None, 'weight': jnp.ones(ROWS), 'target': jax.nn.one_hot(data.label, CLASSES)}
  state = types.SimpleNamespace(extra={'prior': jnp.full(CLASSES, 0.1)})
  ctx = Given(jnp.asarray(data.logits[:1]), jnp.int32(40))
  _, out = strategy.loss(None, state, {'train': batch}, ctx)
  own = data.loss[0] - (-np.log(data.probs[0] + 1e-8)).mean(-1)
  sure = np.abs(own) > 1e-5  # float32 may decide the others either way
  assert sure.mean() > 0.999 and 0.1 < (own <= 0).mean() < 0.9
  assert_array_equal(np.asarray(out.metrics['chosen'])[0][sure], (own <= 0)[sure])


def test_gce_prunes_what_the_official_loss_prunes(data):
  """AlanChou/Truncated-Loss, TruncatedLoss.py, lines 24-34, revision fef5908."""
  strategy = gce.Strategy.build(truncate=True, start=0.0)
  own = data.probs[0, np.arange(ROWS), data.label]
  scores = {'own': jnp.asarray(own[None], jnp.float32)}
  found = strategy.refresh(state_of(data, jnp.ones((1, ROWS))), scores, CTX)[0].trust[0]
  sure = np.abs(own - 0.5) > 1e-6
  want = (1 - own**0.7) / 0.7 < (1 - 0.5**0.7) / 0.7
  assert_array_equal(np.asarray(found)[sure] > 0.5, want[sure])


@pytest.mark.parametrize('rho', [0.7, 0.5, 0.03])
def test_promix_selects_the_official_rows_of_each_class(data, rho):
  """Justherozen/ProMix, Train_promix.py, lines 419-455, revision 40d8378."""
  strategy = promix.Strategy.build(rho=rho)
  losses = data.loss.astype(np.float32)
  found = np.asarray(strategy.refresh(state_of(data), {'loss': jnp.asarray(losses)}, CTX)[0].trust) > 0.5
  for own, loss in zip(found, losses, strict=True):
    chosen = []
    for c in range(CLASSES):
      rows = np.flatnonzero(data.label == c)
      count = max(min(int(np.ceil(ROWS / CLASSES * rho)), len(rows)), 1)
      chosen.append(rows[np.argsort(loss[rows], kind='stable')[:count]])
    assert_array_equal(np.flatnonzero(own), np.sort(np.concatenate(chosen)))


def test_pes_is_confident_where_the_official_code_is(data):
  """tmllab/2021_NeurIPS_PES, PES_semi.py, lines 145-195, revision ec5290d."""
  guess = data.logits[0].argmax(-1)
  strategy = pes.Strategy.build()
  scores = {'guess': jnp.asarray(guess[None])}
  targets, extra = strategy.refresh(state_of(data, jnp.ones((1, ROWS))), scores, CTX)
  assert_array_equal(np.asarray(targets.trust[0]) > 0.5, guess == data.label)
  count = np.bincount(data.label[guess == data.label], minlength=CLASSES)
  np.testing.assert_allclose(extra['class_weight'], count.mean() / count, rtol=1e-5)


@pytest.mark.parametrize(
  'rows, classes', [(4_000, 10), pytest.param(ROWS, 10, marks=pytest.mark.slow)], ids=['4,000 rows', '50,000 rows']
)
def test_ssr_votes_and_selects_as_the_official_neighbours_do(rows, classes):
  """MrChenFeng/SSR_BMVC2022, utils/funcs.py, lines 35-85, main_cifar.py, lines 146-151, revision 849530d."""
  rng = np.random.default_rng(1)
  truth = rng.integers(0, classes, rows)
  label = np.where(rng.random(rows) < 0.4, rng.integers(0, classes, rows), truth)
  features = np.abs(rng.normal(size=(classes, 32)))[truth] + rng.normal(0, 0.7, (rows, 32))
  unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
  found = np.asarray(
    ssr_plus.neighbour_votes(jnp.asarray(unit), jnp.asarray(label), jnp.ones(rows, bool), 200, classes)
  )
  share = np.bincount(label, minlength=classes) / rows
  ties = 0
  for start in range(0, rows, 1000):
    near = unit[start : start + 1000].astype(np.float64) @ unit.T.astype(np.float64)
    order = np.argsort(-near, 1)
    best = order[:, :200]
    votes = np.stack([np.bincount(own, minlength=classes) for own in label[best]])
    gap = np.take_along_axis(near, order[:, 199:201], 1)
    clear = gap[:, 0] - gap[:, 1] > 1e-6  # float32 may rank the last neighbour either way
    ties += (~clear).sum()
    own = found[start : start + 1000]
    assert_array_equal(own[clear], votes[clear])
    chosen = lambda v, at=start: (v / share)[np.arange(len(v)), label[at : at + 1000]] / (v / share).max(1) >= 1.0
    assert_array_equal(chosen(own)[clear], chosen(votes)[clear])
  assert ties < 0.02 * rows


def test_aum_keeps_what_lies_above_the_official_threshold(data):
  """asappresearch/aum, revision 892e76e: a row's mean margin against the 99th percentile of threshold rows."""
  rng = np.random.default_rng(2)
  epochs = [data.logits[0] + rng.normal(0, 0.5, data.logits[0].shape) for _ in range(4)]
  threshold = np.zeros(ROWS, bool)
  threshold[rng.permutation(ROWS)[: ROWS // (CLASSES + 1)]] = True
  at = np.where(threshold, rng.integers(0, CLASSES, ROWS), data.label)
  margins = []
  for logits in epochs:
    others = logits.copy()
    others[np.arange(ROWS), at] = -np.inf
    margins.append(logits[np.arange(ROWS), at] - others.max(-1))
  mean = np.mean(margins, 0)
  line = np.percentile(mean[threshold], 99)
  found = aum.keep(
    jnp.asarray(np.sum(margins, 0)[None], jnp.float32),
    jnp.full((1, ROWS), 4),
    jnp.asarray(threshold[None]),
    jnp.ones(ROWS, bool),
    99.0,
  )
  clear = ~threshold & (np.abs(mean - line) > 1e-4)
  assert_array_equal(np.asarray(found)[clear], (mean >= line)[clear])
