"""The histogram baseline against numpy and scikit-learn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from noisyjax.models import histogram
from noisyjax.system.errors import UserError


def random_images(count, size=8, channels=3, seed=0):
  return np.random.default_rng(seed).integers(0, 256, (count, size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize('bins, channels', [(5, 3), (5, 1), (7, 3), (256, 3), (1, 3)])
def test_histograms_are_numpys(bins, channels, monkeypatch):
  monkeypatch.setattr(histogram, '_CHUNK', 7)  # several chunks, the last one short
  images = random_images(24, channels=channels)
  images[:4] = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)  # every value, so every edge
  edges = np.linspace(0, 255, bins + 1)
  expected = [np.concatenate([np.histogram(i[..., c], bins=edges)[0] for c in range(channels)]) for i in images]
  assert_array_equal(histogram.histograms(images, bins), expected)


@pytest.mark.filterwarnings('ignore:lbfgs failed to converge')
def test_histogram_is_scikit_learns_regression_with_a_column_for_every_class():
  images, labels = random_images(60), np.arange(60) % 4 * 2  # classes 0, 2, 4, 6 of 8
  labels[::7] = -1
  model = histogram.Model(classes=8, max_iter=20)
  state = model.fit(images, labels)
  probs = model.predict_proba(state, images)
  features, labeled = histogram.histograms(images, 5), labels >= 0
  oracle = LogisticRegression(max_iter=20, random_state=0).fit(features[labeled], labels[labeled])
  assert_allclose(probs[:, [0, 2, 4, 6]], oracle.predict_proba(features), rtol=1e-9)
  assert not probs[:, 1::2].any()


def test_histogram_with_two_classes_and_through_npz(tmp_path):
  dark, light = random_images(20) // 4, 255 - random_images(20) // 4
  images, labels = np.concatenate([dark, light]), np.repeat([1, 2], 20)
  model = histogram.Model(classes=4)
  np.savez(tmp_path / 'state.npz', **model.fit(images, labels))
  probs = model.predict_proba(np.load(tmp_path / 'state.npz'), images)
  assert probs.shape == (40, 4)
  assert_allclose(probs.sum(axis=1), 1)
  assert_array_equal(probs.argmax(axis=1), labels)


def test_histogram_rows_stay_in_the_order_of_the_images():
  images, labels = random_images(50), np.arange(50) % 3
  model = histogram.Model(classes=3, max_iter=5)
  state = model.fit(images, labels)
  order = np.random.default_rng(1).permutation(50)
  assert_array_equal(model.predict_proba(state, images[order]), model.predict_proba(state, images)[order])


@pytest.mark.parametrize('labels, found', [([3, 3, -1, 3], 'only class 3'), ([-1] * 4, 'no labeled row')])
def test_histogram_needs_two_classes(labels, found):
  with pytest.raises(UserError, match=found):
    histogram.Model(classes=5).fit(random_images(4), np.array(labels))
