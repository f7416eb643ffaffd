"""The lock of a folder: one command at a time, and any existing file in its place is left alone."""

import os
import subprocess
import sys

import numpy as np
import pytest

import runs
from noisyjax.analysis import file_issues
from noisyjax.experiments import kfold, sweep
from noisyjax.runs import run
from noisyjax.system import lock
from noisyjax.system.errors import UserError


@pytest.fixture
def data(tmp_path):
  return runs.npz(tmp_path / 'data.npz')


def test_a_folder_is_held_once_and_its_holder_is_named(tmp_path):
  code = f'import sys; sys.path.insert(0, {str(runs.ROOT)!r}); from noisyjax.system import lock\n' + (
    'with lock.held(sys.argv[1]):\n  print("held", flush=True); sys.stdin.read()'
  )
  holder = subprocess.Popen([sys.executable, '-c', code, tmp_path / 'w'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
  assert holder.stdout.readline() == b'held\n'
  said = rf'w: in use by (process {holder.pid}|another process); wait for it'
  with pytest.raises(UserError, match=said), lock.held(tmp_path / 'w'):
    pass
  holder.kill()  # the lock dies with its process
  holder.communicate()
  with lock.held(tmp_path / 'w', tmp_path / 'w', tmp_path / 'other/..' / 'w'):  # one folder by three names
    assert (tmp_path / 'w/lock').read_bytes() == b''


def test_what_lies_in_the_place_of_the_lock_is_left_as_it_is(tmp_path):
  mine = tmp_path / 'thesis.tex'
  mine.write_text('years of work')
  for name in ('link', 'hard', 'dangling', 'pipe', 'folder'):
    (tmp_path / name).mkdir()
  (tmp_path / 'link/lock').symlink_to(mine)
  (tmp_path / 'dangling/lock').symlink_to(tmp_path / 'nowhere')
  os.link(mine, tmp_path / 'hard/lock')
  os.mkfifo(tmp_path / 'pipe/lock')
  (tmp_path / 'folder/lock').mkdir()
  for name, said in (('link', 'is a link'), ('dangling', 'is a link'), ('pipe', 'not a reg'), ('folder', 'directory')):
    with pytest.raises(UserError, match=said), lock.held(tmp_path / name):
      pass
  with lock.held(tmp_path / 'hard'):
    pass
  assert mine.read_text() == 'years of work' and not (tmp_path / 'nowhere').exists()


def test_who_only_reads_makes_no_folder_and_needs_no_lock_where_none_can_be_made(tmp_path, monkeypatch):
  with lock.held(tmp_path / 'none', make=False):
    assert not (tmp_path / 'none').exists()
  (tmp_path / 'w').mkdir()

  def refuse(*args, **kwargs):
    raise OSError(30, 'Read-only file system')

  monkeypatch.setattr(lock.os, 'open', refuse)
  with lock.held(tmp_path / 'w', make=False):
    pass
  with pytest.raises(UserError, match='w: cannot use this workdir: Read-only file system'), lock.held(tmp_path / 'w'):
    pass


def test_every_command_holds_its_folder(data, tmp_path):
  recipe, folder = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(data)), tmp_path / 'w'
  labels = tmp_path / 'labels.csv'
  config = runs.recipe(data)
  with lock.held(folder):
    for call in (
      lambda: run.run(config, folder),
      lambda: sweep.sweep(config, [{}], str(folder)),
      lambda: kfold.kfold(config, 2, str(folder)),
      lambda: sweep.sweep(config, [{'seed': 1}], str(folder)),
    ):
      with pytest.raises(UserError, match='w: in use by'):
        call()
    (tmp_path / 'images').mkdir()
    from PIL import Image

    for i in range(6):
      Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(tmp_path / f'images/{i}.png')
    labels.write_text('image,label\n' + ''.join(f'{i}.png,{i % 2}\n' for i in range(6)))
    with pytest.raises(UserError, match='w: in use by'):
      file_issues.find_files(str(tmp_path / 'images'), str(labels), folder)
    commands = [['inspect', f'--config={recipe}', f'--workdir={folder}'], ['report', f'--workdir={folder}']]
    for code, out, err in runs.launch_all(commands):
      assert code == 2 and not out and 'w: in use by' in err
  assert [p.name for p in folder.iterdir()] == ['lock']


def test_points_of_a_sweep_are_held_too(data, tmp_path):
  with lock.held(tmp_path / 'w/seed=1'), pytest.raises(UserError, match='seed=1: in use by'):
    sweep.sweep(runs.recipe(data), [{'seed': 1}], str(tmp_path / 'w'))
