"""Splits: what the specifications mean, that duplicates stay together, and that rows keep their own labels."""

import numpy as np
import pytest
from ml_collections import ConfigDict

import runs
from noisyjax.data import dataset as datasets, prepare
from noisyjax.data.row_spec import parse
from noisyjax.data.split import draw, folds, reveal, split
from noisyjax.system.errors import UserError

N = 400


def config(**fields):
  defaults = dict(train=':', val='', test='', val_labels='given', test_labels='true', seed=0)
  return ConfigDict({**defaults, **fields})


def data(copies=(), classes=4, **fields):
  """N rows of four unequal classes; each pair (a, b) of `copies` makes row b's image that of row a."""
  random = np.random.default_rng(0)
  images = random.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
  for a, b in copies:
    images[b] = images[a]
  truth = random.choice(classes, N, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32)
  names = [f'c{c}' for c in range(classes)]
  return datasets.make(images, fields.pop('given', truth), names, **fields), truth


def assert_partition(parts, rows):
  np.testing.assert_array_equal(np.sort(np.concatenate(parts)), rows)


def test_ranges_name_exactly_their_rows():
  dataset, truth = data()
  parts = split(dataset, truth, config(train='0:300', val='50:60,20:30', test='350:'))
  np.testing.assert_array_equal(parts.val, [*range(20, 30), *range(50, 60)])
  np.testing.assert_array_equal(parts.test, range(350, N))
  assert_partition([parts.train, parts.val], range(300))
  assert parts.notes == ()


def test_test_rows_win_over_validation_and_validation_over_training():
  dataset, truth = data()
  parts = split(dataset, truth, config(train=':', val='100:300', test='200:400'))
  np.testing.assert_array_equal(parts.train, range(100))
  np.testing.assert_array_equal(parts.val, range(100, 200))
  np.testing.assert_array_equal(parts.test, range(200, 400))
  assert any('data.val' in note and '100' in note for note in parts.notes)


def test_fractions_are_stratified_disjoint_and_exact():
  dataset, truth = data()
  parts = split(dataset, truth, config(val='0.1', test='0.2'))
  assert_partition([parts.train, parts.val, parts.test], range(N))
  assert len(parts.test) == 80 and len(parts.val) == 32  # 0.1 of the 320 that are left
  for rows, pool in ((parts.test, np.arange(N)), (parts.val, np.setdiff1d(np.arange(N), parts.test))):
    share = len(rows) / len(pool) * np.bincount(truth[pool])
    assert np.abs(np.bincount(truth[rows]) - share).max() < 1


def test_test_rows_are_the_same_under_any_noise():
  dataset, truth = data()
  noisy = np.where(np.random.default_rng(1).random(N) < 0.5, (truth + 1) % 4, truth).astype(np.int32)
  clean, other = (split(d, truth, config(test='0.2'), truth) for d in (dataset, dataset.with_labels(given=noisy)))
  np.testing.assert_array_equal(clean.test, other.test)
  assert (split(dataset.with_labels(given=noisy), truth, config(test='0.2')).test != clean.test).any()


def test_a_run_is_scored_on_the_same_rows_under_any_noise():
  found = []
  for kind, rate, seed in (('none', 0.0, 0), ('symmetric', 0.2, 0), ('symmetric', 0.8, 1)):
    recipe = runs.recipe(
      data__source='digits',
      data__test='0.2',
      data__val='0.1',
      data__train=':',
      noise__kind=kind,
      noise__rate=rate,
      noise__seed=seed,
    )
    found.append(prepare.prepare(recipe)[1].test_rows.tolist())
  assert found[0] == found[1] == found[2]


def test_a_fraction_for_validation_comes_from_the_training_range_only():
  dataset, truth = data()
  parts = split(dataset, truth, config(train='0:200', val='0.25', test='300:'))
  assert parts.val.max() < 200 and len(parts.val) == 50
  assert_partition([parts.train, parts.val], range(200))


def test_fraction_of_the_training_rows():
  dataset, truth = data()
  parts = split(dataset, truth, config(train='0.5', val='100:200', test='0:100'))
  assert len(parts.train) == 100 and parts.train.min() >= 200


def test_stratifies_by_verified_labels_where_all_rows_have_them():
  dataset, truth = data(given=np.arange(N) % 4, verified=np.arange(N) // 100)
  parts = split(dataset, truth, config(val='0.1'))
  np.testing.assert_array_equal(np.bincount(dataset.verified[parts.val]), [10] * 4)


def test_seed_decides_and_parts_draw_independently():
  dataset, truth = data()
  first, again, other = (split(dataset, truth, config(val='0.1', test='0.2', seed=s)) for s in (3, 3, 4))
  np.testing.assert_array_equal(first.val, again.val)
  np.testing.assert_array_equal(first.test, again.test)
  assert len(np.intersect1d(first.test, other.test)) < 40
  alone = split(dataset, truth, config(test='0.2', seed=3))
  np.testing.assert_array_equal(first.test, alone.test)


def test_duplicates_never_part_by_fraction():
  copies = [(i, i + 200) for i in range(100)] + [(300, 301), (300, 302), (300, 303)]
  dataset, truth = data(copies)
  assert len(set(dataset.ids)) == N
  groups = datasets.duplicate_groups(dataset.ids)
  for seed in range(5):
    parts = split(dataset, truth, config(train='0.6', val='0.2', test='0.2', seed=seed))
    for one, two in ((parts.train, parts.val), (parts.train, parts.test), (parts.val, parts.test)):
      assert not len(np.intersect1d(groups[one], groups[two]))
    assert parts.notes == ()
    assert len(parts.test) >= 76 and len(parts.val) >= 60


def test_a_fraction_takes_no_copy_of_a_test_row():
  dataset, truth = data([(i, 399 - i) for i in range(100)])
  parts = split(dataset, truth, config(train='0:300', val='0.25', test='300:'))
  assert parts.val.min() >= 100  # rows 0..99 have copies among the test rows
  assert len(parts.val) == 50


def test_a_copy_without_a_label_keeps_its_image_out_of_validation():
  given = np.arange(N) % 4
  given[200:] = -1
  dataset, truth = data([(i, i + 200) for i in range(100)], given=given)
  parts = split(dataset, truth, config(val='0.5'))
  assert parts.val.min() >= 100 and parts.val.max() < 200
  assert any('100 of 400 rows' in note for note in parts.notes)


def test_duplicates_across_ranges_are_noted_not_moved():
  dataset, truth = data([(10, 390), (11, 391)])
  parts = split(dataset, truth, config(train='0:300', test='300:'))
  assert 10 in parts.train and 390 in parts.test
  (note,) = parts.notes
  assert '2 images' in note and 'data.train' in note and 'data.test' in note and '10 and 390' in note


def test_file_of_rows_and_ids(tmp_path):
  dataset, truth = data([(5, 6)])
  file = tmp_path / 'rows.txt'
  file.write_text(f'# checked by hand\n7\n\n{dataset.ids[6]}\n 3  # the third\n7\n')
  assert dataset.ids[6].endswith('-1')
  parts = split(dataset, truth, config(test=f'@{file}'))
  np.testing.assert_array_equal(parts.test, [3, 6, 7])


def test_file_errors_name_the_line(tmp_path):
  dataset, truth = data()
  file = tmp_path / 'rows.txt'
  file.write_text('1\nabc\n400\n-1\n')
  with pytest.raises(UserError, match=r"(?s)data\.val.*rows\.txt.*line 2: 'abc'; line 3: '400'; line 4: '-1'"):
    split(dataset, truth, config(val=f'@{file}'))
  with pytest.raises(UserError, match=r'data\.val.*none\.txt'):
    split(dataset, truth, config(val=f'@{tmp_path / "none.txt"}'))


def test_source_part_tests_and_never_trains():
  test = np.arange(N) >= 350
  dataset, truth = data(test=test)
  parts = split(dataset, truth, config(test='source', val='0.1'))
  np.testing.assert_array_equal(parts.test, range(350, N))
  without = split(dataset, truth, config(val='0.1'))
  assert without.train.max() < 350 and without.val.max() < 350 and not len(without.test)
  assert any('50 rows' in note for note in without.notes)


def test_unlabeled_rows_train_but_do_not_validate():
  given = np.where(np.arange(N) < 100, np.arange(N) % 4, -1)
  dataset, truth = data(given=given)
  parts = split(dataset, truth, config(val='0.2'))
  assert len(parts.val) == 20 and parts.val.max() < 100
  assert len(parts.train) == N - 20
  assert any('100 of 400 rows' in note for note in parts.notes)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (dict(train='0-300'), r"data\.train: '0-300'"),
    (dict(val='0:10,x:20'), r"data\.val: 'x:20'"),
    (dict(val='10%'), r"data\.val: '10%'"),
    (dict(val='source'), r"data\.val: 'source'"),
    (dict(val='1.5'), r"data\.val: '1\.5'.*between 0 and 1"),
    (dict(val='0'), r"data\.val: '0'"),
    (dict(val='nan'), r"data\.val: 'nan'"),
    (dict(test='300:500'), r"data\.test: '300:500'.*400 rows"),
    (dict(test='400:'), r"data\.test: '400:'.*no rows"),
    (dict(test='20:10'), r"data\.test: '20:10'.*no rows"),
    (dict(test='source'), r'data\.test.*no test part'),
    (dict(train='0:10', val='0:10'), r"data\.train: '0:10' leaves no rows"),
    (dict(val='0:10', test='0:10'), r"data\.val: '0:10' leaves no rows"),
    (dict(val='0.001'), r"data\.val: '0\.001' leaves no rows"),
    (dict(val='0:10', val_labels='verified'), r"'verified', but 10 of the 10.*row 0\); expected given\."),
    (dict(val='0.1', val_labels='verified'), r"data\.val_labels: 'verified', but none.*; expected given\."),
    (dict(val='0:10', val_labels='true'), r"data\.val_labels: unknown value 'true'"),
    (dict(test='0:10', test_labels='trusted'), r"data\.test_labels: unknown value 'trusted'.*Did you mean 'true'"),
    (dict(test='0:10', test_labels='verified'), r"data\.test_labels: 'verified'"),
    (dict(val='0.1', seed=-1), r'data\.seed.*-1'),
  ],
)
def test_mistakes_are_named(fields, message):
  dataset, truth = data()
  with pytest.raises(UserError, match=message):
    split(dataset, truth, config(**fields))


def test_unknown_truth_cannot_test():
  dataset, truth = data()
  truth = np.where(np.arange(N) < 5, -1, truth)
  with pytest.raises(UserError, match=r"data\.test_labels: 'true', but 5 of the 20 .*; expected given\."):
    split(dataset, truth, config(test='0:20'))
  assert split(dataset, truth, config(test='0:20', test_labels='given')).test[-1] == 19


def test_training_rows_need_two_classes():
  given = np.repeat(np.arange(4), 100)
  given[300:] = -1
  dataset, truth = data(given=given, test=None)
  with pytest.raises(UserError, match=r"data\.train: every labeled row.*'c0'"):
    split(dataset, truth, config(train='0:100'))
  with pytest.raises(UserError, match=r'data\.train: all 100 rows are unlabeled'):
    split(dataset, truth, config(train='300:'))
  assert any("'c3'" in note for note in split(dataset, truth, config(train='0:300')).notes)


def test_truth_values_never_move_a_row():
  dataset, truth = data()
  fields = config(val='0.2', test='0.2')
  parts, poisoned = (split(dataset, t, fields) for t in (truth, 3 - truth))
  for part in ('train', 'val', 'test'):
    np.testing.assert_array_equal(getattr(parts, part), getattr(poisoned, part))


def test_rows_keep_their_own_labels():
  """The seed trained on imgs[:10000] with noisy_labels[10000:]; here each image carries its label in a pixel."""
  truth = (np.arange(N) % 4).astype(np.int32)
  images = np.random.default_rng(1).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
  images[:, 0, 0, 0] = truth
  images[:, 0, 0, 1:] = np.stack([np.arange(N) // 256, np.arange(N) % 256], 1)
  dataset = datasets.make(images, truth, [f'c{c}' for c in range(4)])
  parts = split(dataset, truth, config(train='100:', val='0.1', test='0:100'))
  pairs = folds(parts.train, dataset.given, dataset.ids, 3, 0)
  for rows in (parts.train, parts.val, parts.test, *(rows for pair in pairs for rows in pair)):
    np.testing.assert_array_equal(dataset.images[rows][:, 0, 0, 0], dataset.given[rows])
    np.testing.assert_array_equal(dataset.images[rows][:, 0, 0, 1] * 256.0 + dataset.images[rows][:, 0, 0, 2], rows)
    np.testing.assert_array_equal(dataset.names[rows], rows.astype(str))
    assert (np.diff(rows) > 0).all()


def test_validation_is_not_the_end_of_the_array():
  """Keras' validation_split, which the seed used, takes the last rows: there, the noisy ones only."""
  dataset, truth = data(verified=np.where(np.arange(N) < 80, 0, -1))
  val = split(dataset, truth, config(val='0.2')).val
  assert np.histogram(val, bins=4, range=(0, N))[0].min() > 10


def test_folds_hold_each_row_once_and_keep_copies_together():
  copies = [(i, i + 200) for i in range(60)]
  dataset, truth = data(copies)
  rows = np.setdiff1d(np.arange(N), np.arange(0, 20))
  groups = datasets.duplicate_groups(dataset.ids)
  pairs = folds(rows, dataset.given, dataset.ids, 5, 0)
  assert_partition([held for _, held in pairs], rows)
  for train, held in pairs:
    assert_partition([train, held], rows)
    assert not len(np.intersect1d(groups[train], groups[held]))
    np.testing.assert_allclose(np.bincount(truth[held]), np.bincount(truth[rows]) / 5, atol=6)
  again, other = (folds(rows, dataset.given, dataset.ids, 5, seed) for seed in (0, 1))
  np.testing.assert_array_equal(pairs[0][1], again[0][1])
  assert not np.array_equal(pairs[0][1], other[0][1])


@pytest.mark.parametrize('k', [0, 1, 200])
def test_impossible_folds(k):
  dataset, _ = data()
  with pytest.raises(UserError, match=f'folds: found {k}'):
    folds(np.arange(N), dataset.given, dataset.ids, k, 0)


def test_reveal_verifies_a_stratified_part_of_the_training_rows():
  random = np.random.default_rng(2)
  dataset, truth = data(given=random.integers(0, 4, N))
  rows = np.arange(100, 400)
  verified = reveal(dataset, truth, rows, 0.1, 0)
  shown = np.flatnonzero(verified >= 0)
  assert verified.dtype == np.int32 and len(shown) == 30 and shown.min() >= 100
  np.testing.assert_array_equal(verified[shown], truth[shown])
  share = np.bincount(dataset.given[rows]) / 10
  assert np.abs(np.bincount(dataset.given[shown], minlength=4) - share).max() < 1
  assert (dataset.verified == -1).all()


def test_reveal_by_true_classes_gives_each_the_same_share():
  random = np.random.default_rng(2)
  dataset, truth = data(given=random.integers(0, 4, N))
  shown = np.flatnonzero(reveal(dataset, truth, np.arange(N), 0.1, 0, 'true') >= 0)
  assert np.abs(np.bincount(truth[shown], minlength=4) - np.bincount(truth) / 10).max() < 1


def test_reveal_chooses_without_the_truth_and_keeps_what_was_verified():
  dataset, truth = data(verified=np.where(np.arange(N) < 50, 3, -1))
  first, poisoned = (reveal(dataset, t, np.arange(N), 0.5, 1) for t in (truth, (truth + 1) % 4))
  np.testing.assert_array_equal(first >= 0, poisoned >= 0)
  assert (first[:50] == 3).all()
  np.testing.assert_array_equal(reveal(dataset, truth, np.arange(N), 0.0, 1), dataset.verified)
  np.testing.assert_array_equal(reveal(dataset, truth, np.arange(50, N), 1.0, 1)[50:], truth[50:])


@pytest.mark.parametrize(('fraction', 'known'), [(1.5, True), (-0.1, True), (0.5, False), (0.0001, True)])
def test_reveal_mistakes(fraction, known):
  dataset, truth = data()
  with pytest.raises(UserError, match=r'data\.trusted'):
    reveal(dataset, truth if known else np.full(N, -1), np.arange(N), fraction, 0)


def test_draw_gives_each_stratum_its_rounded_share():
  labels = np.repeat([0, 1, 2], [95, 4, 1])
  images = np.arange(100)
  for seed in range(20):
    rows = draw(np.arange(100), 0.5, labels, images, np.random.default_rng(seed))
    # Shares 47.5, 2, 0.5: half a row is left over for the first of the two that tie.
    np.testing.assert_array_equal(np.bincount(labels[rows], minlength=3), [48, 2, 0])


def test_a_validation_part_of_the_source_validates():
  """It goes before a fraction, with a note; a range, a file or none there makes its rows like any other."""
  own = np.arange(N) % 10 == 3
  dataset, truth = data(val=own)
  for spec in ('source', '0.1'):
    parts = split(dataset, truth, config(val=spec))
    np.testing.assert_array_equal(parts.val, np.flatnonzero(own))
    np.testing.assert_array_equal(parts.train, np.flatnonzero(~own))
    assert any('own validation part (40 rows) goes before the fraction 0.1' in n for n in parts.notes) == (
      spec == '0.1'
    )
  assert len(split(dataset, truth, config()).train) == N
  np.testing.assert_array_equal(split(dataset, truth, config(val='0:50')).val, range(50))
  parts = split(dataset, truth, config(val='source', test='0:50'))  # test rows never validate
  np.testing.assert_array_equal(parts.val, np.flatnonzero(own)[5:])
  with pytest.raises(UserError, match=r"data\.val: 'source', but this source has no validation part"):
    split(*data(), config(val='source'))


def test_folds_of_few_rows_bring_no_warning_of_scikit_learn(recwarn):
  labels = np.array([0] * 20 + [-1])  # fewer unlabeled rows than folds
  folds(np.arange(21), labels, np.array([f'{i:064d}' for i in range(21)]), 5, 0)
  assert not [str(warning.message) for warning in recwarn]


# Names of images in a file.


@pytest.mark.parametrize(
  'content',
  [
    'a1.png\nc3.png\n',
    'a1.png\r\nc3.png\r\n\r\n',
    '\ufeffimage\na1.png\nc3.png\n',
    'a1\nC3.PNG  # the third\n',
    '0\n2',
    '\ufeff0\r\n2\r\n',
    'photos\\a1.png\n"c3.png"\n',
    'image,label\na1.png,x\nc3.png,y\n',
    'label;file;x\nx;a1.png;1\ny;c3.png;0\n',
    '[{"file_name": "a1.png", "label": 1}, {"file_name": "c3.png", "label": 2}]',
  ],
)
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16'])
def test_rows_are_named_by_number_or_image(tmp_path, content, encoding):
  (tmp_path / 'rows.txt').write_bytes(content.encode(encoding))
  rows = parse('data.val', f'@{tmp_path / "rows.txt"}', np.array(['x', 'y', 'z']), ['a1.png', 'b2.png', 'c3.png'])
  assert rows.tolist() == [0, 2]


@pytest.mark.parametrize(
  'array', [np.array([0, 2]), np.array([2, 0], np.uint8), np.array([True, False, True]), np.array(['a1', 'c3.png'])]
)
def test_rows_in_an_array(tmp_path, array):
  np.save(tmp_path / 'rows.npy', array)
  rows = parse('data.val', f'@{tmp_path / "rows.npy"}', np.array(['x', 'y', 'z']), ['a1.png', 'b2.png', 'c3.png'])
  assert rows.tolist() == [0, 2]


@pytest.mark.parametrize('array', [np.array([True, False]), np.zeros((3, 2), int), np.array([0.5])])
def test_arrays_that_name_no_rows(tmp_path, array):
  np.save(tmp_path / 'rows.npy', array)
  with pytest.raises(UserError, match=r'data.val: .*rows.npy: is an array .*; expected row numbers, names, or bool'):
    parse('data.val', f'@{tmp_path / "rows.npy"}', np.array(['x', 'y', 'z']))


def test_a_mask_of_zeros_and_ones_is_no_list_of_rows(tmp_path):
  (tmp_path / 'rows.txt').write_text('0\n1\n1\n0\n')
  with pytest.raises(UserError, match=r'its 4 lines are 0 or 1: a mask\?'):
    parse('data.val', f'@{tmp_path / "rows.txt"}', np.array(list('wxyz')))


def test_a_number_with_zeros_is_a_name_and_an_unknown_name_is_listed(tmp_path):
  names = [f'{i:03d}.png' for i in range(1, 5)]
  (tmp_path / 'rows.txt').write_text('001\n002\n')
  assert parse('data.val', f'@{tmp_path / "rows.txt"}', np.arange(4).astype(str), names).tolist() == [0, 1]
  (tmp_path / 'rows.txt').write_text('001\nx.png\n9\n')
  with pytest.raises(
    UserError, match=r"line 2: 'x.png'; line 3: '9'; expected row numbers 0..3, .* names of images such"
  ):
    parse('data.val', f'@{tmp_path / "rows.txt"}', np.array(list('wxyz')), names)
