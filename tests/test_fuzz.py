"""Fuzzing: thousands of seeded inputs either succeed or raise one UserError.

`make fuzz` runs many times as many; NOISYJAX_FUZZ is the factor and NOISYJAX_FUZZ_SEED the seed.
"""

import contextlib
import io
import json
import os
import warnings
import zipfile

import numpy as np
import pytest
from absl import flags
from PIL import Image

from noisyjax.cli import main, parse
from noisyjax.config import defaults, recipe
from noisyjax.config.check import checked
from noisyjax.config.flat import flat
from noisyjax.config.override import override, set_field
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import resolved
from noisyjax.data import dataset, decode, files, label_file, labels, match, noise, pixels, row_spec, split
from noisyjax.data.column import column_of
from noisyjax.data.training import TrainData
from noisyjax.experiments import grid
from noisyjax.system.errors import UserError

FACTOR = int(os.environ.get('NOISYJAX_FUZZ', '1'))
SEED = int(os.environ.get('NOISYJAX_FUZZ_SEED', '0'))

# What goes wrong in texts: numbers that are none, other digits, controls, brackets, quotes, words of the grammar.
TEXTS = (
  '',
  ' ',
  '0',
  '1',
  '-1',
  '2',
  '3.0',
  '1e5',
  '1e400',
  'nan',
  'inf',
  '9' * 40,
  '9' * 5000,
  '1²2',
  '٣',
  '½',
  '\ufeff',
  '\x1b[2J',
  '\0',
  '\udcff',
  'é',
  '🐈',
  '=1+1',
  "'",
  '"',
  '(',
  ')',
  '[',
  '{',
  '((((((',
  '(' * 500,
  ',',
  ',,',
  ':',
  '0:5',
  '0:5,7:',
  '5:0',
  '@',
  '@none',
  '~',
  '~nobody/x',
  '/',
  '..',
  'a' * 300,
  'a' * 5000,
  'true',
  'None',
  'cat',
  'undefined',
  'a,b,c',
  '1,2,3',
  "('a', 'b')",
  '[1, 2',
  '{"a": 1}',
  'lambda: 1',
  '__import__("os")',
  '\n',
  '\r\n',
  '\t',
  ';',
  '|',
  '%s',
  '{}',
  '.py',
  './x.py',
  'cifar10',
  '10 percent',
  '0 steps',
  '(?P<',
  '*',
)
VALUES = (
  None,
  True,
  False,
  0,
  1,
  -1,
  2**31,
  2**63,
  2**64,
  -(2**70),
  10**400,
  0.0,
  -0.0,
  0.5,
  1.5,
  -3.0,
  1e-300,
  1e39,
  1e300,
  float('nan'),
  float('inf'),
  -float('inf'),
  1j,
  b'x',
  (),
  [],
  {},
  set(),
  object(),
  int,
  np.float32(0.5),
  np.int64(3),
  np.nan,
  np.array(3),
  np.array([1, 2]),
  np.array([]),
  (None,),
  (1, 2, None),
  ('a', 1),
  ((),),
  ((1, 2), (3,)),
  [[1], 2],
  ('crop', 'crop'),
  (('naive', 1, {}),),
  (('naive', 0, {}),),
  (('naive', 1, {'optim.lr': None}),),
  (('naive',),),
  (('naive', 1, {'epochs': 3}),),
  ((1, 2, 3),),
  ((9, 1), (2, 0)),
  {'a': 1},
  range(3),
  (float('nan'),),
  (10**30,),
)


def rng_of(kind: str, i: int) -> np.random.Generator:
  return np.random.default_rng([SEED, *kind.encode(), i])


def one(rng: np.random.Generator, choices):
  return choices[int(rng.integers(len(choices)))]


def fuzzed(kind: str, count: int, case) -> None:
  """Runs `case(rng)` for each input; only an end or a UserError of some words will do."""
  bad, ended = [], 0
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # those of the cases themselves
    for i in range(count * FACTOR):
      try:
        case(rng_of(kind, i))
        ended += 1
      except UserError as error:
        if not str(error).strip() or len(str(error)) > 20000:
          bad.append(f'{kind} {i}: a message of {len(str(error))} characters')
      except Exception as error:
        bad.append(f'{kind} {i}: {type(error).__name__}: {str(error)[:200]}')
  assert not bad, f'{len(bad)} of {count * FACTOR}: ' + '\n'.join(bad[:10])
  assert ended, 'not one input was fit for use: the fuzz looks at nothing behind the first check'


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
  """Flips, cuts, repeats or inserts a few bytes."""
  data = bytearray(data)
  for _ in range(int(rng.integers(0, 4))):
    at = int(rng.integers(len(data) + 1))
    kind = int(rng.integers(5))
    if kind == 0 and at < len(data):
      data[at] = int(rng.integers(256))
    elif kind == 1:
      del data[at:]
    elif kind == 2:
      data[at:at] = rng.bytes(int(rng.integers(1, 9)))
    elif kind == 3:
      del data[at : at + int(rng.integers(1, 9))]
    else:
      data[at:at] = data[: int(rng.integers(1, 40))]
  return bytes(data)


@pytest.fixture(scope='module')
def config():
  return defaults.get_config()


def test_config_fields(config):
  known = list(flat(config))
  images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
  data = dataset.make(images, np.arange(60) % 3, ('0', '1', '2'), verified=np.arange(60) % 3)

  def case(rng):
    own = config.copy_and_resolve_references()
    for _ in range(int(rng.integers(1, 3))):
      field = one(rng, known)
      value = one(rng, TEXTS if rng.random() < 0.5 else VALUES)
      if rng.random() < 0.5:
        override(own, {field: value}, 'fuzz')
      else:  # as a recipe may
        with contextlib.suppress(OverflowError):  # which is then told by its line
          set_field(own, field, value)
    own = checked(own)
    resolved(Plan.of(own))
    split.split(data, data.given, own.data)
    noise.inject(data.given, own.noise, data.images, data.classes)
    Plan.of(own).engine_phases(TrainData(data.images, data.given, data.verified, 3))

  fuzzed('config', 500, case)


def test_flags_and_grids(config):
  known = [*flat(config), 'optim', 'nothing', '', 'optim.lr.x', '.', 'model.name.name']

  def case(rng):
    field, text = one(rng, known), one(rng, TEXTS)
    own, kind = config.copy_and_resolve_references(), int(rng.integers(3))
    if kind == 0:
      point = next(grid.grid([f'{field}={text}']))
      override(own, point, 'fuzz')
      grid.name(point)
    elif kind == 1:
      arguments = [one(rng, (f'--config.{field}={text}', f'--config.{field}', f'--noconfig.{field}', text)), text]
      override(own, recipe.take_fields(arguments)[1], 'fuzz')
    else:
      flag = one(
        rng, ('workdir', 'images', 'folds', 'format', 'rerun', 'skip_bad', 'grid', 'config', 'folder', 'flagfile')
      )
      try:
        parse.parse([one(rng, ('train', 'predict', 'find', text)), f'--{flag}={text}'], main.COMMANDS)
      finally:
        flags.FLAGS.unparse_flags()

  fuzzed('flags', 300, case)


def label_text(rng) -> bytes:
  """A small label file of some form, with cells that should not be there."""
  count = int(rng.integers(0, 8))
  cell = lambda usual: usual if rng.random() < 0.9 else one(rng, TEXTS)
  form = int(rng.integers(6))
  names = [cell(f'{i:02d}.png') for i in range(count)]
  values = [cell(one(rng, ('cat', 'dog', '0', '1', '2.0', 'undefined'))) for _ in range(count)]
  separator = one(rng, (',', ';', '\t', '|', ' '))
  end = one(rng, ('\n', '\r\n', '\r'))
  if form == 0:
    rows = values
  elif form == 1:
    rows = [separator.join(('image', 'label')), *(separator.join(pair) for pair in zip(names, values))]
  elif form == 2:
    rows = [separator.join(pair) for pair in zip(names, values)]
  elif form == 3:
    rows = [json.dumps({'image': name, 'label': value}) for name, value in zip(names, values)]
  elif form == 4:
    rows = [
      json.dumps([{'image': name, 'label': one(rng, (value, 3, None, [1], 1.5))} for name, value in zip(names, values)])
    ]
  else:
    rows = ['image,a,b', *(f'{name},{one(rng, ("0", "1"))},{one(rng, ("0", "1", "x"))}' for name in names)]
  encoding = one(rng, ('utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'latin-1'))
  return mutated(rng, end.join(rows).encode(encoding, 'replace' if encoding == 'latin-1' else 'surrogatepass'))


def test_label_files(tmp_path):
  names = [f'{i:02d}.png' for i in range(8)]

  def case(rng):
    path = tmp_path / f'labels{one(rng, (".csv", ".txt", ".tsv", ".json", ".jsonl", "", ".CSV"))}'
    path.write_bytes(label_text(rng))
    column = label_file.read_column(path)
    classes = labels.class_names([column], 'undefined', one(rng, ((), (), ('cat', 'dog'), (1, 2))))
    labels.indices(match.aligned(column, names, tmp_path), classes, 'undefined')

  fuzzed('labels', 500, case)


def odd_array(rng) -> np.ndarray:
  """An array of some type and shape that someone might call images or labels."""
  shape = one(
    rng,
    (
      (),
      (0,),
      (6,),
      (6, 1),
      (6, 3),
      (6, 8, 8),
      (6, 8, 8, 1),
      (6, 8, 8, 3),
      (6, 3, 8, 8),
      (6, 8, 8, 5),
      (0, 8, 8, 3),
      (1, 6),
      (6, 0, 8, 3),
      (2, 6),
      (6, 64),
    ),
  )
  kind = one(rng, ('u1', 'i1', 'u2', 'i4', 'i8', 'u8', 'f2', 'f4', 'f8', '?', 'U3', 'S3', 'c8', 'M8[s]', 'O'))
  base = rng.integers(0, one(rng, (2, 3, 200, 256)), shape)
  if kind == 'O':
    out = np.empty(shape, object)
    out[...] = one(rng, (None, 'cat', 1.5, [1]))
    return out
  with np.errstate(all='ignore'):
    array = base.astype(kind) if kind != 'M8[s]' else base.astype('i8').view('i8').astype(kind)
  if array.dtype.kind == 'f' and array.size and rng.random() < 0.5:
    array.flat[0] = one(rng, (np.nan, np.inf, -1, 0.5, 1e30))
  return array


def test_arrays_of_images_and_labels():
  def case(rng):
    if rng.random() < 0.5:
      pixels.normalised(odd_array(rng))
    else:
      values = odd_array(rng)
      values = (
        values.tolist()
        if rng.random() < 0.3
        else one(rng, (values, values, 'cat', 7, None, {}, [None] * 6, TEXTS[:30]))
      )
      column = column_of(values, 'labels')
      labels.indices(column, labels.class_names([column], 'undefined'), 'undefined')

  fuzzed('arrays', 500, case)


def test_npz_files(tmp_path, config):
  images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)

  def case(rng):
    arrays = {'images': images, 'labels': np.arange(6) % 2}
    for key in rng.permutation(
      ['images', 'labels', 'verified', 'true', 'classes', 'names', 'test', 'x_train', 'y_train']
    )[:2]:
      if rng.random() < 0.7:
        arrays[str(key)] = odd_array(rng)
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v.dtype.kind != 'O' or rng.random() < 0.2})
    (tmp_path / 'd.npz').write_bytes(mutated(rng, buffer.getvalue()) if rng.random() < 0.5 else buffer.getvalue())
    own = config.copy_and_resolve_references()
    own.data.source, own.data.path, own.data.verified = 'npz', str(tmp_path / 'd.npz'), ''
    data, truth = dataset.load(own.data)
    own.data.test_labels = 'given'
    split.split(data, truth, own.data)

  fuzzed('npz', 300, case)


def picture(rng, form: str) -> bytes:
  side = int(rng.integers(1, 12))
  image = Image.fromarray(rng.integers(0, 256, (side, 9, 3), dtype=np.uint8))
  mode = one(rng, ('RGB', 'L', 'P', '1', 'CMYK', 'RGBA'))
  buffer = io.BytesIO()
  try:
    image.convert(mode).save(buffer, form)
  except (OSError, ValueError):  # a form that has no such mode
    buffer = io.BytesIO()
    image.save(buffer, form)
  return buffer.getvalue()


FORMS = ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM')


def test_image_bytes():
  def case(rng):
    data = [mutated(rng, picture(rng, one(rng, FORMS))) for _ in range(2)]
    decode.decode_all(['a', 'b'], data.__getitem__, one(rng, (0, 8)), one(rng, decode.FITS), one(rng, (1, 3)))

  fuzzed('images', 300, case)


def test_archives(tmp_path):
  def case(rng):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', one(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
      for i in range(int(rng.integers(0, 4))):
        name = one(
          rng,
          (
            f'{i}.png',
            f'cat/{i}.png',
            f'./a/{i}.jpg',
            f'a\\{i}.PNG',
            f'/{i}.png',
            f'../{i}.png',
            f'é{i}.png',
            f'1²{i}.png',
            f'{i}',
            '.DS_Store',
            '__MACOSX/._x.png',
            'a/',
            '=1.png',
            '\x1b[2J.png',
          ),
        )
        archive.writestr(name, picture(rng, one(rng, FORMS[:3])))
    path = tmp_path / one(rng, ('d.zip', 'd', 'd.tar', 'd.png'))
    path.write_bytes(mutated(rng, buffer.getvalue()) if rng.random() < 0.8 else buffer.getvalue())
    with files.open_images(path) as found:
      found.decoded(8, 'crop', 3, use_cache=False)

  fuzzed('archives', 200, case)


def test_splits(tmp_path):
  ids = np.array([f'{i:064d}' for i in range(20)])
  path = tmp_path / 'rows.txt'

  def case(rng):
    text = one(
      rng, (one(rng, TEXTS), f'{one(rng, TEXTS)}:{one(rng, TEXTS)}', f'@{path}', '0.5', '0:9', ',', f'@{tmp_path}')
    )
    path.write_bytes(mutated(rng, one(rng, (b'1\n2\n3\n', b'0\r\n7\r\n', '\n'.join(map(str, ids[:3])).encode()))))
    row_spec.parse('data.val', text, ids)

  fuzzed('splits', 300, case)
