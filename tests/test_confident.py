"""Confident learning against a plain reference, cleanlab's published cases, and cleanlab where it is installed."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.estimate import confident

ROWS = 160

# --- a reference from the definitions: loops, float64 and fractions -------------------------------


def calibrated(joint, counts):
  """Rows scaled to counts in exact fractions, then to the nearest integers that keep the row's sum."""
  out = []
  for row, count in zip(joint.tolist(), counts.tolist()):
    exact = [Fraction(v * count, sum(row)) for v in row]
    whole = [round(v) for v in exact]  # half to even
    error = [e - w for e, w in zip(exact, whole)]
    up = sorted(range(len(row)), key=lambda j: (error[j], j))  # rounded up most first
    missing = count - sum(whole)
    for j in up[::-1][: max(missing, 0)]:
      whole[j] += 1
    for j in up[: max(-missing, 0)]:
      whole[j] -= 1
    out.append(whole)
  return np.array(out)


def tied(joint, counts):
  """Whether one of two entries that are equally far from an integer is moved: dust and the CPU decide in cleanlab."""
  for row, count in zip(joint.tolist(), counts.tolist()):
    exact = [Fraction(v * count, sum(row)) for v in row]
    error = sorted(e - round(e) for e in exact)
    missing = count - sum(map(round, exact))
    if any(e % 1 == Fraction(1, 2) for e in exact) or (missing and error[-missing] == error[-missing - 1]):
      return True
  return False


def reference(probs, labels):
  """Returns what `confident` finds, of rows that all count."""
  n, classes = probs.shape
  own = probs[np.arange(n), labels]
  counts = np.bincount(labels, minlength=classes)
  limit = np.array([max(own[labels == j].mean(), 2e-6) if counts[j] else 2.0 for j in range(classes)])
  joint, off = np.zeros((classes, classes), int), np.zeros(n, bool)
  for i in range(n):
    above = [j for j in range(classes) if probs[i, j] >= limit[j] - 1e-6]
    if above:
      guess = above[0] if len(above) == 1 else int(probs[i].argmax())
      joint[labels[i], guess] += 1
      off[i] = guess != labels[i]
  for j in range(classes):
    joint[j, j] = max(joint[j, j], 1)
  whole = calibrated(joint, counts)
  others = np.array([max(probs[i, j] for j in range(classes) if j != labels[i]) for i in range(n)])
  doubted = others > own + 1e-6
  doubted |= (others == own + 1e-6) & (probs.argmax(1) < labels)
  by_rate, by_class = np.zeros(n, bool), np.zeros(n, bool)
  for k in range(classes):
    rows = np.flatnonzero(labels == k)
    if len(rows) > 1:
      lost = int(whole[k, k] == 0)
      by_class[rows[np.argsort(own[rows], kind='stable')[: len(rows) - max(whole[k, k], 1)]]] = True
      for j in set(range(classes)) - {k}:
        order = np.argsort(probs[rows, k] - probs[rows, j], kind='stable')
        by_rate[rows[order[: max(whole[k, j] - lost, 0)]]] = True
  found = (off & doubted).sum()
  margin = (own - others + 1) / 2
  low = lambda score: np.isin(np.arange(n), np.argsort(score, kind='stable')[:found])
  entropy = -(probs * np.log(np.where(probs > 0, probs, 1))).sum(1) / np.log(classes)
  h = entropy / np.maximum(own, 1e-6)
  shifted = probs - limit + limit.max()
  return {
    'thresholds': limit,
    'counted': joint,
    'calibrated': whole,
    'joint': whole / n,
    'issues': found,
    'issues_calibrated': n - np.trace(whole),
    'prune_by_noise_rate': by_rate & doubted,
    'prune_by_class': by_class & doubted,
    'both': by_rate & by_class & doubted,
    'confident_learning': off & doubted,
    'predicted_neq_given': doubted,
    'low_normalized_margin': low(margin),
    'low_self_confidence': low(own),
    'self_confidence': own,
    'normalized_margin': margin,
    'confidence_weighted_entropy': np.log(1 + h) / np.maximum(h, 1e-6),
    'adjusted_self_confidence': shifted[np.arange(n), labels] / shifted.sum(1),
  }


# --- ours, all of it in one jit of one shape -------------------------------------------------------


@jax.jit
def _all(probs, labels, keep):
  counts = confident.label_counts(probs, labels, keep)
  raw = confident.counted(probs, labels, keep)
  out = {kind: confident.issues(probs, labels, keep, kind=kind) for kind in confident.FILTERS}
  out |= {kind: confident.scores(probs, labels, kind) for kind in confident.SCORES}
  return out | {
    'thresholds': confident.thresholds(probs, labels, keep),
    'counted': raw,
    'counts': counts,
    'calibrated': confident.calibrated(raw, counts),
    'joint': confident.joint(probs, labels, keep),
    'issues': confident.num_issues(probs, labels, keep),
    'issues_calibrated': confident.num_issues(probs, labels, keep, calibrate=True),
    'adjusted_self_confidence': confident.adjusted_self_confidence(probs, labels, keep),
  }


def ours(probs, labels):
  """Everything about the rows, spread over 160 of which the others do not count: NaN, and labels of all kinds."""
  probs, labels = np.asarray(probs, np.float32), np.asarray(labels)
  n, classes = probs.shape
  rng = np.random.default_rng(n)
  place = np.sort(rng.choice(ROWS, n, replace=False))
  wide = np.full((ROWS, classes), np.nan, np.float32)
  wide[rng.random(ROWS) < 0.5] = 1 / classes
  given = rng.integers(-1, classes, ROWS)
  wide[place], given[place] = probs, labels
  found = jax.tree.map(np.asarray, _all(wide, given, np.isin(np.arange(ROWS), place)))
  for kind in confident.FILTERS:
    assert not np.delete(found[kind], place).any()
  return {k: v[place] if v.shape == (ROWS,) else v for k, v in found.items()}


def assert_same(found, want):
  for name, value in want.items():
    if np.asarray(value).dtype.kind == 'f':
      assert_allclose(found[name], value, rtol=2e-5, atol=2e-6, err_msg=name)
    else:
      assert_array_equal(found[name], value, err_msg=name)


def drawn(seed, n, classes, noise=0.35):
  """Random posteriors that lean to the true class (in float32), and noisy labels."""
  rng = np.random.default_rng(seed)
  true = rng.integers(0, classes, n)
  labels = np.where(rng.random(n) < noise, rng.integers(0, classes, n), true)
  probs = 0.6 * rng.dirichlet(np.full(classes, 0.5), n) + 0.4 * np.eye(classes)[true]
  return probs.astype(np.float32).astype(np.float64), labels


@pytest.mark.parametrize('classes', [2, 5])
def test_all_figures_are_those_of_the_definitions(classes):
  for seed, n in enumerate([7, 7, 7, 30, 30, 30, 30, 100, 100, 160, 160, 160]):
    probs, labels = drawn(seed, n, classes)
    assert_same(ours(probs, labels), reference(probs, labels))


# --- cleanlab's cases, with the figures that cleanlab 2.9.0 gives ----------------------------------


def flagged(found, kinds):
  return {kind: np.flatnonzero(found[kind]).tolist() for kind in kinds}


PRUNE = ('prune_by_noise_rate', 'prune_by_class', 'both')
REST = ('confident_learning', 'predicted_neq_given', 'low_normalized_margin', 'low_self_confidence')

A_PROBS = [[0.9, 0.1, 0], [0.6, 0.2, 0.2], [0.1, 0, 0.9], *[[0.1, 0.8, 0.1]] * 6, [0.1, 0.1, 0.8]]
A_LABELS = [0, 0, 1, 1, 1, 1, 1, 1, 1, 2]


def test_case_a_one_wrong_row_of_ten():
  found = ours(A_PROBS, A_LABELS)
  assert_same(
    found,
    {
      'thresholds': np.array([0.75, 4.8 / 7, 0.8]),
      'counted': [[1, 0, 0], [0, 6, 1], [0, 0, 1]],
      'calibrated': [[2, 0, 0], [0, 6, 1], [0, 0, 1]],
      'joint': np.array([[0.2, 0, 0], [0, 0.6, 0.1], [0, 0, 0.1]]),
      'issues': 1,
      'issues_calibrated': 1,
      'self_confidence': np.array([0.9, 0.6, 0] + [0.8] * 7),
      'normalized_margin': np.array([0.9, 0.7, 0.05] + [0.85] * 7),
    },
  )
  for kind in confident.FILTERS:
    assert_array_equal(np.flatnonzero(found[kind]), [2], err_msg=kind)
  weighted, adjusted = found['confidence_weighted_entropy'], found['adjusted_self_confidence']
  assert_allclose(weighted, [0.864594, 0.619207, 4.3e-5] + [0.751541] * 7, atol=1e-6)
  assert_allclose(adjusted, [0.815951, 0.558282, 0.098160] + [0.785276] * 6 + [0.687117], atol=1e-6)


def test_case_b_a_row_off_the_diagonal_whose_label_is_the_argmax_is_not_flagged():
  first = np.array(
    [
      0.7110397298505661,
      0.6367131487519773,
      0.7571834730987641,
      0.6394163729473307,
      0.5853684039196656,
      0.6675968116482668,
      0.7240647829106976,
      0.740474240697777,
      0.7148252196621883,
    ]
  )
  labels = np.array([0, 1, 1, 1, 1, 0, 0, 1, 0])
  found = ours(np.stack([first, 1 - first], 1), labels)
  assert_allclose(found['thresholds'], [0.704382, 0.328169], atol=1e-6)
  assert_array_equal(found['counted'], [[3, 1], [2, 3]])
  assert (found['issues'], found['issues_calibrated']) == (2, 3)
  low = ('confident_learning', 'low_normalized_margin', 'low_self_confidence')
  assert flagged(found, PRUNE + low) == {kind: [2, 7] for kind in PRUNE + low}  # 5 is off the diagonal, too
  assert flagged(found, ['predicted_neq_given']) == {'predicted_neq_given': [1, 2, 3, 4, 7]}


def test_case_c_filters_that_prune_flag_less_than_those_that_do_not():
  probs = [[0.9, 0.1, 0], [0.6, 0.2, 0.2], [0.3, 0.3, 0.4], [0.1, 0.1, 0.8], [0.4, 0.5, 0.1]]
  found = ours(probs, [0, 0, 1, 1, 2])
  assert_allclose(found['thresholds'], [0.75, 0.2, 0.1], rtol=1e-6)
  # Row 1 reaches the thresholds of 1 and 2 and counts for 0, its argmax.
  assert_array_equal(found['counted'], [[2, 0, 0], [0, 1, 2], [0, 1, 1]])
  assert_array_equal(found['calibrated'], [[2, 0, 0], [0, 1, 1], [0, 0, 1]])
  assert flagged(found, PRUNE) == {kind: [3] for kind in PRUNE}
  assert flagged(found, REST) == {kind: [2, 3, 4] for kind in REST}
  assert (found['issues'], found['issues_calibrated']) == (3, 1)


# make_data(seed=1) of cleanlab's tests: 160 rows, 33 of them wrong, probabilities of a 3-fold logistic regression.
D_LABELS = (
  '0020000000200000000010000002000211000002200001100000000100110000101100200000121111101111111111111111'
  '111112111111111011112220222222211202222221222222220022222220'
)
D_PROBS = (  # of class 0 and class 1 in turn, four digits each
  '54361074699223638089060067820405725909747670016967492407743003287532125964002317454349445627186973460477'
  '75311734617328216805225775961974608932395658361259260328753012784940394271861750557421376427220973210960'
  '72662429643126185337209459162487500942697130133371420873586007296660009652414444627422687994115662422325'
  '65911435707016206601201367941870670527166075245566660459686623566476198468121930600428655964318065641782'
  '68812759748109446889231151124299746704767843067179810878657609437225178954600708318965824627129363113315'
  '70132081656830927294098175951077613017516964219754561994633619526274247164432065843011565459147766021890'
  '70631540759715991179753808047811038591970718889510978350025594051520767903508644481136895661341205299117'
  '08058584108679891161785006358129029092780529902016207559080284451421767309278679269766731142819210056368'
  '05528558096481770453829500859545021886613760581004448860351457320570865711087894227867591078862010188476'
  '22117247225374120823880324122382021418362906009202220253474704261403059913050972041356105477221110272705'
  '01904132154725420485190514901637112911823690018120272983399609430235202802440773470603810795017821280253'
  '46310248022604603348097014981010081327103346047804993751220821870089223805258161016209315577061732742564'
  '55610594108804510798034202712360'
)


def test_case_d_three_gaussians():
  labels = np.array([int(c) for c in D_LABELS])
  pairs = np.array([int(D_PROBS[i : i + 4]) for i in range(0, len(D_PROBS), 4)]).reshape(ROWS, 2) / 1e4
  wrong = labels != np.repeat([0, 1, 2], [80, 40, 40])
  found = ours(np.column_stack([pairs, 1 - pairs.sum(1)]), labels)
  assert_allclose(found['thresholds'], [0.588978, 0.589693, 0.505886], atol=5e-5)
  assert_array_equal(found['counted'], [[46, 3, 5], [11, 33, 3], [7, 2, 23]])
  assert_array_equal(found['calibrated'], [[55, 4, 6], [13, 38, 3], [9, 3, 29]])
  assert_allclose(found['joint'].sum(0), [0.48125, 0.28125, 0.2375], rtol=1e-6)
  counts = {kind: int(found[kind].sum()) for kind in confident.FILTERS}
  assert counts == {
    'prune_by_noise_rate': 35,
    'prune_by_class': 36,
    'both': 35,
    'confident_learning': 31,
    'predicted_neq_given': 41,
    'low_normalized_margin': 31,
    'low_self_confidence': 31,
  }
  assert (found['issues'], found['issues_calibrated']) == (31, 38)
  hits = (found['prune_by_noise_rate'] & wrong).sum()
  assert_allclose([hits / 35, hits / wrong.sum()], [0.9143, 0.9697], atol=1e-4)


@pytest.mark.parametrize('classes, n', [(2, 100), (5, 160)])
def test_cleanlab_itself_agrees(classes, n):
  count = pytest.importorskip('cleanlab.count')
  rank, find = pytest.importorskip('cleanlab.rank'), pytest.importorskip('cleanlab.filter').find_label_issues
  seen = 0
  for seed in range(20):
    probs, labels = drawn(100 + seed, n, classes)
    found = ours(probs, labels)
    if tied(found['counted'], found['counts']):
      continue
    seen += 1
    quality = functools.partial(rank.get_label_quality_scores, labels, probs)
    assert_same(
      found,
      {
        'thresholds': count.get_confident_thresholds(labels, probs),
        'counted': count.compute_confident_joint(labels, probs, calibrate=False),
        'calibrated': count.compute_confident_joint(labels, probs),
        'joint': count.estimate_joint(labels, probs),
        'issues': count.num_label_issues(labels, probs),
        'issues_calibrated': count.num_label_issues(labels, probs, estimation_method='off_diagonal_calibrated'),
        'adjusted_self_confidence': quality(method='self_confidence', adjust_pred_probs=True),
      }
      | {kind: find(labels, probs, filter_by=kind, n_jobs=1) for kind in confident.FILTERS}
      | {kind: quality(method=kind) for kind in confident.SCORES if kind != 'adjusted_self_confidence'},
    )
  assert seen > 5


# --- properties -----------------------------------------------------------------------------------


def test_calibrated_rows_sum_to_the_label_counts_and_the_joint_to_one():
  for seed in range(10):
    probs, labels = drawn(seed, 150, 5)
    found = ours(probs, labels)
    assert_array_equal(found['calibrated'].sum(1), np.bincount(labels, minlength=5))
    assert (found['calibrated'] >= 0).all()
    assert_allclose(found['joint'].sum(), 1, rtol=1e-6)


def test_large_counts_are_scaled_exactly():
  # 499,999,999 · 700,000,000 does not fit 32 bits, nor 53.
  joint = np.array([[499_999_999, 100_000_000], [3, 7]])
  counts = np.array([700_000_000, 1_000_000_007])
  assert_array_equal(jax.jit(confident.calibrated)(jnp.array(joint), jnp.array(counts)), calibrated(joint, counts))


def test_a_threshold_of_many_rows_is_exact_to_far_less_than_the_slack():
  probs, labels = drawn(0, 200_000, 2)
  want = [probs[labels == j, j].mean() for j in (0, 1)]
  assert_allclose(confident.thresholds(jnp.asarray(probs), jnp.asarray(labels)), want, atol=2e-7)


def test_uniform_predictions_count_for_the_first_class_and_flag_nobody():
  found = ours(np.full((6, 3), 1 / 3), [0, 0, 1, 1, 2, 2])
  assert_array_equal(found['counted'], [[2, 0, 0], [2, 1, 0], [2, 0, 1]])
  assert not any(found[kind].any() for kind in confident.FILTERS)


def test_a_class_that_no_label_uses_is_never_guessed():
  probs, labels = drawn(3, 100, 5)
  found = ours(probs, np.where(labels == 4, 0, labels))
  assert found['thresholds'][4] == 2
  assert_array_equal(found['counted'][:, 4], [0, 0, 0, 0, 1])
  assert_array_equal(found['calibrated'][4], 0)


def test_nobody_counts_and_nobody_is_flagged():
  found = jax.tree.map(np.asarray, _all(np.full((ROWS, 3), np.nan), np.zeros(ROWS, int), np.zeros(ROWS, bool)))
  assert not any(found[kind].any() for kind in confident.FILTERS)
  assert_array_equal(found['joint'], 0)
  assert found['issues'] == found['issues_calibrated'] == 0


def test_pruning_leaves_each_class_a_row():
  probs = np.full((30, 3), 0.01)
  labels = np.repeat([0, 1, 2], [1, 9, 20])
  probs[np.arange(30), (labels + 1) % 3] = 0.98  # all look wrong
  found = ours(probs, labels)
  for kind in PRUNE:
    left = np.bincount(labels[~found[kind]], minlength=3)
    assert (left >= 1).all(), kind


def test_equal_rows_are_flagged_in_their_order():
  probs = np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 8)
  found = ours(probs, np.array([0] * 4 + [0] * 2 + [1] * 6))
  assert_array_equal(np.flatnonzero(found['low_self_confidence']), np.arange(4, 4 + found['issues']))


def test_a_row_without_a_label_is_never_flagged_and_has_no_score():
  labels = np.array(A_LABELS)
  labels[2] = -1
  found = _all(np.array(A_PROBS * 16, np.float32), np.tile(labels, 16), np.ones(ROWS, bool))
  for kind in confident.FILTERS:
    assert not np.asarray(found[kind])[labels.tolist().index(-1) :: 10].any(), kind
  for kind in confident.SCORES:
    assert_array_equal(np.isnan(found[kind]), np.tile(labels < 0, 16), err_msg=kind)


def test_shapes_that_do_not_fit_are_refused():
  for probs, labels, keep in [((4, 3), (5,), (4,)), ((4, 3), (4,), (3,)), ((4,), (4,), (4,))]:
    with pytest.raises(ValueError, match=r'probs \[N, C\]'):
      confident.issues(np.ones(probs), np.ones(labels, int), np.ones(keep, bool))


def test_a_sure_label_has_the_best_score_of_every_kind():
  probs = np.array([[1, 0, 0], [1, 0, 0], [1 - 2e-8, 2e-8, 0], [0.9, 0.05, 0.05], [0.2, 0.7, 0.1]], np.float32)
  labels = np.array([0, 1, 0, 0, 0])
  for kind in ('self_confidence', 'normalized_margin', 'confidence_weighted_entropy'):
    sure, wrong, surer, likely, unlikely = np.asarray(confident.scores(probs, labels, kind))
    assert_allclose([sure, surer], 1, atol=1e-4)
    assert wrong == 0 or kind == 'normalized_margin'
    assert sure >= likely > unlikely > wrong
