"""find with an engine: folds in other processes, the same table, and what is finished after a death is adopted."""

import numpy as np
import pytest
from PIL import Image

import runs
from configs import base
from noisyjax.analysis import file_issues
from noisyjax.config.override import override
from noisyjax.data import pack, packed, training_files
from noisyjax.data.training import TrainData
from noisyjax.runs import fold, in_memory, status
from noisyjax.runs.engines import engine, fan_out
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.system import interrupt
from noisyjax.system.errors import UserError

TABLES = ('issues.csv', 'issues.html', 'probs.npy')


def quick(**overrides):
  c = in_memory.recipe()
  c.model.small_cnn.widths, c.epochs, c.batch_size = (4,), 2, 16
  c.steps_per_epoch = 0
  c.data.cache = False
  c.update(overrides)
  return c


@pytest.fixture(scope='module')
def images(tmp_path_factory):
  """24 images in two class folders."""
  path, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
  for i in range(24):
    (path / 'ab'[i % 2]).mkdir(exist_ok=True)
    picture = rng.integers(0, 90, (8, 8), dtype=np.uint8) + np.uint8(80 * (i % 2))
    Image.fromarray(picture).save(path / 'ab'[i % 2] / f'{i:02}.png')
  return path


def found(images, folder, place, **overrides):
  file_issues.find_files(str(images), '', folder, folds=3, config=quick(**overrides), engine=place)
  return {name: (folder / name).read_bytes() for name in TABLES}


@pytest.fixture(scope='module')
def here(images, tmp_path_factory):
  return found(images, tmp_path_factory.mktemp('here'), None)


@pytest.fixture(autouse=True)
def soon(monkeypatch):
  monkeypatch.setattr(fan_out, 'POLL', 0.01)


def test_the_table_of_processes_is_that_of_one_process(images, here, tmp_path):
  assert found(images, tmp_path, engine.load('processes:at_once=1')) == here
  assert not (tmp_path / 'folds').exists()


def test_the_same_call_adopts_finished_folds(images, here, tmp_path):
  with pytest.raises(interrupt.Stopped):
    found(images, tmp_path, FanOut(runs.InThisProcess(2)))
  assert [row.state for row in status.rows(tmp_path)] == ['finished', 'finished', 'waiting']
  rest = runs.InThisProcess()
  assert found(images, tmp_path, FanOut(rest)) == here
  assert rest.done == ['fold=2'] and not (tmp_path / 'folds').exists()


def test_folds_of_another_config_are_not_adopted(images, tmp_path):
  with pytest.raises(interrupt.Stopped):
    found(images, tmp_path, FanOut(runs.InThisProcess(2)))
  rest = runs.InThisProcess()
  found(images, tmp_path, FanOut(rest), seed=1)
  assert rest.done == ['fold=0', 'fold=1', 'fold=2']


def test_a_fold_that_fails_ends_no_other_and_is_tried_again(images, here, tmp_path, monkeypatch):
  honest = fold.held_out

  def fails(plan, data, held, *rest):
    if failing and 0 in held:
      raise UserError('no luck')
    return honest(plan, data, held, *rest)

  monkeypatch.setattr(fold, 'held_out', fails)
  failing = True
  with pytest.raises(UserError, match=r'1 of 3 folds failed\. The first: no luck'):
    found(images, tmp_path, FanOut(runs.InThisProcess()))
  failing, rest = False, runs.InThisProcess()
  assert found(images, tmp_path, FanOut(rest)) == here and len(rest.done) == 1


def test_rows_on_disk_are_the_rows(images, tmp_path):
  rng = np.random.default_rng(0)
  pixels, given = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), np.array([0, 1, -1, 0, 1, 1], np.int32)
  data = TrainData(pixels, given, np.full(6, -1, np.int32), 2, weight=np.arange(6) / 6)
  digest = training_files.write(tmp_path, data)
  back = training_files.read(tmp_path)
  np.testing.assert_array_equal(back.images, pixels)
  for name in training_files.COLUMNS:
    np.testing.assert_array_equal(getattr(back, name), getattr(data, name))
  assert training_files.write(tmp_path, back) == digest
  pixels[3, 1, 1, 1] ^= 1
  assert training_files.write(tmp_path, data) != digest


def test_of_rows_in_a_pack_only_the_place_is_written(images, tmp_path):
  config = base.get_config()
  override(config, {'data.source': 'folders', 'data.path': str(images)}, 'test')
  pack.pack(config.data, tmp_path / 'pack')
  whole = packed.images(tmp_path / 'pack', packed.facts(tmp_path / 'pack'))
  data = TrainData(whole.select(np.array([5, 2, 9])), *np.zeros((2, 3), np.int32), 2)
  training_files.write(tmp_path, data)
  back = training_files.read(tmp_path).images
  assert not back.resident and not (tmp_path / training_files.PIXELS).exists()
  np.testing.assert_array_equal(back, data.images)
