"""Invalid paths and damaged files: one clear error for each."""

import lzma
import os
import struct
import tokenize
import zipfile
import zlib

import pytest

from noisyjax.system import reading
from noisyjax.system.errors import UserError


@pytest.mark.parametrize(
  ('error', 'said'),
  [
    (zlib.error('Error -3 while decompressing'), 'Error -3'),
    (NotImplementedError('That compression method is not supported'), 'not supported'),
    (RuntimeError("File 'a' is encrypted"), 'encrypted'),
    (zipfile.BadZipFile('Bad CRC-32'), 'Bad CRC-32'),
    (lzma.LZMAError('Corrupt input data'), 'Corrupt'),
    (MemoryError(), 'needs more memory than there is'),
    (tokenize.TokenError('EOF in multi-line'), 'EOF in'),
    (EOFError(), 'EOFError'),
    (struct.error('unpack requires\na buffer'), 'requires a buffer'),
    (PermissionError(13, 'Permission denied', '/somewhere'), 'Permission denied'),
  ],
)
def test_a_damaged_file_is_one_error(error, said):
  with (
    pytest.raises(UserError, match=rf'^d\.zip: cannot be read as a zip \(.*{said}.*Is the file complete\?$'),
    reading.reading('d.zip', 'a zip'),
  ):
    raise error


def test_other_errors_pass():
  with pytest.raises(UserError, match=r'^mine$'), reading.reading('d.zip', 'a zip'):
    raise UserError('mine')
  with pytest.raises(AssertionError), reading.reading('d.zip', 'a zip'):
    raise AssertionError


def test_a_home_that_nobody_has(monkeypatch):
  with pytest.raises(UserError, match=r'--images: ~nobody_at_all/x: the home folder .~nobody_at_all. is unknown'):
    reading.path_of('~nobody_at_all/x', '--images')
  monkeypatch.setenv('HOME', '/there')
  assert reading.path_of('~/x') == reading.Path('/there/x')


def test_a_file_that_is_missing_reminds_of_the_one_beside_it(tmp_path):
  (tmp_path / 'last.parquet').touch()
  with pytest.raises(UserError, match=r"--analysis: there is no file .*best.parquet'. Did you mean .*last.parquet"):
    reading.file_of(tmp_path / 'best.parquet', '--analysis')


def test_kinds_of_paths(tmp_path):
  (tmp_path / 'file').write_text('')
  (tmp_path / 'gone').symlink_to(tmp_path / 'nowhere')
  (tmp_path / 'loop').symlink_to(tmp_path / 'loop')
  assert reading.kind(tmp_path) == 'folder'
  assert reading.kind(tmp_path / 'file') == 'file'
  assert reading.kind(tmp_path / 'absent') == reading.kind(tmp_path / 'gone') == ''
  assert reading.kind(tmp_path / 'file' / 'below') == ''
  for path, said in (
    (tmp_path / ('x' * 5000), r'… .*\d{4} characters\): File name too long|too long'),
    (tmp_path / 'loop', 'symbolic links'),
  ):
    with pytest.raises(UserError, match=said) as caught:
      reading.kind(path)
    assert len(str(caught.value)) < 400
  with pytest.raises(UserError, match='NUL'):
    reading.path_of('a\0b')
  if os.getuid():  # root may look everywhere
    (tmp_path / 'closed').mkdir(mode=0)
    with pytest.raises(UserError, match='Permission denied'):
      reading.kind(tmp_path / 'closed' / 'x')
