"""The scikit-learn estimator: cloned, fitted, pickled, searched over and driven by cleanlab."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict

import noisyjax
from noisyjax import UserError
from noisyjax.data import labels
from noisyjax.data.column import column_of
from noisyjax.runs import classifier

ROWS, SIDE = 60, 8
QUICK = {
  'batch_size': 20,
  'steps_per_epoch': 15,
  'model.small_cnn.widths': (8, 8),
  'model.conv': 'matmul',
  'augment.weak': (),
  'model.mean': (110.0,),
  'model.std': (80.0,),  # those of the rows differ by a fold, and compile the step again
}


def images(count: int = ROWS, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
  """Returns gray images whose brighter half tells the class, and the classes 0 and 1."""
  random = np.random.default_rng(0)
  truth = np.arange(count) % 2
  pixels = random.integers(0, 80, (count, side, side, 1), np.uint8)
  pixels[truth == 1, : side // 2] += 150
  pixels[truth == 0, side // 2 :] += 150
  return pixels, truth


def quick(**changed) -> 'noisyjax.NoisyClassifier':
  return noisyjax.NoisyClassifier(**({'epochs': 3, 'settings': QUICK} | changed))


@pytest.fixture(scope='module')
def fitted():
  X, truth = images()
  return quick().fit(X, np.array(['left', 'right'])[truth])


def test_fit_learns_and_keeps_the_labels_type(fitted):
  X, truth = images()
  assert list(fitted.classes_) == ['left', 'right']
  probs = fitted.predict_proba(X)
  assert probs.shape == (ROWS, 2)
  np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
  assert (fitted.predict(X) == np.array(['left', 'right'])[truth]).mean() > 0.9
  assert fitted.score(X, np.array(['left', 'right'])[truth]) > 0.9
  assert fitted.predict(X[:0]).shape == (0,)


def test_parameters_are_kept_and_looked_at_in_fit_alone():
  wrong = noisyjax.NoisyClassifier(method='no such method', epochs=-3, settings={'nothing': 1})
  copy = clone(wrong)
  assert copy.get_params() == wrong.get_params()
  assert copy.set_params(epochs=7).epochs == 7
  X, truth = images()
  with pytest.raises(UserError, match='nothing'):
    wrong.fit(X, truth)
  with pytest.raises(UserError, match='no such method'):
    wrong.set_params(settings=QUICK, epochs=1).fit(X, truth)


def test_nothing_is_predicted_before_fit():
  with pytest.raises(NotFittedError):
    quick().predict(images()[0])


def test_a_pickled_copy_predicts_the_same(fitted):
  X = images()[0]
  copy = pickle.loads(pickle.dumps(fitted))
  np.testing.assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))


def test_refit_forgets_the_first_labels(fitted):
  X, truth = images()
  again = clone(fitted).fit(X, truth)
  first = again.predict_proba(X)
  np.testing.assert_array_equal(again.fit(X, truth).predict_proba(X), first)
  assert list(again.fit(X, truth + 5).classes_) == [5, 6]


@pytest.mark.parametrize('missing', [-1, None, float('nan')], ids=str)
def test_unlabeled_rows_are_no_class(missing):
  X, truth = images()
  y = (
    np.where(np.arange(ROWS) < 10, missing, truth)
    if missing == -1
    else [missing if row < 10 else int(label) for row, label in enumerate(truth)]
  )
  assert list(quick(epochs=1).fit(X, y).classes_) == [0, 1]


def test_rows_of_weight_zero_enter_nothing():
  """Wrong labels of weight 0 change no parameter, nor do the pixels of their images."""
  X, truth = images()
  out = np.arange(ROWS) % 3 == 0
  weight = np.where(out, 0.0, 1.0)
  one = quick().fit(X, truth, sample_weight=weight)
  other = quick().fit(np.where(out[:, None, None, None], 255 - X, X), np.where(out, 1 - truth, truth), weight)
  np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
  heavier = quick().fit(X, truth, sample_weight=np.where(truth == 0, 3.0, 1.0))
  assert heavier.predict_proba(X)[:, 0].mean() > one.predict_proba(X)[:, 0].mean()


def test_verified_labels_reach_the_methods_that_learn_from_them():
  X, truth = images()
  verified = np.where(np.arange(ROWS) < 30, truth, -1)
  with pytest.raises(UserError, match='verified'):
    quick(method='clean_correction').fit(X, truth)
  assert quick(method='clean_correction').fit(X, np.zeros(ROWS, int), verified=verified).score(X, truth) > 0.75


def test_paths_and_arrays_of_mixed_sizes(tmp_path):
  from PIL import Image

  X, truth = images(side=16)
  items = [Image.fromarray(X[0, ..., 0]), *(image[:12] if row % 2 else image for row, image in enumerate(X[1:], 1))]
  items[1] = tmp_path / 'one.png'
  Image.fromarray(X[1, ..., 0]).save(items[1])
  colour = QUICK | {'model.mean': (), 'model.std': ()}
  model = quick(size=8, epochs=1, settings=colour).fit(items, truth)
  assert model.shape_ == (8, 8, 3)
  assert model.predict(items).shape == (ROWS,)


def test_bad_rows_are_named():
  X, truth = images()
  with pytest.raises(UserError, match='59 labels; expected 60'):
    quick().fit(X, truth[:-1])
  with pytest.raises(UserError, match='one class'):
    quick().fit(X, truth * 0)
  with pytest.raises(UserError, match=r'sample_weight: row 3 \(from 0\) is -1'):
    quick().fit(X, truth, sample_weight=np.where(np.arange(ROWS) == 3, -1.0, 1.0))
  with pytest.raises(UserError, match='as in fit'):
    quick(epochs=1).fit(X, truth).predict(X[:, :6])


def test_scikit_learn_drives_it():
  X, truth = images()
  probs = cross_val_predict(quick(), X, truth, cv=2, method='predict_proba')
  assert (probs.argmax(1) == truth).mean() > 0.9
  search = GridSearchCV(quick(), {'epochs': [1, 3]}, cv=2).fit(X, truth)
  assert search.best_params_['epochs'] in (1, 3)
  assert search.predict(X).shape == (ROWS,)


def test_cleanlab_drives_it():
  from cleanlab.classification import CleanLearning

  X, truth = images()
  wrong = [4, 21, 44]
  given = truth.copy()
  given[wrong] = 1 - given[wrong]
  options = {'n_jobs': 1}  # more would fork, and JAX has threads
  cleaner = CleanLearning(quick(epochs=8), cv_n_folds=3, seed=0, find_label_issues_kwargs=options)
  found = cleaner.find_label_issues(X, given)
  assert set(found['label_quality'].nsmallest(5).index) >= set(wrong)


def test_a_classic_estimator():
  X, truth = images()
  model = noisyjax.NoisyClassifier(model='histogram').fit(np.repeat(X, 3, -1), truth)
  assert pickle.loads(pickle.dumps(model)).predict_proba(np.repeat(X, 3, -1)).shape == (ROWS, 2)


@pytest.mark.parametrize(
  ('y', 'names', 'expected'),
  [
    (np.array([-1, 'cat', 'dog'], object), ('cat', 'dog'), ['cat', 'dog']),
    (np.array([np.nan, 'cat', 'dog'], object), ('cat', 'dog'), ['cat', 'dog']),
    (np.array([None, 3, 7], object), ('3', '7'), [3, 7]),
    (np.array([np.nan, 3.0, 7.0]), ('3', '7'), [3.0, 7.0]),
    (np.array([[True], [False]]), ('0', '1'), [False, True]),
    (np.eye(3, dtype=bool), ('0', '1', '2'), [0, 1, 2]),
    (np.eye(2, dtype=int), ('cat', 'dog'), ['cat', 'dog']),  # of a data frame with named columns
  ],
)
def test_classes_have_the_type_of_the_labels_also_where_some_are_missing(y, names, expected):
  found = classifier._typed(names, y, labels.indices(column_of(y, 'y'), names, ''))
  assert found.tolist() == expected and found.dtype == np.array(expected).dtype


def histogram() -> 'noisyjax.NoisyClassifier':
  return noisyjax.NoisyClassifier(model='histogram')


@pytest.mark.parametrize(
  'spelled', [('01', '02'), ('9', '10'), ('1.0', '2.0'), (' cat', 'dog'), ('e\u0301', 'z'), ('+1', '0')]
)
def test_classes_are_spelled_and_sorted_as_scikit_learn_compares_them(spelled):
  truth = np.arange(ROWS) % 2
  X, y = (
    np.broadcast_to(np.uint8(40 + 150 * truth)[:, None, None, None], (ROWS, SIDE, SIDE, 3)),
    np.array(spelled)[truth],
  )
  model = histogram().fit(X, y)
  assert model.classes_.tolist() == np.unique(y).tolist()
  assert model.score(X, y) == 1
  assert log_loss(y, model.predict_proba(X)) < 0.5  # columns are in the order of sorted labels


def test_two_spellings_of_one_class_are_refused():
  X, truth = images()
  y = np.array(['cat', 'dog'])[truth].astype(object)
  y[4] = 'cat '
  with pytest.raises(UserError, match=r"y: row 0 \(from 0\) is 'cat' and row 4 'cat ', which are one class"):
    histogram().fit(np.repeat(X, 3, -1), y)


def test_labels_and_images_that_can_be_read_once_are_read_once():
  X, truth = images()
  model = histogram().fit((x for x in X), (label for label in truth.tolist()))
  assert model.classes_.tolist() == [0, 1]
  np.testing.assert_array_equal(model.predict(x for x in X), model.predict(X))


@pytest.mark.parametrize('weight', ['abc', {'a': 1}, object(), ['a'] * ROWS, [[1], [1, 2]]])
def test_weights_that_are_no_numbers_are_a_users_mistake(weight):
  with pytest.raises(UserError, match=r'sample_weight: .* expected 60 numbers'):
    histogram().fit(*images(), sample_weight=weight)
