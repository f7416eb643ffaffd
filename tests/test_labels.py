"""Interpretation of labels: one rule for all types of objects, applied to all columns together."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from noisyjax.analysis.issues import find_label_issues
from noisyjax.data import labels
from noisyjax.data.column import column_of
from noisyjax.data.label_notes import class_notes, missing_note
from noisyjax.system.errors import UserError, listed

NONE = 'undefined'
WANT = ['2', '0', '1', '0']


def column(values, where='labels'):
  return column_of(values, where)


def pandas(make):
  return make(pytest.importorskip('pandas'))


NUMBERS = {
  'list': [2, 0, 1, 0],
  'tuple': (2, 0, 1, 0),
  'whole floats': [2.0, 0.0, 1.0, 0.0],
  'uint8': np.array([2, 0, 1, 0], np.uint8),
  'int8': np.array([2, 0, 1, 0], np.int8),
  'uint64': np.array([2, 0, 1, 0], np.uint64),
  'big endian': np.array([2, 0, 1, 0], '>i8'),
  'float32': np.array([2, 0, 1, 0], np.float32),
  'objects': np.array([2, 0, 1.0, False], object),
  'jax': jnp.array([2, 0, 1, 0]),
  'list of scalars': [np.int8(2), np.float32(0), jnp.int32(1), 0],
  'column': np.array([[2], [0], [1], [0]]),
  'list of lists': [[2], [0], [1], [0]],
  'one-hot': np.eye(3)[[2, 0, 1, 0]],
  'one-hot of bool': np.eye(3, dtype=bool)[[2, 0, 1, 0]],
  'one-hot of lists': np.eye(3, dtype=int)[[2, 0, 1, 0]].tolist(),
}


@pytest.mark.parametrize('kind', NUMBERS)
def test_numbers_of_any_kind_are_the_same_labels(kind):
  assert column(NUMBERS[kind]).labels == WANT


@pytest.mark.parametrize(
  'values',
  [
    np.array(['b', 'a', 'c']),
    ['b', 'a', 'c'],
    np.array([b'b', b'a', b'c']),
    np.array(['b', 'a', 'c'], object),
    [' b', 'a ', 'c'],
    (name for name in 'bac'),
  ],
)
def test_names_of_any_kind_are_the_same_labels(values):
  assert column(values).labels == ['b', 'a', 'c']


@pytest.mark.parametrize(
  'make',
  [
    lambda pd: pd.Series(['b', 'a', None], index=[9, 3, 5]),
    lambda pd: pd.Series(pd.Categorical(['b', 'a', None])),
    lambda pd: pd.array(['b', 'a', pd.NA], dtype='string'),
    lambda pd: pd.DataFrame({'label': ['b', 'a', None]}),
    lambda pd: pd.DataFrame({'a': [0, 1, 0], 'b': [1, 0, 0]}),
  ],
)
def test_columns_of_pandas_are_read_by_row_and_not_by_index(make):
  assert column(pandas(make)).labels == ['b', 'a', None]


def test_a_missing_value_is_no_label():
  assert column([1, None, float('nan')]).labels == ['1', None, None]
  assert column(np.array([1.0, np.nan])).labels == ['1', None]
  assert column(np.ma.masked_array([1, 2], [False, True])).labels == ['1', None]
  assert column(pandas(lambda pd: pd.Series([1, pd.NA], dtype='Int64'))).labels == ['1', None]
  assert column(pandas(lambda pd: pd.Series([True, None], dtype='boolean'))).labels == ['1', None]
  late = column(np.where(np.arange(60) == 40, np.nan, 1.0), 'labels.npy')
  assert missing_note(late, NONE) == ['labels.npy: rows without a label: 1 of 60, the first is row 40 (from 0).']


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([[0], [0, 1]], r'labels: row 1 \(from 0\) holds \[0, 1\]; expected one label per image'),
    ([1, [0, 1]], r'labels: row 1 \(from 0\) holds \[0, 1\]'),
    (np.array([[1, 1], [0, 1]]), r'row 0 \(from 0\) has 2 ones \(1 such rows\): several labels an image'),
    (np.full((4, 3), 1 / 3), 'If these are probabilities, they are `probs`'),
    (np.zeros((2, 3)), r'shape \(2, 3\)'),
    (np.zeros((2, 3, 4)), r'shape \(2, 3, 4\)'),
    (np.zeros(2, complex), 'has type complex128'),
    ('labels.csv', "found 'labels.csv'; expected a list"),
    (None, 'found None; expected a list'),
    (7, 'is a int; expected a list'),
    ({'a': 1}, r"found \{'a': 1\}; expected a list"),
    ([10**5000], 'holds 0x'),
  ],
)
def test_what_holds_no_single_label_an_image_is_named(values, message):
  with pytest.raises(UserError, match=message):
    column(values)


def test_whole_floats_are_integers_and_numbers_sort_as_numbers():
  given, verified = column(['10.0', '2.0', '1.000e+00']), column([2, 1, 10, 3])
  assert labels.class_names([given, verified], NONE) == ('1', '2', '3', '10')
  for each in (given, column(['10', '02', '+1']), column([10, 2, 1])):
    assert labels.indices(each, ('1', '2', '3', '10'), NONE).tolist() == [3, 1, 0]


def test_numbers_with_gaps_are_the_names_of_classes():
  classes = labels.class_names([column([2191, 166, 176, 166])], NONE)
  assert classes == ('166', '176', '2191')
  assert labels.indices(column(['166.0', 2191]), classes, NONE).tolist() == [0, 2]
  assert any('are not 0..2 but 166, 176, 2191' in note for note in class_notes(np.arange(3), classes, NONE))


def test_names_beside_numbers_are_refused_and_both_rows_named():
  with pytest.raises(UserError, match=r"a: row 2 \(from 0\) is the name 'x', and a: row 0 \(from 0\) the number '1'"):
    labels.class_names([column([1, 2, 'x'], 'a')], NONE)
  with pytest.raises(UserError, match=r"a: row 0 \(from 0\) is the name 'cat', and b: row 1 \(from 0\) the number '1'"):
    labels.class_names([column(['cat', 'dog'], 'a'), column([-1, 1], 'b')], NONE)
  letters = labels.class_names([column(['A', 1])], NONE, ('1', 'A'))  # declared, both are names
  assert labels.indices(column(['A', '1', 1.0]), letters, NONE).tolist() == [1, 0, 0]
  with pytest.raises(UserError, match=r"row 1 \(from 0\): '1'; .*names or numbers, not both \(row 0 .* is 'cat'\)"):
    labels.indices(column(['cat', 1]), ('cat', 'dog'), NONE)


def test_numbers_are_positions_only_where_no_class_is_a_number():
  assert labels.indices(column([1, 0, 2]), ('c', 'b', 'a'), NONE).tolist() == [1, 0, 2]
  assert labels.indices(column([1, 10, 2]), ('1', '2', '10'), NONE).tolist() == [0, 2, 1]
  with pytest.raises(UserError, match=r"row 1 \(from 0\): '0'; expected a class of 1, 2, 3, .* no position"):
    labels.indices(column([1, 0, 3]), ('1', '2', '3'), NONE)
  with pytest.raises(UserError, match=r"row 2 \(from 0\): '3'; .*0..2.*they run from 1: subtract 1"):
    labels.indices(column([1, 2, 3]), ('a', 'b', 'c'), NONE)


def test_no_label_is_no_class():
  given = column(['cat', NONE, '-1', None, 'dog', '-1.0'])
  classes = labels.class_names([given], NONE)
  assert classes == ('cat', 'dog')
  assert labels.indices(given, classes, NONE).tolist() == [0, -1, -1, -1, 1, -1]
  numbers = column(['0.0', 'nan', '1.0'])  # as np.savetxt writes it
  assert labels.class_names([numbers], NONE) == ('0', '1')
  assert labels.indices(numbers, ('0', '1'), NONE).tolist() == [0, -1, 1]
  assert labels.class_names([column([0, 9, 1, '9.0'])], '9') == ('0', '1')


@pytest.mark.parametrize(
  ('wanted', 'message'),
  [
    (('a', 'b', 'a'), "'a' comes twice"),
    ((1, 2, '1.0'), "'1' comes twice"),
    (('a', NONE), "'undefined' means no label"),
    ((-1, 1), "'-1' means no label"),
  ],
)
def test_declared_classes_are_checked(wanted, message):
  with pytest.raises(UserError, match=message):
    labels.class_names([], NONE, wanted)


def test_declared_classes_may_be_numbers():
  assert labels.class_names([], NONE, (1, 2, 10)) == ('1', '2', '10')


@pytest.mark.parametrize('text', ['1.5', '-7', 'inf'])
def test_a_number_that_is_no_class_is_named(text):
  with pytest.raises(UserError, match=rf"row 1 \(from 0\).*'{text}'"):
    labels.class_names([column(['0', text])], NONE)


def test_a_number_of_5000_digits_is_a_name_like_any_other():
  long = '7' * 5000
  assert labels.class_names([column(['3', long])], NONE) == ('3', long)


def test_a_decimal_comma_is_that_of_a_whole_number():
  given = column_of(['10,0', '2,0', '1,00'], 'given')
  assert labels.class_names([given], '') == ('1', '2', '10')
  assert labels.indices(column_of([2, 1], 'truth'), ('1', '2', '10'), '').tolist() == [1, 0]
  assert labels.indices(given, ('1', '2', '10'), '').tolist() == [2, 1, 0]


def test_a_name_among_numbers_that_reads_like_no_label_says_how_to_say_so():
  with pytest.raises(UserError, match=r"If 'NA' means that there is no label, set data.unlabeled=undefined,NA\."):
    labels.class_names([column_of(['1', 'NA', '2'], 'given')], 'undefined')


def test_a_name_among_positions_is_the_one_that_is_named():
  message = r"row 2 \(from 0\): 'NA'; expected .* \(if 'NA' means that, set data.unlabeled=undefined,NA\)\."
  with pytest.raises(UserError, match=rf'^truth: {message}$'):
    labels.indices(column_of(['0', '1', 'NA', '0'], 'truth'), ('cat', 'dog'), 'undefined')


def test_a_near_name_is_hinted():
  with pytest.raises(UserError, match=r"row 1 \(from 0\): 'dgo'; .*did you mean 'dog'"):
    labels.indices(column(['cat', 'dgo']), ('cat', 'dog'), NONE)


@pytest.mark.parametrize(
  ('classes', 'text'),
  [
    (('Red', 'blue', 'red'), "'Red' and 'red' differ in case"),
    (('a b', 'a_b', 'c'), "'a b' and 'a_b' differ"),
    (('cat', 'cat.', 'dog'), "'cat' and 'cat.' differ"),
    (('cat', 'dog', '“dog”'), 'differ in case, spaces or marks only'),
    (('cat', 'c\u200bat', 'dog'), r"'cat' and 'c\u200bat' differ"),
    (('cat', 'dog', 'ｄｏｇ'), "'dog' and 'ｄｏｇ' differ"),
    (('cat', 'dog', '\u0441at'), r"'cat' and '\u0441at' differ in case, spaces or marks only, or look alike"),
    (('a', 'b', 'TODO'), "'TODO' (4 images) reads like"),
    (('a', 'b', '—'), "'—' (4 images) reads like"),
    (("Don't know", 'a', 'b'), 'reads like "no label"'),
    (('Undefined', 'a', 'b'), "'Undefined' (4 images) reads like"),
    (('a', 'b', 'unlabeled'), '--config.data.unlabeled=undefined,unlabeled'),
    (('a', 'b', 'nan'), "'nan' (4 images) reads like"),
    (('-', 'N/A', 'a'), "classes '-' (4 images), 'N/A' (4 images) read like"),
    (('?', 'n/a', 'a'), "if they mean that, set --config.data.unlabeled='undefined,?,n/a'"),
    (('test', 'train', 'val'), 'parts of the data set'),
    (('cat', 'cat|dog', 'dog'), "called 'cat|dog': if these are several labels of an image"),
    (('cat', 'cat, dog', 'dog'), "called 'cat, dog': if these are several labels of an image"),
    (('cat', 'dog', 'dog/cat'), "called 'dog/cat': if these are several labels of an image"),
    (('cat', 'cat dog', 'dog'), "called 'cat dog': if these are several labels of an image"),
    (("['cat']", "['dog']", 'owl'), """called "['cat']", "['dog']": are these lists?"""),
    (('a', 'b', '{"choices": ["a", "b"]}'), 'are these lists? Expected one label an image'),
  ],
)
def test_names_that_look_like_slips_are_noted(classes, text):
  found = class_notes(np.arange(12) % 3, classes, NONE)
  assert len(found) == 1 and text in found[0]
  for classes in (('bread', 'naan', 'rice'), ('crane, bird', 'hot dog', 'dog'), ('a/c', 'b&b', 'b')):
    assert class_notes(np.arange(12) % 3, classes, NONE) == []


@pytest.mark.parametrize(
  'classes',
  [('A', 'A+', 'A-'), ('<=50K', '>50K'), ('C', 'C#', 'C++'), ('3:4', '3.4'), ('v1.5', 'v15'), ('कि', 'का', 'कु')],
)
def test_marks_that_tell_classes_apart_are_no_slips(classes):
  assert class_notes(np.arange(4 * len(classes)) % len(classes), classes, NONE) == []


def test_a_part_that_is_missing_is_a_class():
  assert class_notes(np.arange(8) % 2, ('missing', 'present'), NONE) == []


def test_notes_on_many_classes_take_no_time_that_grows_with_their_square():
  names = [f'genus{i} species{i}' for i in range(20_000)]
  start = time.process_time()
  class_notes(np.arange(40_000) % 20_000, names, NONE)
  assert time.process_time() - start < 8  # was 21 s


@pytest.mark.parametrize('cell', ['#N/A', '#NV', '#REF!', '#NAME?', '#DIV/0!', '#ÜBERLAUF!', '########', 'Err:508'])
@pytest.mark.parametrize('names', [('cat', 'dog'), ('0', '1')])
def test_a_formula_that_failed_is_no_class(cell, names):
  found = column([names[0], cell, names[1], cell])
  with pytest.raises(UserError, match=rf"row 1 .*row 3 .*spreadsheet.*set data.unlabeled='?undefined,{cell[0]}"):
    labels.class_names([found], NONE)
  assert labels.class_names([found], f'undefined,{cell}') == names
  assert labels.class_names([found], NONE, (*names, cell)) == (*names, cell)
  assert labels.class_names([column(['#tag', '# 1', 'N/A', '#A'])], NONE) == ('# 1', '#A', '#tag', 'N/A')


def test_a_class_an_image_is_noted_once():
  classes = [f'id{i}' for i in range(60)]
  assert class_notes(np.arange(60), classes, NONE) == [
    '60 of 60 classes have one image each: are the labels names of images?'
  ]
  assert class_notes(np.array([0, 1, 1, 2, 2]), ('rare', 'x', 'y'), NONE) == ["One image alone has the label 'rare'."]
  assert class_notes(np.array([0, 1, 1, 2, 2]), ('mufin', 'muffin', 'y'), NONE) == [
    "One image alone has the label 'mufin'. Is 'mufin' meant to be 'muffin'?"
  ]
  assert class_notes(np.array([0, 1, 2, 2]), ('rare', 'x', 'y'), NONE) == [
    "One image alone has each of the labels 'rare', 'x'."
  ]


def test_a_line_break_in_a_class_name_does_not_break_the_line_of_a_message():
  assert listed(['a\nb', 'c\r\n', 'd']) == r'a\nb, c\r\n, d'
  given = ['a\nb'] * 6 + ['c'] * 6
  probs = np.array([[0.9, 0.1]] * 4 + [[0.1, 0.9]] * 8)
  found = find_label_issues(labels=given, probs=probs, classes=['a\nb', 'c'])
  assert found.flagged.any()
  assert all(line.startswith(('12 images', 'flagged', 'the prob', 'most often')) for line in str(found).splitlines())


def test_several_words_may_mean_no_label():
  found, words = column(['cat', 'undefined', '?', 'dog', 'n/a', '-1']), 'undefined,?, n/a'
  classes = labels.class_names([found], words)
  assert classes == ('cat', 'dog') and labels.indices(found, classes, words).tolist() == [0, -1, -1, 1, -1, -1]
  assert labels.class_names([column(['0', '9', '1', '99'])], '9,99') == ('0', '1')
  with pytest.raises(UserError, match="'n/a' means no label"):
    labels.class_names([found], words, ('cat', 'n/a'))
