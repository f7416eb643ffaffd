"""Noise: definitions against oracles, statistics at fixed seeds, and what the record says."""

import json

import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy.stats import truncnorm

from noisyjax.data import noise
from noisyjax.system.errors import UserError

N, C = 20_000, 10
NAMES = tuple(f'c{c}' for c in range(C))


def config(kind, rate=0.4, **fields):
  return ConfigDict(
    {**dict(kind=kind, rate=rate, count='independent', map=(), path='', column='', order='', seed=0), **fields}
  )


def balanced(n=N, classes=C):
  return (np.arange(n) % classes).astype(np.int32)


def within(found, expected, n, sigmas=4):
  assert abs(found - expected) < sigmas * np.sqrt(max(expected * (1 - expected), 1e-9) / n) + 1e-12


def pictures(n, seed=0, size=6):
  return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_none_changes_nothing():
  labels = balanced()
  found = noise.inject(labels, config('none'), classes=NAMES)
  np.testing.assert_array_equal(found.labels, labels)
  assert found.record['realised'] == 0 and found.record['matrix'] == np.eye(C).tolist()


@pytest.mark.parametrize('rate', [0.2, 0.6062])
def test_symmetric_is_exclusive(rate):
  labels = balanced()
  found = noise.inject(labels, config('symmetric', rate), classes=NAMES)
  within(found.record['realised'], rate, N)
  matrix = np.array(found.record['matrix'])
  np.testing.assert_allclose(matrix, (1 - rate) * np.eye(C) + rate / (C - 1) * (1 - np.eye(C)), atol=0.05)
  assert found.record['requested'] == rate and found.record['expected'] == pytest.approx(rate)
  assert 'exclusive' in found.record['definition']


def test_symmetric_at_rate_one_never_keeps_a_label():
  labels = balanced()
  assert (noise.inject(labels, config('symmetric', 1.0), classes=NAMES).labels != labels).all()


@pytest.mark.parametrize(('rate', 'classes', 'wrong'), [(0.5, 10, 0.45), (0.5, 100, 0.495), (1.0, 10, 0.9)])
def test_symmetric_inclusive_keeps_its_share(rate, classes, wrong):
  found = noise.inject(balanced(classes=classes), config('symmetric_inclusive', rate), classes=('x',) * classes)
  within(found.record['realised'], wrong, N)
  assert found.record['requested'] == rate and found.record['expected'] == pytest.approx(wrong)


@pytest.mark.parametrize('name', ['cifar10', ('cifar10',)])  # the flag --config.noise.map=cifar10 gives a tuple
def test_cifar10_map_flips_five_classes(name):
  labels = balanced()
  found = noise.inject(labels, config('asymmetric', 0.4, map=name), classes=NAMES)
  target = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}  # truck, bird, deer, cat, dog
  for c in range(C):
    given = found.labels[labels == c]
    assert set(given.tolist()) == {c, target.get(c, c)}
    within(np.mean(given != c), 0.4 if c in target else 0.0, len(given))
  assert found.record['requested'] == 0.4 and found.record['expected'] == pytest.approx(0.2)
  within(found.record['realised'], 0.2, N)


def test_cifar100_map_is_a_circle_in_each_superclass():
  superclasses = """beaver dolphin otter seal whale; aquarium_fish flatfish ray shark trout;
    orchid poppy rose sunflower tulip; bottle bowl can cup plate; apple mushroom orange pear sweet_pepper;
    clock keyboard lamp telephone television; bed chair couch table wardrobe; bee beetle butterfly caterpillar
    cockroach; bear leopard lion tiger wolf; bridge castle house road skyscraper; cloud forest mountain plain sea;
    camel cattle chimpanzee elephant kangaroo; fox porcupine possum raccoon skunk; crab lobster snail spider worm;
    baby boy girl man woman; crocodile dinosaur lizard snake turtle; hamster mouse rabbit shrew squirrel;
    maple_tree oak_tree palm_tree pine_tree willow_tree; bicycle bus motorcycle pickup_truck train;
    lawn_mower rocket streetcar tank tractor"""
  groups = [group.split() for group in superclasses.split(';')]
  names = sorted(name for group in groups for name in group)  # CIFAR-100 numbers its fine classes alphabetically
  assert len(names) == 100
  expected = {names.index(a): names.index(b) for g in groups for a, b in zip(sorted(g), sorted(g)[1:] + sorted(g)[:1])}
  assert dict(noise.cifar100_map()) == expected
  labels = balanced(classes=100)
  found = noise.inject(labels, config('asymmetric', 1.0, map='cifar100'), classes=tuple(names))
  np.testing.assert_array_equal(found.labels, [expected[c] for c in labels.tolist()])


def test_any_map_of_pairs():
  labels = balanced(classes=3)
  found = noise.inject(labels, config('asymmetric', 1.0, map=((0, 2), (2, 1))), classes=('a', 'b', 'c'))
  np.testing.assert_array_equal(found.labels, np.array([2, 1, 1])[labels])
  assert '0->2, 2->1' in found.record['definition']


def test_pair_flips_to_the_next_class():
  labels = balanced()
  found = noise.inject(labels, config('pair', 0.45), classes=NAMES)
  assert set(((found.labels - labels) % C).tolist()) == {0, 1}
  within(found.record['realised'], 0.45, N)
  assert noise.inject(balanced(), config('pair', 1.0), classes=NAMES).labels[9] == 0


def test_unlabeled_rows_stay_and_do_not_move_the_others():
  labels = balanced()
  full = noise.inject(labels, config('symmetric'), classes=NAMES).labels
  labels[::3] = -1
  found = noise.inject(labels, config('symmetric'), classes=NAMES)
  np.testing.assert_array_equal(found.labels, np.where(labels < 0, -1, full))
  within(found.record['realised'], 0.4, np.sum(labels >= 0))
  nothing = noise.inject(np.full(5, -1), config('symmetric'), classes=NAMES)
  assert (nothing.labels == -1).all() and nothing.record['realised'] == 0


@pytest.mark.parametrize('kind', ['symmetric', 'symmetric_inclusive', 'pair', 'instance'])
def test_noise_is_its_own_stream(kind):
  labels, images = balanced(2000), pictures(2000)
  first = noise.inject(labels, config(kind), images, NAMES).labels
  np.random.seed(1)  # no global state takes part
  np.testing.assert_array_equal(first, noise.inject(labels, config(kind), images, NAMES).labels)
  np.testing.assert_array_equal(first[:500], noise.inject(labels[:500], config(kind), images[:500], NAMES).labels)
  other = noise.inject(labels, config(kind, seed=1), images, NAMES).labels
  assert 0.2 < np.mean((first != labels) & (other == labels)) < 0.3  # 0.4 * 0.6, if independent


def test_rows_wrong_at_one_rate_stay_wrong_at_higher_ones():
  labels = balanced()
  low, high = (noise.inject(labels, config('symmetric', rate), classes=NAMES).labels for rate in (0.2, 0.5))
  wrong = low != labels
  np.testing.assert_array_equal(high[wrong], low[wrong])


def uneven():
  """4,000 rows of 10 classes of different sizes, with some unlabeled ones."""
  return np.random.default_rng(3).choice(np.arange(-1, 10), 4000, p=np.arange(1, 12) / 66).astype(np.int32)


@pytest.mark.parametrize('rate', [0.2, 0.29, 0.5, 1.0])
@pytest.mark.parametrize('kind', ['symmetric', 'pair'])
def test_counted_rows_are_wrong_exactly_as_often_as_said(kind, rate):
  """Exclusive kinds: ⌊rN⌋ of all labeled rows, or ⌊rN_c⌋ of each class."""
  labels = uneven()
  sizes = np.bincount(labels[labels >= 0], minlength=10)
  wrong = lambda count: noise.inject(labels, config(kind, rate, count=count), classes=NAMES).labels != labels
  floor = lambda n: n * round(100 * rate) // 100
  assert wrong('exact').sum() == floor(sizes.sum())
  assert np.bincount(labels[wrong('per_class')], minlength=10).tolist() == [floor(n) for n in sizes]
  assert not wrong('exact')[labels < 0].any()


def test_counted_inclusive_noise_is_that_of_divide_mix():
  """An own reading of DivideMix's dataloader: ⌊rN⌋ rows get a label that is uniform over all classes."""
  labels = balanced(50_000)
  found = noise.inject(labels, config('symmetric_inclusive', 0.5, count='exact'), classes=NAMES)
  drawn = np.argsort(np.random.default_rng([0, *b'noise']).random((50_000, 3))[:, 0])[:25_000]
  same = np.setdiff1d(np.arange(50_000), drawn)
  np.testing.assert_array_equal(found.labels[same], labels[same])
  assert np.abs(np.bincount(found.labels[drawn], minlength=10) - 2500).max() < 250
  within((found.labels[drawn] == labels[drawn]).mean(), 0.1, 25_000)
  assert 'Of all rows, exactly this share is drawn.' in found.record['definition']


@pytest.mark.parametrize(('count', 'spread'), [('exact', True), ('per_class', False)])
def test_counted_asymmetric_noise_is_that_of_divide_mix_or_of_elr(count, spread):
  """DivideMix draws ⌊rN⌋ of all rows, so that a class has its share on average; ELR draws the share of each class."""
  labels = balanced(50_000)
  found = noise.inject(labels, config('asymmetric', 0.4, map='cifar10', count=count), classes=NAMES)
  wrong = np.bincount(labels[found.labels != labels], minlength=10)
  assert wrong[[0, 1, 6, 7, 8]].sum() == 0
  assert (np.abs(wrong[[2, 3, 4, 5, 9]] - 2000).max() == 0) != spread and np.abs(wrong.sum() - 10_000) < 300


@pytest.mark.parametrize('count', ['exact', 'per_class'])
@pytest.mark.parametrize('kind', ['symmetric', 'symmetric_inclusive', 'pair'])
def test_counted_rows_wrong_at_one_rate_stay_wrong_at_higher_ones(kind, count):
  low, high = (noise.inject(uneven(), config(kind, r, count=count), classes=NAMES).labels for r in (0.2, 0.5))
  wrong = low != uneven()
  assert wrong.sum() > 300
  np.testing.assert_array_equal(high[wrong], low[wrong])


def test_noise_is_independent_of_other_draws_with_the_same_seed():
  """A split or a shuffle that is seeded with the plain number must not pick the wrong labels out."""
  labels = balanced()
  wrong = noise.inject(labels, config('symmetric', 0.5), classes=NAMES).labels != labels
  for uniform in np.random.default_rng(0).random((N, 3)).T:
    assert abs(np.corrcoef(wrong, uniform)[0, 1]) < 0.03


def test_instance_noise_has_the_rates_of_the_paper():
  labels, images = balanced(), pictures(N)
  for rate in (0.2, 0.4):
    found = noise.inject(labels, config('instance', rate), images, NAMES)
    mean = truncnorm.mean(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)
    assert found.record['expected'] == pytest.approx(mean, abs=0.003)
    within(found.record['realised'], mean, N)
  assert noise.inject(labels, config('instance', 0.0), images, NAMES).record['realised'] == 0


def test_instance_noise_depends_on_the_image():
  """Rows of one class and one image flip to the few classes that its projection favours; another image to others."""
  labels = np.zeros(4000, np.int32)
  one, two = (np.repeat(pictures(1, seed=s), 4000, axis=0) for s in (1, 2))
  targets = []
  for images in (one, two):
    given = noise.inject(labels, config('instance', 0.5), images, NAMES).labels
    within(np.mean(given != 0), 0.5, 4000)
    targets.append(np.bincount(given, minlength=C)[1:] / np.sum(given != 0))
  assert np.abs(targets[0] - targets[1]).sum() > 0.5  # total variation: symmetric noise would give about 0.1


def test_instance_noise_follows_the_softmax_over_the_other_classes():
  """Against a direct reading of Algorithm 2 for one tiny image, whose softmax is not saturated."""
  n = 20_000
  images = np.repeat(np.array([[[[200], [90]]]], np.uint8), n, axis=0)  # [n, 1, 2, 1]
  given = noise.inject(np.full(n, 1), config('instance', 1.0), images, ('a', 'b', 'c', 'd')).labels
  W = noise._rng(0, 'instance', 1).standard_normal((2, 4), np.float32)
  logits = (np.array([200, 90]) / 127.5 - 1) @ W
  probs = np.exp(logits) * [1, 0, 1, 1]
  probs *= truncnorm.mean(-10, 0, loc=1, scale=0.1) / probs.sum()
  probs[1] = 1 - probs.sum()
  np.testing.assert_allclose(np.bincount(given, minlength=4) / n, probs, atol=0.015)


def test_instance_noise_needs_images():
  with pytest.raises(UserError, match=r"noise\.kind: 'instance'.*found none for 100"):
    noise.inject(balanced(100), config('instance'), classes=NAMES)
  with pytest.raises(UserError, match='found 99 for 100'):
    noise.inject(balanced(100), config('instance'), pictures(99), NAMES)


@pytest.mark.parametrize('suffix', ['npy', 'csv'])
def test_matrix_from_a_file(tmp_path, suffix):
  T = np.array([[0.9, 0.1, 0.0], [0.0, 0.5, 0.5], [0.3, 0.3, 0.4]])
  file = tmp_path / f'matrix.{suffix}'
  np.save(file, T) if suffix == 'npy' else np.savetxt(file, T, delimiter=',')
  labels = np.repeat(np.arange(3), [6000, 3000, 3000]).astype(np.int32)
  found = noise.inject(labels, config('matrix', path=str(file)), classes=('a', 'b', 'c'))
  np.testing.assert_allclose(found.record['matrix'], T, atol=0.03)
  assert np.all(np.array(found.record['matrix'])[T == 0] == 0)
  expected = 0.5 * 0.1 + 0.25 * 0.5 + 0.25 * 0.6
  assert found.record['expected'] == pytest.approx(expected) and found.record['requested'] is None
  within(found.record['realised'], expected, len(labels))


@pytest.mark.parametrize(
  ('T', 'message'),
  [
    (np.eye(2), r'shape \(2, 2\).*\(3, 3\)'),
    ([[0.9, 0.0, 0.0], [0, 1, 0], [0, 0, 1]], r'row 0 sums to 0\.9'),
    ([[0.5, 0.5, 0.0], [0.5, 0.2, 0.4], [0, 0.3, 0.6]], r'row 1 sums to 1\.1.*transpose'),
    ([[1.0, 0, 0], [1.5, -0.5, 0], [0, 0, 1]], 'row 1 holds'),
    ([[1.0, 0, 0], [0, 1, 0], [0, 0, np.nan]], 'row 2 holds'),
  ],
)
def test_a_wrong_matrix_is_refused(tmp_path, T, message):
  file = tmp_path / 'matrix.npy'
  np.save(file, np.array(T))
  with pytest.raises(UserError, match=rf'(?s)noise\.path.*matrix\.npy.*{message}'):
    noise.inject(balanced(30, 3), config('matrix', path=str(file)), classes=('a', 'b', 'c'))


def test_an_unreadable_matrix_is_refused(tmp_path):
  (tmp_path / 'matrix.csv').write_text('a,b\n')
  (tmp_path / 'matrix.npy').write_bytes(b'\x93NUMPY')
  for path in (tmp_path / 'matrix.csv', tmp_path / 'matrix.npy', tmp_path / 'none.csv', ''):
    with pytest.raises(UserError, match=r'noise\.path'):
      noise.inject(balanced(30, 3), config('matrix', path=str(path)), classes=('a', 'b', 'c'))


def test_labels_from_a_file_in_another_order(tmp_path):
  labels = np.array([0, 1, 2, 0, -1], np.int32)
  (tmp_path / 'noisy.csv').write_text('2\n1\n0\n1\n1\n')
  np.save(tmp_path / 'order.npy', np.array([4, 3, 2, 1, 0]))
  plain = noise.inject(labels, config('file', path=str(tmp_path / 'noisy.csv')), classes=('a', 'b', 'c'))
  np.testing.assert_array_equal(plain.labels, [2, 1, 0, 1, -1])
  assert plain.record['realised'] == 0.75 and plain.record['requested'] is None
  fields = dict(path=str(tmp_path / 'noisy.csv'), order=str(tmp_path / 'order.npy'))
  ordered = noise.inject(labels, config('file', **fields), classes=('a', 'b', 'c'))
  np.testing.assert_array_equal(ordered.labels, [1, 1, 0, 1, -1])
  assert ordered.record['matrix'][0] == [0, 1, 0]


def test_a_wrong_label_file_is_refused(tmp_path):
  file = tmp_path / 'noisy.csv'
  for text in ('0\n1\n', '0\n1\n3\n', '0\n1\nx\n'):
    file.write_text(text)
    with pytest.raises(UserError, match=r'noisy\.csv'):
      noise.inject(np.array([0, 1, 2]), config('file', path=str(file)), classes=('a', 'b', 'c'))
  with pytest.raises(UserError, match=r'noise\.path'):
    noise.inject(np.array([0, 1, 2]), config('file'), classes=('a', 'b', 'c'))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (dict(kind='symetric'), r"noise\.kind: unknown value 'symetric'.*Did you mean 'symmetric'"),
    (dict(kind='symmetric', rate=1.2), r'noise\.rate.*1\.2'),
    (dict(kind='pair', rate=-0.1), r'noise\.rate.*-0\.1'),
    (dict(kind='symmetric', seed=-1), r'noise\.seed.*-1'),
    (dict(kind='symmetric', count='half'), r"noise\.count: unknown value 'half'"),
    (dict(kind='instance', count='exact'), r"noise\.count: 'exact' is for the kinds .*found noise\.kind 'instance'"),
    (dict(kind='asymmetric'), r'noise\.map.*needs a map'),
    (dict(kind='asymmetric', map='cifar'), r"noise\.map: unknown value 'cifar'"),
    (dict(kind='asymmetric', map='cifar100'), r"noise\.map: 'cifar100' is for 100 classes, and the data has 10"),
    (dict(kind='asymmetric', map=((0, 10),)), r'noise\.map: pair \(0, 10\)'),
    (dict(kind='asymmetric', map=((2, 2),)), r'noise\.map: pair \(2, 2\)'),
    (dict(kind='asymmetric', map=((0, 1), (0, 2))), r'noise\.map: pair \(0, 1\).*once'),
    (dict(kind='asymmetric', map=(0, 1)), r'noise\.map: found \(0, 1\)'),
  ],
)
def test_mistakes_are_named(fields, message):
  with pytest.raises(UserError, match=message):
    noise.inject(balanced(100), config(**fields), classes=NAMES)
  with pytest.raises(UserError, match=r'two classes, found 1'):
    noise.inject(np.zeros(5, int), config('symmetric'), classes=('only',))


def test_labels_stay_with_their_rows_and_the_input_is_untouched():
  """The seed paired `noisy_labels[10000:]` with `imgs[:10000]`: an injected label must belong to its own row."""
  labels = np.random.default_rng(3).integers(0, C, N).astype(np.int32)
  before = labels.copy()
  found = noise.inject(labels, config('pair', 0.3), classes=NAMES)
  np.testing.assert_array_equal(labels, before)
  assert found.labels.dtype == np.int32
  assert set(((found.labels - labels) % C).tolist()) == {0, 1}  # shifted by a row it would be all ten


def test_the_record_is_json():
  found = noise.inject(balanced(100), config('symmetric'), classes=NAMES)
  assert json.loads(json.dumps(found.record)) == found.record
  assert set(found.record) == {'kind', 'definition', 'requested', 'expected', 'realised', 'matrix'}
  np.testing.assert_allclose(np.sum(found.record['matrix'], axis=1), 1)
