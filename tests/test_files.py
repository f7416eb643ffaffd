"""Folders, zips and tars: names from various tools, damaged files, and notes on files that are left out."""

import io
import os
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisyjax.data import archive, cache, decode, files
from noisyjax.system.errors import UserError

NAMES = ('a/1.png', 'a/2.PNG', 'b/3.png')


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def picture(i: int) -> np.ndarray:
  return np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)


def encoded(i: int, kind: str = 'png', **options) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(picture(i)).save(buffer, kind, **options)
  return buffer.getvalue()


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
  with zipfile.ZipFile(path, 'w') as packed:
    for name, data in entries.items():
      info = zipfile.ZipInfo('x')
      info.filename = name  # as it is: ZipInfo would mend some
      packed.writestr(info, data)
  return path


class Raw(zipfile.ZipInfo):
  raw = b''

  def _encodeFilenameFlags(self):
    return self.raw, 0


def unflagged(path: Path, entries: dict[str, bytes], code: str = 'utf-8', beside: bool = False) -> Path:
  """Writes a zip with names in `code` and no flag for UTF-8; with `beside` they are in an extra field in UTF-8, too."""
  with zipfile.ZipFile(path, 'w') as packed:
    for name, data in entries.items():
      info = Raw(name)
      info.raw = raw = name.encode(code, 'replace')
      field = b'\1' + struct.pack('<I', zlib.crc32(raw)) + name.encode()
      info.extra = (
        struct.pack('<HH', 0x9999, 2) + b'xy' + struct.pack('<HH', 0x7075, len(field)) + field if beside else b''
      )
      packed.writestr(info, data)
  return path


def tarred(path: Path, entries: dict[str, bytes], mode: str = 'w') -> Path:
  with tarfile.open(path, mode) as packed:
    for name, data in entries.items():
      info = tarfile.TarInfo(name)
      info.size = len(data)
      packed.addfile(info, io.BytesIO(data))
  return path


def seen(path: Path, **options) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the names and notes, and checks that each image is that of its name's last digit."""
  with files.open_images(path) as found:
    decoded = found.decoded(**options)
    for name, image in zip(found.names, decoded.images, strict=True):
      np.testing.assert_array_equal(image, picture(int(Path(name).stem[-1])))
    return found.names, found.notes + decoded.notes


def entries(form: str = '{}') -> dict[str, bytes]:
  return {form.format(name): encoded(int(Path(name).stem)) for name in NAMES}


# Archives.


@pytest.mark.parametrize(
  'form', ['{}', './{}', 'top/{}', './top/{}', 'top//{}', '/{}', '/top/{}', 'C:/top/{}', 'D:\\{}', '.\\top\\{}']
)
@pytest.mark.parametrize('pack', [zipped, tarred])
def test_the_names_of_every_tool_are_the_same_files(tmp_path, form, pack):
  packed = entries(form)
  if '\\' in form:
    packed = {name.replace('/', '\\'): data for name, data in packed.items()}
  assert seen(pack(tmp_path / 'd.pack', packed)) == (NAMES, ())


@pytest.mark.parametrize('mode', ['w', 'w:gz', 'w:bz2', 'w:xz'])
def test_tars_of_any_compression(tmp_path, mode):
  assert seen(tarred(tmp_path / 'd.tar.x', entries('top/{}'), mode)) == (NAMES, ())


def test_names_that_lead_out_are_left_out(tmp_path):
  bad = {'../1.png': encoded(1), 'a/../../2.png': encoded(2), '..\\3.png': encoded(3)}
  for path in (zipped(tmp_path / 'd.zip', entries() | bad), tarred(tmp_path / 'd.tar', entries() | bad)):
    names, notes = seen(path)
    assert names == NAMES
    assert notes == (f"{path.name}: left out 3 entries that lead out of it, such as '../1.png'.",)
  assert not (tmp_path.parent / '1.png').exists()


def test_a_name_that_comes_twice_is_the_last_entry(tmp_path):
  with pytest.warns(UserWarning, match='Duplicate name'):
    path = zipped(tmp_path / 'd.zip', {'a\\1.png': encoded(7), 'a/1.png': encoded(1), 'b/2.png': encoded(2)})
    with zipfile.ZipFile(path, 'a') as packed:
      packed.writestr('b/2.png', encoded(2))
  names, notes = seen(path)
  assert names == ('a/1.png', 'b/2.png')
  assert notes == ("d.zip: 2 names come twice, such as 'a/1.png'; the last entry counts.",)


def test_links_and_devices_are_left_out(tmp_path):
  path = tarred(tmp_path / 'd.tar', entries())
  with tarfile.open(path, 'a') as packed:
    for name, kind in (('c.png', tarfile.SYMTYPE), ('d.png', tarfile.LNKTYPE), ('e.png', tarfile.CHRTYPE)):
      info = tarfile.TarInfo(name)
      info.type, info.linkname = kind, '/etc/passwd'
      packed.addfile(info)
  assert seen(path) == (NAMES, ('d.tar: left out 3 links or devices.',))
  path = zipped(tmp_path / 'd.zip', entries())
  with zipfile.ZipFile(path, 'a') as packed:
    info = zipfile.ZipInfo('c.png')
    info.create_system, info.external_attr = 3, 0o120777 << 16
    packed.writestr(info, '/etc/passwd')
  assert seen(path) == (NAMES, ('d.zip: left out 1 links or devices.',))


def test_utf8_names_without_the_flag_that_says_so(tmp_path):
  path = unflagged(tmp_path / 'd.zip', {'caf\u00e9_1.png': encoded(1)})
  with zipfile.ZipFile(path) as packed:
    assert packed.namelist() != ['caf\u00e9_1.png']
  assert seen(path) == (('caf\u00e9_1.png',), ())


def test_names_in_another_code_page_are_noted_unless_the_zip_holds_them_in_utf8_too(tmp_path):
  names = ['\u4e8c\u5de1_1.png', 'a/\u8bb8_2.png']
  path = unflagged(tmp_path / 'd.zip', {name: encoded(i) for i, name in enumerate(names, 1)}, 'gbk')
  found, notes = seen(path)
  assert len(found) == 2 and not set(found) & set(names)
  assert notes[0].startswith(f'd.zip: 2 names are not in UTF-8 and are read in code page 437, such as {found[1]!r}')
  for raw in ('gbk', 'ascii'):  # as WinRAR and Info-ZIP write
    path = unflagged(tmp_path / 'e.zip', {name: encoded(i) for i, name in enumerate(names, 1)}, raw, beside=True)
    assert seen(path) == (tuple(sorted(names)), ())


def patched(path: Path, local: int, central: int, change) -> Path:
  """Changes a byte of the header of every entry, at its place in the local and in the central one."""
  data = bytearray(path.read_bytes())
  for magic, offset in ((b'PK\x03\x04', local), (b'PK\x01\x02', central)):
    at = -1
    while (at := data.find(magic, at + 1)) >= 0:
      data[at + offset] = change(data[at + offset])
  path.write_bytes(data)
  return path


def test_archives_that_cannot_be_read_say_so_in_one_line(tmp_path):
  locked = patched(zipped(tmp_path / 'locked.zip', entries()), 6, 8, lambda b: b | 1)
  method = patched(zipped(tmp_path / 'method.zip', entries()), 8, 10, lambda b: 9)
  (tmp_path / 'cut.zip').write_bytes(zipped(tmp_path / 'd.zip', entries()).read_bytes()[:200])
  (tmp_path / 'cut.tgz').write_bytes(tarred(tmp_path / 'd.tgz', entries(), 'w:gz').read_bytes()[:200])
  (tmp_path / 'x.rar').write_bytes(b'Rar!\x1a\x07')
  (tmp_path / 'notes.txt').write_text('hello')
  (tmp_path / 'one.png').write_bytes(encoded(1))
  (tmp_path / 'empty.zip').write_bytes(b'')
  for path, said in (
    (locked, r'is encrypted \(3 of 3 entries\)\. Unpack it with its password and give the folder\.'),
    (method, r'3 of 3 entries are compressed by deflate64, which is not supported\. Unpack it and give the folder\.'),
    (tmp_path / 'cut.zip', r'cannot be read as a zip \(.*\)\. Is the file complete\?'),
    (tmp_path / 'cut.tgz', r'cannot be read as a zip or tar \(.*\)\. Is the file complete\?'),
    (tmp_path / 'empty.zip', 'cannot be read as a zip '),
    (tmp_path / 'x.rar', 'is a RAR archive, which is not supported'),
    (tmp_path / 'notes.txt', 'cannot be read as a zip or tar'),
    (tmp_path / 'one.png', 'is an image file; expected a folder, zip or tar'),
    (tmp_path / 'absent', 'no such folder, zip or tar'),
    (tmp_path / ('x' * 3000), 'File name too long'),
    (Path('/dev/zero'), 'no such folder, zip or tar'),
  ):
    with pytest.raises(UserError, match=said) as caught:
      seen(path)
    assert '\n' not in str(caught.value)


def test_a_declared_size_is_looked_at_before_it_is_read(tmp_path, monkeypatch):
  path = zipped(tmp_path / 'd.zip', entries())
  data = bytearray(path.read_bytes())
  at = data.find(b'PK\x01\x02')
  data[at + 24 : at + 28] = struct.pack('<I', 2**32 - 2)
  path.write_bytes(data)
  with files.open_images(path) as found:
    decoded = found.decoded()
  assert decoded.good.tolist() == [1, 2] and 'a/1.png: its declared size is 4,294,967,294 bytes' in decoded.bad[0]
  path = tarred(tmp_path / 'd.tgz', {'a.bmp': bytes(50000)}, 'w:gz')
  monkeypatch.setattr(archive, 'LARGEST', 10000)
  monkeypatch.setattr(archive, 'GROWTH', 1)
  with pytest.raises(UserError, match='unpacks to more than 1 times its size'):
    seen(path)


@pytest.mark.parametrize('pack, mode', [(zipped, None), (tarred, 'w'), (tarred, 'w:gz'), (tarred, 'w:xz')])
def test_damage_anywhere_is_a_users_error_or_a_bad_image(tmp_path, pack, mode):
  rng, path = np.random.default_rng(0), tmp_path / 'd'
  whole = pack(path, entries(), *([mode] if mode else [])).read_bytes()
  for _ in range(150):
    data = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.2 else whole)
    for at in rng.integers(0, len(data), rng.integers(1, 6)) if data else ():
      data[at] = rng.integers(256)
    path.write_bytes(data)
    try:
      with files.open_images(path) as found:
        found.decoded(use_cache=False)
    except UserError:
      pass


# What is an image, and what is left out.


def test_links_that_lead_nowhere_are_missing_images(tmp_path):
  root = tmp_path / 'd'
  for name, data in entries().items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)
  (root / 'b' / '4.png').symlink_to('/nowhere/4.png')
  (root / 'b' / 'loop.jpg').symlink_to(root / 'b' / 'loop.jpg')
  (root / 'b' / 'notes.txt').symlink_to('/nowhere/notes.txt')
  os.mkfifo(root / 'b' / 'pipe.png')  # would wait for ever
  with files.open_images(root) as found:
    decoded = found.decoded()
  assert found.names == (*NAMES, 'b/4.png', 'b/loop.jpg')
  assert decoded.bad == ('b/4.png: the link is broken', 'b/loop.jpg: the link is broken')
  assert found.notes == ('d: skipped 1 file(s) that are not images (.txt: 1).',)


@pytest.mark.parametrize('pack', [zipped, tarred])
def test_files_without_a_suffix_are_told_by_their_first_bytes(tmp_path, pack):
  packed = {f'{kind}_1': encoded(1, kind) for kind in ('png', 'bmp', 'tiff', 'ppm')}
  packed |= {'README': b'read me', 'EPS': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', 'void': b''}
  names, notes = seen(pack(tmp_path / 'd', packed))
  assert names == ('bmp_1', 'png_1', 'ppm_1', 'tiff_1')
  assert notes == ('d: skipped 3 file(s) that are not images (no suffix: 3).',)


def test_heic_is_named_with_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pillow_heif', None)  # not installed
  monkeypatch.delitem(Image.OPEN, 'HEIF', raising=False)
  decode._formats.cache_clear()
  heic = b'\0\0\0\x18ftypheic' + bytes(99)
  path = zipped(tmp_path / 'd.zip', {'1.png': encoded(1), '2.HEIC': encoded(2), '3.heic': heic, '4.heif': heic})
  names, notes = seen(path)  # a .heic that is a PNG is read
  assert names == ('1.png', '2.HEIC')
  assert notes == (f'd.zip: skipped 2 photo(s) such as 3.heic: {decode.NO_HEIC}.',)
  with pytest.raises(UserError, match=r'contains no images \(1 photo\(s\) such as 1\.heic: HEIC .*install pillow-heif'):
    seen(zipped(tmp_path / 'e.zip', {'1.heic': heic}))
  assert decode.decode_all(['a', 'b'], [encoded(1), heic].__getitem__).bad == (f'b: {decode.NO_HEIC}',)
  decode._formats.cache_clear()


def test_heic_is_read_where_it_can_be(tmp_path):
  heif = pytest.importorskip('pillow_heif')
  heif.register_heif_opener()
  buffer = io.BytesIO()
  Image.new('RGB', (64, 64), (200, 30, 30)).save(buffer, 'HEIF')
  with files.open_images(zipped(tmp_path / 'd.zip', {'a.HEIC': buffer.getvalue(), 'b': buffer.getvalue()})) as found:
    images = found.decoded().images
  np.testing.assert_allclose(images.mean((1, 2)), [[200, 30, 30]] * 2, atol=4)


def test_what_was_left_out_is_said_before_a_refusal(tmp_path, caplog):
  path = zipped(tmp_path / 'd.zip', entries() | {'a/.hidden': b'', 'a/x.xcf': b''})
  with pytest.raises(UserError, match='mine'), files.open_images(path):
    raise UserError('mine')
  assert caplog.messages == [
    'd.zip: skipped 1 hidden file(s).',
    'd.zip: skipped 1 file(s) that are not images (.xcf: 1).',
  ]
  with pytest.raises(
    UserError, match=r'contains no images \(1 hidden file\(s\); 12 file\(s\) .*\(\.a: 1, .* and 2 more\)\)'
  ):
    seen(zipped(tmp_path / 'e.zip', {'.x': b''} | {f'1.{c}': b'' for c in 'abcdefghijkl'}))


def test_pages_and_frames_are_noted_and_the_first_is_read(tmp_path):
  others = [Image.fromarray(picture(i)) for i in (8, 9)]
  path = zipped(
    tmp_path / 'd.zip',
    {
      '1.tif': encoded(1, 'tiff', save_all=True, append_images=others),
      '2.tif': encoded(2, 'tiff'),
      '3.webp': encoded(3, 'webp', save_all=True, append_images=others, lossless=True),
      '4.png': encoded(4),
      '5.png': encoded(5, 'png', save_all=True, append_images=others),
    },
  )
  names, notes = seen(path)
  assert len(names) == 5
  assert notes == ('3 image(s) have several pages or frames, such as 1.tif; the first is used.',)
  assert seen(path)[1] == notes  # from the cache too
  gif = encoded(6, 'gif', save_all=True, append_images=others)
  assert len(decode.decode_all(['x'], [gif].__getitem__).notes) == 1
  assert not decode.decode_all(['x'], [encoded(6, 'gif')].__getitem__).notes
  phone = encoded(7, 'mpo', save_all=True, append_images=others)  # a photo with its preview
  assert not decode.decode_all(['x'], [phone].__getitem__).notes


def test_no_warning_of_pillow_reaches_the_terminal(tmp_path, monkeypatch, recwarn, capfd):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 20)  # Pillow warns above, and refuses above twice that
  assert seen(zipped(tmp_path / 'd.zip', entries() | {'no_4': encoded(4)}))[0] == (*NAMES, 'no_4')
  assert not [str(w.message) for w in recwarn] and capfd.readouterr() == ('', '')
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
  with pytest.raises(UserError, match=r'(?s)None of the images can be read:.*25 pixels\) exceeds limit of 20'):
    decode.decode_all(['a'], [encoded(1)].__getitem__)


def test_long_lists_are_cut_at_ten():
  with pytest.raises(UserError, match=r'(?s)None of the images can be read:(\n  \d+\.png: [^\n]*){10}\n  and 15 more$'):
    decode.decode_all([f'{i}.png' for i in range(25)], lambda i: b'')
  with pytest.raises(UserError, match=r'(?s)25 image\(s\).*(\n  bad){10}\n  and 15 more$'):
    decode.check_bad(['bad'] * 25, False, 'x')
  (note,) = decode.check_bad(['bad'] * 25, True, 'x')
  assert note == f'x: left out 25 bad image(s): {"; ".join(["bad"] * 10)}; ….'


def test_sizes_are_those_before_the_resize():
  sizes = decode.decode_all(['a'], [encoded(1)].__getitem__, 3, 'crop').sizes
  assert sizes.tolist() == [[5, 5]]


def test_a_user_without_a_home_goes_without_a_cache(monkeypatch, caplog):
  monkeypatch.delenv('XDG_CACHE_HOME')
  monkeypatch.setattr(Path, 'expanduser', lambda self: (_ for _ in ()).throw(RuntimeError('no home')))
  made = cache.cached(('x',), 'y', lambda: {'a': np.arange(3)})
  assert made['a'].tolist() == [0, 1, 2] and 'cannot be cached (no home)' in caplog.text
