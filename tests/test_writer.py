import contextlib
import csv
import io
import json
import os
import resource
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noisyjax.data import cache, label_file
from noisyjax.system import lock, parquet, storage
from noisyjax.system.errors import UserError


@contextlib.contextmanager
def full_disk():
  """The kernel refuses any file beyond 64 bytes, after writing the first 64: what a full disk does.

  For the refused write alone: pytest's own output may go to a file, too.
  """
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file_whole(tmp_path):
  path = tmp_path / 'result.json'
  storage.write_json(path, {'old': 1})
  with full_disk(), pytest.raises(UserError, match=r'result\.json: cannot write this file: File too large'):
    storage.write_json(path, {'new': 'x' * 200})
  assert storage.read_json(path) == {'old': 1}
  assert [p.name for p in tmp_path.iterdir()] == ['result.json']


def test_a_kill_between_write_and_rename_leaves_the_old_file_whole(tmp_path, monkeypatch):
  path = tmp_path / 'config.json'
  storage.write_text(path, 'old')

  def killed(_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'fsync', killed)
  with pytest.raises(KeyboardInterrupt):
    storage.write_text(path, 'new')
  assert path.read_text() == 'old'


@pytest.mark.parametrize('write', [lambda p: storage.write_text(p, 'x'), lambda p: storage.JsonLines(p).append({})])
def test_a_folder_that_takes_no_files_is_named(tmp_path, write):
  with pytest.raises(UserError, match=r'missing/a\.json: cannot write this file: there is no folder .*missing'):
    write(tmp_path / 'missing' / 'a.json')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write to read-only folders')
def test_a_read_only_folder_is_named(tmp_path):
  tmp_path.chmod(0o500)
  with pytest.raises(UserError, match='Permission denied'):
    storage.write_text(tmp_path / 'a', 'x')


def test_a_new_file_follows_the_umask(tmp_path):
  before = os.umask(0o022)
  try:
    storage.write_text(tmp_path / 'a', 'x')
  finally:
    os.umask(before)
  assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o644


def test_floats_read_back_bit_for_bit(tmp_path):
  rng = np.random.default_rng(0)
  bits = rng.integers(0, 2**63, 2000, np.int64).view(np.float64)
  doubles = bits[np.isfinite(bits)]
  singles = rng.normal(size=100).astype(np.float32)
  log = storage.JsonLines(tmp_path / 'm.jsonl')
  log.append({'doubles': doubles, 'singles': singles, 'one': np.float32(0.1), 'device': jnp.float32(0.1)})
  (record,) = storage.read_lines(log.path)
  assert np.array(record['doubles']).tobytes() == doubles.tobytes()
  assert np.array(record['singles'], np.float32).tobytes() == singles.tobytes()
  assert record['one'] == record['device'] == float(np.float32(0.1))


def test_what_is_not_a_number_is_null(tmp_path):
  values = [
    float('nan'),
    np.float32('inf'),
    np.array([1.0, -np.inf]),
    np.bool_(True),
    np.int64(3),
    (),
    tmp_path,
  ]
  storage.write_json(tmp_path / 'a.json', {'v': values, 3: None})
  strict = json.loads((tmp_path / 'a.json').read_text(), parse_constant=pytest.fail)
  assert strict == {'v': [None, None, [1.0, None], True, 3, [], str(tmp_path)], '3': None}
  with pytest.raises(TypeError):
    storage.write_json(tmp_path / 'a.json', {'v': object()})


def test_lines_survive_odd_text(tmp_path):
  log = storage.JsonLines(tmp_path / 'm.jsonl')
  records = [{'name': 'a\nb\r\u2028吉\udcff'}, {'name': ''}]
  for record in records:
    log.append(record)
  assert storage.read_lines(log.path) == records


def test_a_half_written_last_line_is_ignored_then_removed(tmp_path):
  path = tmp_path / 'm.jsonl'
  path.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3')
  before = path.read_bytes()
  assert storage.read_lines(path) == [{'epoch': 1}, {'epoch': 2}]
  assert path.read_bytes() == before  # reading touches nothing: the writer may be at work
  storage.JsonLines(path).append({'epoch': 3})
  assert storage.read_lines(path) == [{'epoch': 1}, {'epoch': 2}, {'epoch': 3}]


def test_every_cut_of_a_log_reads_as_a_prefix(tmp_path):
  path = tmp_path / 'm.jsonl'
  records = [{'epoch': i, 'loss': i / 3} for i in range(3)]
  log = storage.JsonLines(path)
  for record in records:
    log.append(record)
  data = path.read_bytes()
  for cut in range(len(data)):
    path.write_bytes(data[:cut])
    assert storage.read_lines(path) == records[: data[:cut].count(b'\n')]


def test_a_log_on_a_full_disk_can_be_continued(tmp_path):
  log = storage.JsonLines(tmp_path / 'm.jsonl')
  log.append({'epoch': 1})
  with full_disk(), pytest.raises(UserError, match=r'm\.jsonl: cannot write'):
    log.append({'epoch': 2, 'text': 'x' * 100})
  log = storage.JsonLines(log.path)
  log.append({'epoch': 2})
  assert storage.read_lines(log.path) == [{'epoch': 1}, {'epoch': 2}]


def test_damage_within_a_log_is_named_with_its_line(tmp_path):
  (tmp_path / 'm.jsonl').write_bytes(b'{}\nnope\n{}\n')
  with pytest.raises(UserError, match=r'm\.jsonl, line 2: not valid JSON'):
    storage.read_lines(tmp_path / 'm.jsonl')
  with pytest.raises(UserError, match=r'gone\.jsonl: cannot read'):
    storage.read_lines(tmp_path / 'gone.jsonl')


def test_truncate_keeps_the_first_lines_and_returns_them(tmp_path):
  path = tmp_path / 'm.jsonl'
  path.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3')
  assert storage.truncate(path, 5) == [{'epoch': 1}, {'epoch': 2}]
  assert path.read_bytes() == b'{"epoch": 1}\n{"epoch": 2}\n'
  assert storage.truncate(path, 1) == [{'epoch': 1}]
  assert path.read_bytes() == b'{"epoch": 1}\n'
  assert storage.truncate(path, 0) == [] and path.read_bytes() == b''
  assert storage.truncate(tmp_path / 'none', 3) == []


def test_parquet_round_trip(tmp_path):
  columns = {
    'row': np.arange(3),
    'given': np.array([0, -1, 2], np.int32),
    'name': np.array(['a', 'ü', '']),
    'confidence': np.array([0.1, np.nan, np.inf], np.float32),
    'chosen': np.array([True, False, True]),
  }
  notes = {'fingerprint': 'f00', 'classes': ('a', 'b'), 'rate': 0.1}
  parquet.write(tmp_path / 's.parquet', columns, notes)
  back, read_notes = parquet.read(tmp_path / 's.parquet')
  assert list(back) == list(columns)
  for name, column in columns.items():
    np.testing.assert_array_equal(back[name], column)
    assert back[name].dtype == column.dtype
  assert read_notes == {'fingerprint': 'f00', 'classes': ['a', 'b'], 'rate': 0.1}


def test_a_damaged_parquet_file_is_named(tmp_path):
  parquet.write(tmp_path / 's.parquet', {'row': np.arange(100)})
  data = (tmp_path / 's.parquet').read_bytes()
  (tmp_path / 's.parquet').write_bytes(data[: len(data) // 2])
  with pytest.raises(UserError, match=r's\.parquet: not a readable Parquet file'):
    parquet.read(tmp_path / 's.parquet')


def test_a_table_of_many_blocks_reads_back_whole_and_a_failed_one_keeps_the_old_file(tmp_path):
  count, path = 40_000, tmp_path / 's.parquet'
  values = np.random.default_rng(0).random((count, 3)).astype(np.float32)
  columns = {
    'row': np.arange(count),
    'name': np.char.add('image ', np.arange(count).astype(str)),
    'text': np.array([f'{i:064d}' for i in range(count)], np.dtypes.StringDType()),
    'probs': values,
    'nan': np.where(np.arange(count) < count // 2, np.nan, 1.0),
  }
  assert len(parquet.blocks_of(count)) > 2
  parquet.write(path, columns, {'of': 'a test'})
  back, notes = parquet.read(path)
  assert notes == {'of': 'a test'} and list(back) == list(columns)
  for name, column in columns.items():
    assert_array_equal(back[name], column.astype('U64') if name == 'text' else column)
    assert name == 'text' or back[name].dtype.kind == column.dtype.kind

  def failing():
    yield {'row': np.arange(3)}
    raise OSError(28, 'No space left on device')

  with pytest.raises(UserError, match=r's\.parquet: cannot write this file: No space left'):
    parquet.write_blocks(path, failing())
  assert_array_equal(parquet.read(path, ['row'])[0]['row'], columns['row'])
  assert [file.name for file in tmp_path.iterdir()] == ['s.parquet']


def test_a_table_without_rows_keeps_its_columns(tmp_path):
  parquet.write(tmp_path / 's.parquet', {'row': np.arange(0), 'probs': np.empty((0, 2)), 'name': np.empty(0, 'U3')})
  back, _ = parquet.read(tmp_path / 's.parquet')
  assert {k: v.shape for k, v in back.items()} == {'row': (0,), 'probs': (0, 2), 'name': (0,)}


def test_tensorboard_without_its_package_names_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(UserError, match='pip install tensorboardX'):
    storage.TensorBoard(tmp_path)


def test_tensorboard_takes_the_numbers_of_a_record(tmp_path, monkeypatch):
  calls = []

  class SummaryWriter:
    def __init__(self, folder, purge_step):
      calls.append((folder, purge_step))

    def add_scalar(self, name, value, step):
      calls.append((name, value, step))

    def flush(self):
      calls.append('flush')

  monkeypatch.setitem(sys.modules, 'tensorboardX', types.SimpleNamespace(SummaryWriter=SummaryWriter))
  board = storage.TensorBoard(tmp_path)
  board.append({'epoch': 1, 'strategy': 'naive', 'step': 40, 'loss': np.float32(0.5), 'bad': float('nan'), 'on': True})
  board.append({'epoch': 2, 'loss': 0.25})
  assert calls == [
    (str(tmp_path), 40),
    ('epoch', 1, 40),
    ('loss', 0.5, 40),
    'flush',
    ('epoch', 2, 2),
    ('loss', 0.25, 2),
    'flush',
  ]


def test_a_link_keeps_its_place_and_what_is_no_file_is_refused(tmp_path):
  target, link = tmp_path / 'target', tmp_path / 'link'
  target.write_text('old')
  link.symlink_to(target)
  storage.write_text(link, 'new')
  assert link.is_symlink() and target.read_text() == 'new'
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises(UserError, match='pipe: cannot write this file: the path exists and is not a regular file'):
    storage.write_text(tmp_path / 'pipe', 'new')


def test_a_name_like_a_formula_comes_back_from_our_own_csv(tmp_path):
  names = ['=cmd.png', "'=cmd.png", "''-1.png", '-1', '+1.png', '@a', "'quoted'", "rock'n'roll", 'plain.png']
  storage.write_text(tmp_path / 'l.csv', storage.csv_text([['image', 'label'], *([name, name] for name in names)]))
  column = label_file.read_column(tmp_path / 'l.csv')
  assert column.images == column.labels == names


def test_no_cell_of_a_csv_is_a_formula():
  formulas = ["=cmd|'/C calc'!A0", '+1+cmd', '-2+3', '@SUM(1)', ' =1', '\t=1', '\n=1']
  others = ['a=b', '', '-0.5', '+7', '-1e-3', -3, 0.5, 'a, "b"\nc']
  (row,) = csv.reader(io.StringIO(storage.csv_text([formulas + others]), newline=''))
  assert row == [f"'{cell}" for cell in formulas] + list(map(str, others))
  assert storage.csv_text([['a\r=1', 'é']]) == 'a =1,é\n'


@pytest.mark.parametrize('process', [0, 1])
def test_only_the_first_process_writes(tmp_path, monkeypatch, process):
  log, old = tmp_path / 'log.jsonl', tmp_path / 'old'
  old.mkdir()
  log.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n{"ep')
  before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
  monkeypatch.setattr('jax.process_index', lambda: process)
  storage.write_json(tmp_path / 'a.json', {})
  parquet.write(tmp_path / 'a.parquet', {'row': np.arange(3)})
  storage.make_folder(tmp_path / 'folder')
  storage.JsonLines(log).append({'epoch': 3})
  kept = storage.truncate(log, 1)
  storage.remove(old)
  cache._write(tmp_path / 'cache' / 'entry.npz', 'stamp', {'images': np.zeros(3)})
  with lock.held(tmp_path / 'workdir'):
    pass
  assert kept == [{'epoch': 1}]  # all processes go on from the same epoch
  after = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
  assert (after == before) == (process == 1) and old.exists() == (process == 1)


def test_a_process_without_jax_writes(tmp_path, monkeypatch):
  monkeypatch.delitem(sys.modules, 'jax')
  storage.write_text(tmp_path / 'a', 'text')
  assert (tmp_path / 'a').read_text() == 'text' and 'jax' not in sys.modules
