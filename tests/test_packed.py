"""Packs: any source in one file, with the same rows, images and runs as without it; a killed packing goes on."""

import dataclasses
import gzip
import io
import os
import resource
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

import runs
import tiny_tfds
from noisyjax.analysis import analyze, file_issues, issues
from noisyjax.config.defaults import get_config
from noisyjax.data import dataset, decode, jpeg, origin, pack, packed, prepare, row_ids
from noisyjax.data.moments import moments
from noisyjax.loop import first_version
from noisyjax.reports import inspect
from noisyjax.runs import dry_run, predict, predict_files
from noisyjax.system import parquet, reading, storage
from noisyjax.system.errors import UserError
from noisyjax.tables import refs

FILES = 12  # in each of two class folders
# Packs `sys.argv[1]` in `sys.argv[2]`, and dies by SIGKILL when the image of row `sys.argv[3]` is read.
KILLED = """
import os, sys
from noisyjax.analysis import analyze, file_issues, issues
from noisyjax.config.defaults import get_config
from noisyjax.data import decode, pack
pack.BLOCK_ROWS = 5
real = decode._decode_one
def one(i, **rest):
  if i == int(sys.argv[3]):
    os.kill(os.getpid(), 9)
  return real(i, **rest)
decode._decode_one = one
c = get_config().data
c.source, c.path, c.fit = 'folders', sys.argv[1], 'crop'
pack.pack(c, sys.argv[2], size=16)
"""


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
  """Photos of mixed sizes in two class folders: some gray, some turned by EXIF, one of them twice."""
  root, rng = tmp_path_factory.mktemp('photos') / 'photos', np.random.default_rng(0)
  for name in ('ant', 'bee'):
    (root / name).mkdir(parents=True)
    for i in range(FILES):
      image = Image.fromarray(rng.integers(0, 256, (*rng.integers(18, 40, 2), 3), np.uint8))
      image = image.resize(image.size, Image.Resampling.BOX).convert('L' if i == 3 else 'RGB')
      exif = image.getexif()
      exif[0x112] = 6 if i % 4 == 0 else 1
      image.save(root / name / f'{i:02d}.jpg', exif=exif)
  (root / 'bee' / '99.jpg').write_bytes((root / 'ant' / '01.jpg').read_bytes())
  return root


def config_of(source: str, path: Path | str, **fields):
  config = get_config().data
  config.source, config.path, config.cache = source, str(path), False
  for name, value in fields.items():
    config[name] = value
  return config


def same_rows(one: tuple, other: tuple) -> None:
  """Compares two data sets with their true labels; the text columns of a pack have another type."""
  (a, truth_a), (b, truth_b) = one, other
  for name in ('given', 'verified', 'test', 'val'):
    assert_array_equal(getattr(a, name), getattr(b, name), name)
  assert (a.classes, a.fingerprint, a.ids.tolist(), a.names.tolist()) == (
    b.classes,
    b.fingerprint,
    b.ids.tolist(),
    b.names.tolist(),
  )
  assert_array_equal(truth_a, truth_b)


def test_a_pack_of_files_gives_what_the_files_give(photos, tmp_path):
  config = config_of('folders', photos, size=16, fit='crop')
  plain = dataset.load(config)
  found = pack.pack(config, tmp_path / 'pack', size=16)
  ours = dataset.load(config_of('packed', tmp_path / 'pack'))
  same_rows(plain, ours)
  assert_array_equal(np.asarray(ours[0].images), plain[0].images)
  assert ours[0].ids[-1].endswith('-1'), 'a copy'
  rows = np.array([7, 3, 4, 5, 20, 0])
  assert_array_equal(ours[0].images.select(rows).take(np.array([5, 1, 2])), plain[0].images[rows[[5, 1, 2]]])
  assert row_ids.row_ids(ours[0]).tolist() == row_ids.row_ids(plain[0]).tolist()
  assert origin.of_rows(ours[0], rows) == origin.of_rows(plain[0], rows)
  for pair in zip(moments(ours[0].images, rows), moments(plain[0].images, rows)):
    assert_array_equal(*pair)
  assert (found['decoder'], found['filter']) == (decode.decoder(), 'bicubic')
  assert not (tmp_path / 'pack' / packed.JOURNAL).exists()


def test_a_pack_is_inspected(photos, tmp_path, monkeypatch):
  monkeypatch.setattr('noisyjax.reports.inspect.GRID', (1, 2))
  pack.pack(config_of('folders', photos, fit='crop'), tmp_path / 'pack', size=16)
  config = get_config()
  config.data.source, config.data.path, config.data.test = 'packed', str(tmp_path / 'pack'), ''
  assert 'images       16 x 16 x 3, uint8' in inspect.inspect_config(config, tmp_path / 'look')


def test_the_recipe_of_a_pack_reads_it_where_its_path_leads_to_it(photos, tmp_path):
  config = config_of('folders', photos, size=16, fit='crop')
  pack.pack(config, tmp_path / 'pack')
  config.path = str(tmp_path / 'pack')
  assert dataset.load(config)[0].pack == config.path
  config.unlabeled = 'bee'
  with pytest.raises(UserError, match=r"data\.unlabeled: 'bee', but the pack .* was made with 'undefined'"):
    dataset.load(config)
  with pytest.raises(UserError, match=r'data\.size: 24, but the images of the pack .* are 16x16'):
    dataset.load(config_of('packed', config.path, size=24))


def test_a_pack_of_arrays_keeps_true_labels_and_parts(tmp_path):
  config = config_of('npz', runs.npz(tmp_path / 'data.npz'))
  pack.pack(config, tmp_path / 'pack')
  plain, ours = dataset.load(config), dataset.load(config_of('packed', tmp_path / 'pack'))
  same_rows(plain, ours)
  assert (ours[1] >= 0).all()
  assert_array_equal(np.asarray(ours[0].images), plain[0].images)


def test_a_jpeg_pack_is_near_the_pixels_and_its_data_have_another_fingerprint(photos, tmp_path):
  config = config_of('folders', photos, size=16, fit='crop', test='', val='')
  for form in packed.FORMS:
    pack.pack(config, tmp_path / form, form=form)
  raw, lossy = (dataset.load(config_of('packed', tmp_path / form))[0] for form in packed.FORMS)
  same = (np.asarray(raw.images).astype(int) - np.asarray(lossy.images)).ravel()
  assert 0 < np.abs(same).mean() < 12
  assert raw.ids.tolist() == lossy.ids.tolist()
  marks = set()
  for path in (photos, tmp_path / 'raw', tmp_path / 'jpeg'):
    run = get_config()
    run.data = config.copy_and_resolve_references()
    run.data.path = str(path)
    marks.add(prepare.prepare(run)[0].record['fingerprint'])
  assert len(marks) == 3


def test_both_decoders_read_a_jpeg_pack_and_their_data_are_told_apart(photos, tmp_path, monkeypatch):
  pytest.importorskip('simplejpeg')
  pack.pack(config_of('folders', photos, size=16, fit='crop', test='', val=''), tmp_path / 'pack', form='jpeg')
  load = lambda: dataset.load(config_of('packed', tmp_path / 'pack'))[0]
  fast = load()
  fast_pixels = np.asarray(fast.images).astype(int)
  assert ', simplejpeg 1' in fast.pixels
  monkeypatch.setattr(jpeg, '_simplejpeg', lambda: None)
  plain = load()
  assert fast.pixels != plain.pixels and 'simplejpeg' not in plain.pixels
  assert np.abs(fast_pixels - np.asarray(plain.images)).max() <= 2  # libjpeg-turbo of two versions


@pytest.mark.parametrize('channels', [1, 3])
def test_jpeg_files_keep_channels_and_damage_is_an_error(channels, monkeypatch):
  image = np.random.default_rng(0).integers(0, 256, (9, 14, channels), np.uint8)
  content = jpeg.encoded(image)
  for decoder in (jpeg._simplejpeg, lambda: None):
    monkeypatch.setattr(jpeg, '_simplejpeg', decoder)
    assert jpeg.decoded(content, channels).shape == image.shape
    with pytest.raises(reading.DAMAGE):
      jpeg.decoded(content[: len(content) // 2], channels)


def test_unreadable_images_are_left_out_or_refused(photos, tmp_path):
  root = tmp_path / 'photos'
  (root / 'ant').mkdir(parents=True), (root / 'bee').mkdir()
  for i, name in enumerate(('ant/0.jpg', 'ant/1.jpg', 'bee/0.jpg', 'bee/1.jpg')):
    (root / name).write_bytes((photos / 'ant' / f'{i:02d}.jpg').read_bytes() if i != 1 else b'no image')
  with pytest.raises(UserError, match='1 image'):
    pack.pack(config_of('folders', root), tmp_path / 'refused', size=16)
  config = config_of('folders', root, skip_bad=True, size=16, fit='crop')
  pack.pack(config, tmp_path / 'pack')
  ours = dataset.load(config_of('packed', tmp_path / 'pack'))
  assert ours[0].names.tolist() == ['ant/0.jpg', 'bee/0.jpg', 'bee/1.jpg']
  assert_array_equal(np.asarray(ours[0].images), dataset.load(config)[0].images)
  assert any('left out 1' in note for note in ours[0].notes)


def test_a_killed_packing_goes_on_where_its_journal_ends(photos, tmp_path, monkeypatch):
  done = subprocess.run(
    [sys.executable, '-c', KILLED, str(photos), str(tmp_path / 'pack'), '13'], cwd=runs.ROOT, check=False
  )
  assert done.returncode == -signal.SIGKILL
  monkeypatch.setattr(pack, 'BLOCK_ROWS', 5)
  config = config_of('folders', photos, fit='crop')
  with pytest.raises(UserError, match='not finished'):
    dataset.load(config_of('packed', tmp_path / 'pack'))
  with pytest.raises(UserError, match='unfinished pack of other images or settings'):
    pack.pack(config, tmp_path / 'pack', size=20)
  journal = (tmp_path / 'pack' / packed.JOURNAL).read_text()
  for damaged in ('{}\n', '[1]\n', journal.replace('"shape"', '"form"')):
    (tmp_path / 'pack' / packed.JOURNAL).write_text(damaged)
    with pytest.raises(UserError, match=r'journal\.jsonl: cannot be read as the journal of a pack'):
      pack.pack(config, tmp_path / 'pack', size=16)
  (tmp_path / 'pack' / packed.JOURNAL).write_text(journal)
  # What a kill may leave: pixels that the journal does not know, and half a line of it.
  for name, rest in ((packed.PIXELS, b'x' * 99), (packed.JOURNAL, b'{"rows": [')):
    with (tmp_path / 'pack' / name).open('ab') as file:
      file.write(rest)
  seen, real = [], decode._decode_one
  monkeypatch.setattr(decode, '_decode_one', lambda i, **rest: seen.append(i) or real(i, **rest))
  ours = pack.pack(config, tmp_path / 'pack', size=16)
  assert min(seen) in (0, 5, 10), 'a multiple of the blocks'
  kept = min(seen)
  assert sorted(seen) == list(range(kept, 2 * FILES + 1))
  whole = pack.pack(config, tmp_path / 'whole', size=16)
  assert ours == whole
  for name in (packed.PIXELS, packed.ROWS, packed.AUDIT):
    assert storage.sha256(tmp_path / 'pack' / name) == storage.sha256(tmp_path / 'whole' / name)


def test_a_finished_pack_is_kept_and_one_of_other_settings_refused(photos, tmp_path, monkeypatch):
  config = config_of('folders', photos, fit='crop')
  first = pack.pack(config, tmp_path / 'pack', size=16)
  monkeypatch.setattr(dataset, 'load', lambda config: pytest.fail('packed twice'))
  assert pack.pack(config, tmp_path / 'pack', size=16) == first
  with pytest.raises(UserError, match='holds a pack of other data or settings'):
    pack.pack(config, tmp_path / 'pack', size=20)
  with pytest.raises(UserError, match='is a pack already'):
    pack.pack(config_of('packed', tmp_path / 'pack'), tmp_path / 'other')
  with pytest.raises(UserError, match=r'--out: .* is the folder of the data; expected another one'):
    pack.pack(config, f'{photos}/')


def test_a_pack_of_images_of_several_sizes_names_the_first_other_one(photos, tmp_path):
  with pytest.raises(UserError, match=r'\.jpg: is \d+x\d+, but the first image is \d+x\d+'):
    pack.pack(config_of('folders', photos), tmp_path / 'pack')


def test_a_pack_that_was_cut_short_or_edited_is_refused(photos, tmp_path):
  pack.pack(config_of('folders', photos), tmp_path / 'pack', size=16)
  data, truth = dataset.load(config_of('packed', tmp_path / 'pack'))
  packed.write_columns(tmp_path / 'pack', {'true': np.roll(np.arange(len(truth), dtype=np.int32), 1)}, packed.AUDIT)
  with pytest.raises(UserError, match=r'audit\.parquet: is not the file that was packed'):
    dataset.load(config_of('packed', tmp_path / 'pack'))
  with pytest.raises(UserError, match='is not the file that was packed'):  # where only images are asked for, too
    packed.images(tmp_path / 'pack', packed.facts(tmp_path / 'pack'))
  (tmp_path / 'pack' / packed.AUDIT).unlink()
  with pytest.raises(UserError, match=r'audit\.parquet'):
    dataset.load(config_of('packed', tmp_path / 'pack'))
  os.truncate(tmp_path / 'pack' / packed.PIXELS, 1000)
  with pytest.raises(UserError, match='ends at byte 1,000'):
    data.images.take(np.arange(2))
  with pytest.raises(UserError, match='has 1,000 bytes; expected'):
    dataset.load(config_of('packed', tmp_path / 'pack'))


class Streamed(packed.PackedImages):
  """Images of a pack that are never there at once."""

  def __array__(self, dtype=None, copy=None):
    raise AssertionError('all images are asked for')


def outputs(folder) -> dict:
  """All that a run writes outside the audit, without the names of its source and what only packs have."""
  found = runs.outputs(folder)
  for name in ('source', 'fingerprint', 'pixels'):
    found['result']['data'].pop(name, None)
  del found['notes']
  return found


@pytest.fixture
def both(tmp_path, monkeypatch):
  """Returns a function that gives the recipes of the same run on an npz and on its pack."""
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
  path = runs.npz(tmp_path / 'data.npz')
  pack.pack(config_of('npz', path), tmp_path / 'pack')
  real = packed.images
  monkeypatch.setattr(
    packed, 'images', lambda *a: Streamed(**{f.name: getattr(real(*a), f.name) for f in dataclasses.fields(Streamed)})
  )

  def recipes(**fields):
    plain = runs.recipe(path, **fields)
    ours = plain.copy_and_resolve_references()
    ours.data.source, ours.data.path = 'packed', str(tmp_path / 'pack')
    return plain, ours

  return recipes


@pytest.mark.slow
@pytest.mark.parametrize('name', ['naive', 'divide_mix', 'elr', 'sop', 'pseudo_label', 'fixmatch'])
def test_a_run_on_a_pack_equals_the_run_in_memory(name, both, tmp_path):
  plain, ours = both(strategy__name=name, epochs=4)
  runs.fit(plain, tmp_path / 'plain')
  runs.fit(ours, tmp_path / 'ours')
  runs.assert_same(outputs(tmp_path / 'plain'), outputs(tmp_path / 'ours'))


@pytest.mark.slow
def test_a_run_of_several_steps_a_call_on_a_pack_equals_the_run_in_memory(both, tmp_path):
  plain, ours = both(per_call=2, epochs=2)  # 3 steps an epoch: the last call has one
  runs.fit(plain, tmp_path / 'plain')
  runs.fit(ours, tmp_path / 'ours')
  runs.assert_same(outputs(tmp_path / 'plain'), outputs(tmp_path / 'ours'))


def test_a_run_on_a_pack_that_was_killed_goes_on_to_the_same_end(both, tmp_path, monkeypatch):
  plain, ours = both(checkpoint__every='1 steps', strategy__name='elr')
  runs.fit(plain, tmp_path / 'plain')

  class Death(BaseException):
    """What no handler of the program catches."""

  from noisyjax.runs import checkpoint

  real, saves = checkpoint.Checkpoints.save, []

  def save(self, step, state, record):
    real(self, step, state, record)
    saves.append(step)
    if len(saves) == 5:
      raise Death

  monkeypatch.setattr(checkpoint.Checkpoints, 'save', save)
  with pytest.raises(Death):
    runs.fit(ours, tmp_path / 'ours')
  assert 1 < saves[-1] < 9, 'in the middle'
  runs.fit(ours, tmp_path / 'ours')
  runs.assert_same(outputs(tmp_path / 'plain'), outputs(tmp_path / 'ours'))


def tar(path: Path, **members: bytes) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(path, 'w') as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))


def test_webdataset_shards(photos, tmp_path):
  a, b = (photos / 'ant' / f'{i:02d}.jpg' for i in (1, 2))
  tar(tmp_path / 'w' / 'x-train-00.tar', **{'0.jpg': a.read_bytes(), '0.cls': b'1', '1.jpg': b.read_bytes()})
  tar(tmp_path / 'w' / 'x-train-01.tar', **{'d/2.cls': b'0\n', 'd/2.jpg': b.read_bytes(), 'd/3.txt': b'no image'})
  tar(tmp_path / 'w' / 'val' / '0.tar', **{'0.json': b'{"label": 0}', '0.jpg': a.read_bytes()})
  config = config_of('webdataset', tmp_path / 'w', size=16, fit='crop')
  data, truth = dataset.load(config)
  assert data.names.tolist() == ['val/0.tar/0', 'x-train-00.tar/0', 'x-train-00.tar/1', 'x-train-01.tar/d/2']
  assert data.given.tolist() == [0, 1, -1, 0] and data.val.tolist() == [True, False, False, False]
  assert (truth == -1).all() and data.classes == ('0', '1')
  assert_array_equal(data.images[1], decode.fit_image(decode.decode(a.read_bytes()), 16, 'crop'))
  pack.pack(config, tmp_path / 'pack')
  ours = dataset.load(config_of('packed', tmp_path / 'pack'))
  same_rows((data, truth), ours)
  assert_array_equal(np.asarray(ours[0].images), data.images)
  tar(tmp_path / 'twice.tar', **{'0.jpg': a.read_bytes(), '0.mask.png': b'', '0.cls': b'1'})
  with pytest.raises(UserError, match=r'twice\.tar: 0\.mask\.png: is a second image of its sample'):
    dataset.load(config_of('webdataset', tmp_path / 'twice.tar'))
  tar(tmp_path / 'latin.tar', **{'0.jpg': a.read_bytes(), '0.cls': b'caf\xe9'})
  with pytest.raises(UserError, match=r'latin\.tar: 0: cannot be read as UTF-8'):
    dataset.load(config_of('webdataset', tmp_path / 'latin.tar'))
  labels = {'caf\udce9.cls': b'0', '0.cls': b'1'}
  tar(tmp_path / 'name.tar', **{'caf\udce9.jpg': a.read_bytes(), '0.jpg': b.read_bytes()} | labels)
  with pytest.raises(UserError, match=r"name\.tar: the name of 'caf\\udce9' is not UTF-8"):
    dataset.load(config_of('webdataset', tmp_path / 'name.tar'))
  tar(tmp_path / 'list.tar', **{'0.jpg': a.read_bytes(), '0.json': b'[1, 2]'})
  with pytest.raises(UserError, match=r'list\.tar: 0: its JSON is a list; expected an object with a label'):
    dataset.load(config_of('webdataset', tmp_path / 'list.tar'))
  (tmp_path / 'w' / 'bad.tar').write_bytes(gzip.compress((tmp_path / 'w' / 'val' / '0.tar').read_bytes()))
  with pytest.raises(UserError, match=r'bad\.tar: cannot be read as an uncompressed tar'):
    dataset.load(config)


def test_records_without_a_size_are_fitted_to_their_median_as_files_are(photos, tmp_path):
  plain = dataset.load(config_of('folders', photos, fit='crop'))[0].images
  content = {f'{i:02d}': path.read_bytes() for i, path in enumerate(sorted(photos.rglob('*.jpg')))}
  tar(tmp_path / '0.tar', **{f'{i}.jpg': data for i, data in content.items()}, **{'00.cls': b'0', '01.cls': b'1'})
  assert_array_equal(dataset.load(config_of('webdataset', tmp_path / '0.tar', fit='crop'))[0].images, plain)
  examples = lambda: ({'id': i, 'image': data, 'label': int(i) % 2} for i, data in content.items())
  tiny_tfds.prepare(tmp_path, 'photos', '1.0.0', (None, None, 3), ['ant', 'bee'], {'train': examples})
  assert dataset.load(config_of('tfds', tmp_path, name='photos', fit='crop'))[0].images.shape == plain.shape


def test_few_of_many_shards_are_open_at_once(photos, tmp_path, monkeypatch):
  for i in range(40):
    tar(tmp_path / f'{i:02d}.tar', **{'0.jpg': (photos / 'ant' / '01.jpg').read_bytes(), '0.cls': str(i % 2).encode()})
  monkeypatch.setattr(packed, 'OPEN', 4)
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  taken = {int(path.name) for path in Path('/dev/fd').iterdir()}
  free = [number for number in range(4096) if number not in taken]
  resource.setrlimit(resource.RLIMIT_NOFILE, (free[20], hard))
  try:
    data, _ = dataset.load(config_of('webdataset', tmp_path, size=16, fit='crop'))
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
  assert data.given.tolist() == [0, 1] * 20


def test_a_data_set_of_hugging_face_on_disk(photos, tmp_path):
  datasets = pytest.importorskip('datasets')
  paths = sorted(map(str, photos.rglob('*.jpg')))
  kinds = datasets.Features({'image': datasets.Image(), 'label': datasets.ClassLabel(names=['bee', 'ant'])})
  rows = [{'path': None, 'bytes': Path(path).read_bytes()} for path in paths]
  found = datasets.Dataset.from_dict({'image': rows, 'label': [int('/ant/' in path) for path in paths]}, kinds)
  datasets.DatasetDict({'train': found, 'test': found.select([3])}).save_to_disk(str(tmp_path / 'arrow'))
  for part, table in (('train', found), ('test', found.select([3]))):
    (tmp_path / 'parquet').mkdir(exist_ok=True)
    table.to_parquet(tmp_path / 'parquet' / f'{part}-00000-of-00001.parquet', batch_size=10)
  plain = dataset.load(config_of('folders', photos, size=16, fit='crop'))[0]
  for form in ('arrow', 'parquet'):
    data, _ = dataset.load(config_of('huggingface', tmp_path / form, size=16, fit='crop'))
    assert data.classes == ('bee', 'ant') and data.test.tolist() == [True] + [False] * len(paths)
    assert_array_equal(data.given[1:], 1 - plain.given)
    assert_array_equal(data.images, np.concatenate([plain.images[3:4], plain.images]))


def test_a_run_on_a_pack_is_analyzed_predicted_with_and_tabled_without_all_images_at_once(both, tmp_path):
  plain, ours = both(epochs=1)
  found = {}
  for name, config in (('plain', plain), ('ours', ours)):
    runs.fit(config, tmp_path / name)
    columns, _ = parquet.read(analyze.analyze(tmp_path / name))
    table = first_version.of_config(config, tmp_path / f'table {name}', 'person:me')
    found[name] = columns, refs.opened(f'{tmp_path / f"table {name}"}@latest').rows.id.tolist(), table.facts['classes']
  (a, *ids_a), (b, *ids_b) = found.values()
  assert ids_a == ids_b
  for name in a:
    assert_array_equal(a[name], b[name], name)
  assert 'memory: about' in dry_run.text(ours)
  predicted = predict_files.predict_files([predict.load(tmp_path / 'ours')], ours.data.path)
  probs = next(iter(predicted.probs.values()))
  rows = slice(0, runs.TRAIN)
  assert_array_equal(probs[rows], parquet.read(tmp_path / 'ours' / 'samples.parquet')[0]['probs'][rows])
  assert list(predicted.names.values()) == [str(i) for i in range(len(probs))]


@pytest.mark.slow
def test_label_issues_of_a_pack_are_those_of_its_images(both, tmp_path):
  plain, ours = both(epochs=1)
  data = dataset.load(plain.data)[0]
  config = runs.recipe(epochs=1, data__val='', data__test='')
  labels = [data.classes[c] for c in data.given]
  found, _ = file_issues.find_files(ours.data.path, '', tmp_path / 'issues', folds=2, config=config, with_test=True)
  alone = issues.find_label_issues(data.images, labels, folds=2, config=config)
  assert_array_equal(found.row, alone.row)
  assert_array_equal(found.probs, alone.probs)
  with pytest.raises(UserError, match='is a pack, which holds its labels'):
    file_issues.find_files(ours.data.path, 'labels.csv', tmp_path / 'other')
