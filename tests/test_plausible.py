"""Labels that disagree with nearly all others: the warning names the cause, if there is one."""

import numpy as np
import pytest

from noisyjax.data import plausible

CLASSES = tuple('abcde')
TRUE = np.random.default_rng(0).integers(0, 5, 200)


def noisy(labels: np.ndarray, rate: float) -> np.ndarray:
  rng = np.random.default_rng(1)
  return np.where(rng.random(len(labels)) < rate, rng.integers(0, 5, len(labels)), labels)


@pytest.mark.parametrize(
  ('labels', 'text'),
  [
    (np.array([2, 0, 1, 4, 3])[TRUE], 'Another order of the classes? With c for a, a for b, b for c, e for d, d for e'),
    (noisy(np.array([2, 0, 1, 4, 3])[TRUE], 0.3), 'Another order of the classes?'),
    (np.where(TRUE < 4, TRUE + 1, -1), 'Off by one? With the next class in the place of each, 100% agree'),
    (np.where(TRUE > 0, TRUE - 1, -1), 'Off by one? With the previous class'),
    (np.roll(TRUE, 1), 'Rows off by one? With the row above in the place of each, 100% agree'),
    (np.roll(TRUE, -1), 'Rows off by one? With the row below'),
    (np.random.default_rng(7).permutation(TRUE), 'No other order of classes or rows explains it'),
  ],
)
def test_the_cause_is_named(labels, text):
  assert text in plausible.doubt(labels, TRUE, CLASSES, 'the truth')


def test_the_order_of_columns_is_spelled_out():
  found = plausible.doubt(np.array([1, 2, 3, 4, 0])[TRUE], TRUE, CLASSES, 'probs', '--classes')
  assert found.startswith('100% of 200 labels differ from probs. Column order? As b, c, d, e, a, 100% agree')
  assert '--classes=b,c,d,e,a' in found


def test_an_order_of_names_with_spaces_and_commas_can_be_pasted():
  classes, labels = ('a b', 'c, d', 'e'), np.arange(60) % 3
  found = plausible.doubt((labels + 1) % 3, labels, classes, 'probs', '--classes')
  assert """if that is it: --classes='"c, d",e,a b'.""" in found
  assert "classes=['c, d', 'e', 'a b']" in plausible.doubt((labels + 1) % 3, labels, classes, 'probs', 'classes')


def test_one_class_for_all_is_no_order():
  assert "All of these are 'a'." in plausible.doubt(TRUE, TRUE * 0, CLASSES, 'probs')


@pytest.mark.parametrize('rate', [0.0, 0.3, 0.6])
def test_common_noise_is_not_doubted(rate):
  assert plausible.doubt(noisy(TRUE, rate), TRUE, CLASSES, 'the truth') == ''


def test_few_or_no_pairs_are_not_doubted():
  assert plausible.doubt(TRUE[:9], (TRUE[:9] + 1) % 5, CLASSES, 'the truth') == ''
  assert plausible.doubt(TRUE, TRUE * 0 - 1, CLASSES, 'the truth') == ''
