"""Pickles of plain data are read, of every protocol and from Python 2; hostile ones are refused and run nothing."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noisyjax.system import pickles
from noisyjax.system.errors import UserError

# A batch of CIFAR as Python 2 and its NumPy wrote it: {'data': uint8 [[1, 254]], 'labels': [3], 'batch_label': 'b'}.
PYTHON_2 = (
  b'\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x01bU\x06labelsq\x03]q\x04K\x03aU\x04dataq\x05cnumpy.core.multiarray\n'
  b'_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x09U\x02u1'
  b'K\x00K\x01\x87Rq\x0a(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\xfetbu.'
)


def test_what_python_2_wrote():
  found = pickles.load(PYTHON_2)
  assert_array_equal(found.pop('data'), np.array([[1, 254]], np.uint8))
  assert found == {'batch_label': 'b', 'labels': [3]}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_kind_and_protocol(protocol):
  content = {
    'fortran': np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
    'half': np.arange(3, dtype=np.float16),
    'bool': np.array([True, False]),
    'text': np.array(['a', 'bcd']),
    'bytes': np.array([b'a', b'bcd']),
    'objects': np.array([{'x': np.arange(2)}, None, 'y'], object),
    'none': np.zeros((0, 4)),
    'scalar': [np.int64(-3), np.float32(0.5)],
    'plain': [(1, 2.5), None, 'é', True, b'z', 2**70],
  }
  found = pickles.load(pickle.dumps(content, protocol))
  for key in ('fortran', 'half', 'bool', 'text', 'bytes', 'none'):
    assert_array_equal(found[key], content[key])
    assert found[key].dtype == content[key].dtype
  assert_array_equal(found['objects'][0]['x'], [0, 1])
  assert found['objects'][1:].tolist() == [None, 'y']
  assert found['scalar'] == [-3, 0.5] and found['plain'] == content['plain']


class Calls:
  """An object whose pickle is a call."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize(
  'hostile, said',
  [
    (lambda file: Calls(open, str(file), 'w'), r'refers to (_io|io)\.open'),
    (lambda file: Calls(eval, f'open({str(file)!r}, "w")'), r'refers to (builtins|__builtin__)\.eval'),
    (lambda file: Calls(np.fromfile, str(file)), r'refers to numpy.*\.fromfile'),
    (lambda file: Calls(np.load, str(file)), r'refers to numpy.*\.load'),
    (lambda file: Calls(getattr, 'x', 'upper'), r'refers to (builtins|__builtin__)\.getattr'),
    (lambda file: {'deep': [np.arange(2), Calls(exec, f'open({str(file)!r}, "w")')]}, r'refers to \w+\.exec'),
  ],
)
@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_a_call_is_refused_by_name_and_runs_nothing(tmp_path, hostile, said, protocol):
  data = pickle.dumps(hostile(tmp_path / 'sprung'), protocol)
  with pytest.raises(pickles.Refused, match=said):
    pickles.load(data)
  assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(
  'body, error, said',
  [
    # The state of a function of the allow-list: Python's unpickler would set its attributes.
    (b'c_codecs\nencode\n}X\x01\x00\x00\x00xK\x01sb', pickles.Refused, 'sets the state of a function'),
    (b'cnumpy\ndtype\nNN}\x86b', pickles.Refused, 'sets the state of a'),
    (b'c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R', pickles.Refused, "encodes a str as 'rot13'"),
    (b'cnumpy\ndtype\nX\x09\x00\x00\x00u1,(9**9)\x85R', pickles.Refused, 'an array of type'),
    (b'cnumpy\ndtype\nX\x05\x00\x00\x00S9999\x85R', pickles.Refused, 'contains a _Type'),
    (b'\x96\xff\xff\xff\xff\xff\xff\xff\x0f', Exception, None),  # a bytearray of an exabyte
    (b'c\x80\x02\n\n', Exception, None),
  ],
)
def test_what_only_a_hostile_pickle_says(body, error, said):
  with pytest.raises(error, match=said):
    pickles.load(b'\x80\x05' + body + b'.')


def state(shape, content, code='u1', structure=b'NNN'):
  """A pickle of an array whose shape, bytes and type may contradict one another."""
  text = lambda value: pickle.dumps(value, 2)[2:-1]
  kind = b'cnumpy\ndtype\n' + text(code) + b'\x89\x88\x87R(K\x03X\x01\x00\x00\x00|' + structure + b'K\xffK\xffK\x00tb'
  head = b'\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R'
  return head + b'(K\x01' + text(shape) + kind + b'\x89C' + bytes([len(content)]) + content + b'tb.'


@pytest.mark.parametrize(
  'made, said',
  [
    (state((2,), b'ab'), None),
    (state((3,), b'ab'), 'does not fit its bytes'),
    (state((-1, -2), b'ab'), 'an unknown form'),
    (state((2**62, 4), b'ab'), 'does not fit its bytes'),
    (state([2], b'ab'), 'an unknown form'),
    (state((2,), b'ab', 'O8'), 'without a list'),
    (state((2,), b'ab', 'V1'), "type 'V1'"),
    (state((2,), b'ab', structure=b'N)}'), 'a structured type'),
  ],
)
def test_an_array_fits_its_bytes(made, said):
  if said is None:
    assert_array_equal(pickles.load(made), [97, 98])
    return
  with pytest.raises((pickles.Refused, ValueError), match=said):
    pickles.load(made)


def test_lists_that_hold_themselves_or_one_another_end():
  inner: list = []
  inner.append(inner)
  with pytest.raises(pickles.Refused, match='nested more than'):
    pickles.load(pickle.dumps(inner))
  doubled: list = []
  for _ in range(18):  # 2 ** 18 paths to one list
    doubled = [doubled, doubled]
  assert len(pickles.load(pickle.dumps(doubled))) == 2


def test_nothing_is_imported_by_a_name():
  assert 'antigravity' not in sys.modules
  with pytest.raises(pickles.Refused, match='refers to antigravity'):
    pickles.load(b'\x80\x02cantigravity\nfly\n.')
  assert 'antigravity' not in sys.modules


@pytest.mark.parametrize('body', [b'', b'\x80\x02}q.'])
def test_a_pickle_that_is_cut_ends_too_early(body):
  said = r'f.pt: cannot be read as a PyTorch file \(it ends too early\)'
  with pytest.raises(UserError, match=said), pickles.reading('f.pt', 'a PyTorch file', 'weights'):
    pickles.load(body)
