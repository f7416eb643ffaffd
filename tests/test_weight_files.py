"""Files of weights: read without PyTorch; damaged and hostile ones end in one sentence, and run nothing."""

import io
import json
import os
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noisyjax.models.weights.read import read
from noisyjax.system.errors import UserError

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
STORAGES = {'<f4': 'FloatStorage', '<f8': 'DoubleStorage', '<f2': 'HalfStorage', '<i8': 'LongStorage'}


def part(value):
  """A value within a pickle: what pickle writes of it, without header and end."""
  return pickle.dumps(value, 2)[2:-1]


def called(module, name, *arguments):
  """A call within a pickle; the arguments are pickled already."""
  return f'c{module}\n{name}\n('.encode() + b''.join(arguments) + b'tR'


def tensor(key, array, shape=None, strides=None, offset=0, legacy=False, count=None):
  """A tensor within a pickle, as PyTorch's `_rebuild_tensor_v2` is called."""
  storage = 'BFloat16Storage' if array.dtype == BFLOAT16 else STORAGES[array.dtype.str]
  shape = array.shape if shape is None else shape
  strides = tuple(s // array.itemsize for s in array.strides) if strides is None else strides
  count = array.size if count is None else count
  facts = part('storage') + f'ctorch\n{storage}\n'.encode() + part(key) + part('cpu') + part(count)
  place = b'(' + facts + (b'N' if legacy else b'') + b'tQ'
  numbers = part(offset) + part(tuple(shape)) + part(tuple(strides))
  return called('torch._utils', '_rebuild_tensor_v2', place, numbers, b'\x89', called('collections', 'OrderedDict'))


def ordered(entries):
  """An OrderedDict within a pickle."""
  return called('collections', 'OrderedDict') + b'(' + b''.join(part(k) + v for k, v in entries.items()) + b'u'


def zipped(path, body, storages, compression=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, 'w', compression) as file:
    file.writestr('net/data.pkl', b'\x80\x02' + body + b'.')
    file.writestr('net/byteorder', 'little')
    for key, array in storages.items():
      file.writestr(f'net/data/{key}', array.tobytes())
  return path


def legacy(path, body, storages):
  heads = (0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})
  numbers = b''.join(len(a.ravel()).to_bytes(8, 'little') + a.tobytes() for a in storages.values())
  path.write_bytes(
    b''.join(pickle.dumps(v, 2) for v in heads) + b'\x80\x02' + body + b'.' + pickle.dumps([*storages], 2) + numbers
  )
  return path


def arrays():
  values = np.arange(12.0).reshape(3, 4) / 8 - 1
  kinds = {'single': '<f4', 'double': '<f8', 'half': '<f2', 'brain': BFLOAT16, 'count': '<i8'}
  return {name: (8 * values if kind == '<i8' else values).astype(kind) for name, kind in kinds.items()}


@pytest.mark.parametrize('write', [zipped, legacy])
def test_tensors_of_every_width_become_float32(tmp_path, write):
  kept = arrays()
  entries = {name: tensor(name, a, legacy=write is legacy) for name, a in kept.items()}
  entries['bn.num_batches_tracked'] = entries['count']
  found = read(write(tmp_path / 'net.pth', ordered(entries), kept))
  assert found.keys() == kept.keys()
  for name, array in kept.items():
    assert found[name].dtype == np.float32
    assert_array_equal(found[name], array.astype(np.float32))


def test_a_view_is_read_as_it_lies_in_its_storage(tmp_path):
  whole = np.arange(12, dtype='<f4')
  entries = {'view': tensor('0', whole, (2, 3), (1, 4), offset=1), 'all': tensor('0', whole)}
  found = read(zipped(tmp_path / 'net.pt', ordered(entries), {'0': whole}))
  assert_array_equal(found['view'], [[1, 5, 9], [2, 6, 10]])
  assert_array_equal(found['all'], whole)


def test_weights_are_found_inside_a_training_checkpoint(tmp_path):
  value = np.float32([1, 2])
  state = ordered({'module.fc.bias': tensor('0', value)})
  found = read(zipped(tmp_path / 'c.pth', ordered({'epoch': part(3), 'state_dict': state}), {'0': value}))
  assert_array_equal(found['fc.bias'], value)


@pytest.mark.parametrize('write', [zipped, legacy])
@pytest.mark.parametrize(
  'module, name', [(os.system.__module__, 'system'), ('builtins', 'eval'), ('torch.nn.modules.linear', 'Linear')]
)
def test_a_pickle_that_would_run_code_is_refused_by_name_and_runs_nothing(tmp_path, write, module, name):
  marker = tmp_path / 'marker'
  order = part(f'touch {marker}' if name == 'system' else f'open({str(marker)!r}, "w")')
  path = write(tmp_path / 'net.pth', ordered({'fc.bias': called(module, name, order)}), {})
  with pytest.raises(UserError, match=f'net.pth: refers to {module}.{name}.*no code was run'):
    read(path)
  assert not marker.exists()


@pytest.mark.parametrize(
  'body, said',
  [
    (tensor('0', np.zeros(4, '<f4'), (5,), (1,)), 'reaches beyond its 4 numbers'),
    (tensor('0', np.zeros(4, '<f4'), (2,), (1,), offset=3), 'reaches beyond'),
    (tensor('0', np.zeros(4, '<f4'), (10**9,), (0,)), 'reaches beyond'),
    (tensor('0', np.zeros(4, '<f4'), (2,), (-1,)), 'reaches beyond'),
    (tensor('0', np.zeros(4, '<f4'), (2, 2), (1,)), 'reaches beyond'),
    (tensor('0', np.zeros(4, '<f4'), count=5), '4 numbers instead of 5'),
    (tensor('1', np.zeros(4, '<f4')), "There is no item named 'net/data/1'"),
    (part(bytearray(b'bytes')), 'refers to __builtin__.bytearray'),
    (b'r\xff\xff\xff\xff', 'IndexError'),  # a memory of four billion places
    (part({1, 2}), 'refers to __builtin__.set'),
  ],
)
def test_what_does_not_fit_its_file_is_refused(tmp_path, body, said):
  path = zipped(tmp_path / 'net.pth', ordered({'w': body}), {'0': np.zeros(4, '<f4')})
  with pytest.raises(UserError, match=said):
    read(path)


def test_a_dictionary_that_holds_itself_is_refused(tmp_path):
  circle = b'}q\x09' + part('w') + b'h\x09s'
  with pytest.raises(UserError, match='more than 20 deep'):
    read(zipped(tmp_path / 'net.pth', circle, {}))


def test_a_compressed_zip_is_refused_before_it_is_unpacked(tmp_path):
  value = np.zeros(4, '<f4')
  with pytest.raises(UserError, match='compressed'):
    read(zipped(tmp_path / 'net.pth', ordered({'w': tensor('0', value)}), {'0': value}, zipfile.ZIP_DEFLATED))


def safetensors(path, entries, numbers):
  header = json.dumps(entries).encode()
  path.write_bytes(len(header).to_bytes(8, 'little') + header + numbers)
  return path


def test_safetensors_and_npz_hold_the_same(tmp_path):
  kept = {name: a for name, a in arrays().items() if name != 'brain'}
  np.savez(tmp_path / 'net.npz', **kept)
  names = {'single': 'F32', 'double': 'F64', 'half': 'F16', 'brain': 'BF16', 'count': 'I64'}
  entries, numbers = {'__metadata__': {'format': 'pt'}}, b''
  for name, a in arrays().items():
    place = [len(numbers), len(numbers) + a.nbytes]
    entries[name] = {'dtype': names[name], 'shape': list(a.shape), 'data_offsets': place}
    numbers += a.tobytes()
  both = read(safetensors(tmp_path / 'net.safetensors', entries, numbers)), read(tmp_path / 'net.npz')
  for name, a in arrays().items():
    for found in both:
      if name in found:
        assert_array_equal(found[name], a.astype(np.float32))
  assert both[0].keys() == arrays().keys() and both[1].keys() == kept.keys()


@pytest.mark.parametrize(
  'change, said',
  [
    ({'shape': [3]}, 'shape'),
    ({'data_offsets': [0, 400]}, 'bytes 0 to 400 of 8'),
    ({'dtype': 'F8_E4M3'}, 'F8_E4M3'),
    ({'more': 1}, 'more'),
  ],
)
def test_safetensors_that_contradict_themselves_are_refused(tmp_path, change, said):
  entry = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]} | change
  with pytest.raises(UserError, match=f'net.safetensors.*{said}'):
    read(safetensors(tmp_path / 'net.safetensors', {'w': entry}, bytes(8)))


@pytest.mark.parametrize(
  'value, said',
  [
    (np.array(['a']), 'w is an array of type <U1; expected numbers'),
    (np.ones(2, complex), 'w is an array of type complex128'),
    (np.zeros(2, [('a', 'f4')]), 'w is an array of type'),
    (np.array([1, np.nan]), 'w: 1 of 2 numbers are not finite'),
    (np.array([1e300, 1]), 'w: 1 of 2 numbers are not finite in float32'),
  ],
)
def test_a_tensor_that_cannot_be_a_weight_is_named(tmp_path, value, said):
  np.savez(tmp_path / 'net.npz', w=value)
  with pytest.raises(UserError, match=f'net.npz: {said}'):
    read(tmp_path / 'net.npz')


def test_a_file_cut_anywhere_is_one_error(tmp_path):
  value = np.arange(6, dtype='<f4')
  entries = ordered({'w': tensor('0', value)})
  old = ordered({'w': tensor('0', value, legacy=True)})
  whole = [
    zipped(tmp_path / 'a.pth', entries, {'0': value}),
    legacy(tmp_path / 'b.pth', old, {'0': value}),
    safetensors(tmp_path / 'c.safetensors', {'w': {'dtype': 'F32', 'shape': [6], 'data_offsets': [0, 24]}}, bytes(24)),
  ]
  np.savez(tmp_path / 'd.npz', w=value)
  for path in (*whole, tmp_path / 'd.npz'):
    data = path.read_bytes()
    for length in range(0, len(data), 1 + len(data) // 40):
      path.write_bytes(data[:length])
      with pytest.raises(UserError, match=path.name):
        read(path)


def test_two_names_for_one_tensor_are_refused(tmp_path):
  np.savez(tmp_path / 'w.npz', **{'module.w': np.zeros(2), 'w': np.ones(2)})
  with pytest.raises(UserError, match=r"holds both 'module\.w' and 'w'; expected one of them"):
    read(tmp_path / 'w.npz')


def test_other_files_are_named(tmp_path):
  with pytest.raises(UserError, match='there is no file'):
    read(tmp_path / 'none.pth')
  (tmp_path / 'net.onnx').write_bytes(b'x')
  with pytest.raises(UserError, match=r"ends in '.onnx'; expected one of: .pth, .pt, .safetensors, .npz"):
    read(tmp_path / 'net.onnx')
  np.savez(tmp_path / 'o.npz', w=np.array([{}], object), allow_pickle=True)
  with pytest.raises(UserError, match=r'o\.npz'):
    read(tmp_path / 'o.npz')
  buffer = io.BytesIO()
  np.savez(buffer)
  (tmp_path / 'empty.npz').write_bytes(buffer.getvalue())
  with pytest.raises(UserError, match='found no named tensors'):
    read(tmp_path / 'empty.npz')
