"""The README's own commands and snippets, run in its order on small data: it cannot drift from what the program does.

The photos are made here; where the real ones are at hand, the commands of "Your own data" and "Find wrong labels" run
on them too.
"""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runs
from noisyjax.system import storage

README = (runs.ROOT / 'README.md').read_text()
BLOCKS = re.findall(r'^```(\w*)\n(.*?)^```', README, re.DOTALL | re.MULTILINE)

# Commands that are not run here, by how they begin, and why.
SKIPPED = {
  'make test': 'it is what runs this',
  'python launch.py train --config=configs/recipes/elr.py:worse-short': 'it wants CIFAR-10 of TFDS',
}
# The course project's data are a stand-in of 600 images; its recipes name rows and epochs of 50,000.
ROWS = '--config.data.train=0:500 --config.data.val=160:200 --config.data.test=500:600'
SMALL = (
  ('make demo', 'python launch.py sweep --config=digits --sweep=digits --workdir=runs/demo --config.epochs=1'),
  (
    'make loop',
    'python launch.py loop --config=configs/loop/digits.py --workdir=runs/loop --config.epochs=1 --config.loop.folds=2 '
    '--config.loop.rounds=1 --config.loop.controls=()',
  ),
  ('weak_supervision/model_1.py', f'{ROWS} --config.epochs=1'),
  (
    'weak_supervision/model_2.py',
    f"{ROWS} --config.phases=\"(('naive',1,{{'rows':'trusted','labels':'verified'}}),"
    "('clean_correction',1,{'reset':'all'}))\"",
  ),
  ('launch.py kfold', f'{ROWS} --folds=2 --config.phases="((\'naive\',1,{{}}),)"'),
  ('weak_supervision/corrector.py', f'{ROWS} --config.phases="((\'naive\',1,{{}}),)"'),
  ('--engine=processes', '--config.epochs=1'),
  ('configs/find.py', '--config.epochs=2'),
  ('train --config=configs/photos.py', '--config.epochs=1 --config.steps_per_epoch=3 --config.batch_size=8'),
  ('launch.py find', '--config=find --config.epochs=1'),
  ('--dry_run', ''),
  (' train ', '--config.epochs=2'),
)


def commands() -> list[str]:
  """Returns each command of the README, on one line and without its comment."""
  shell = '\n'.join(text for language, text in BLOCKS if not language).replace('\\\n', ' ')
  lines = [re.sub(r'\s+', ' ', re.sub(r'\s{2,}#.*', '', line)).strip() for line in shell.splitlines()]
  prose = re.sub(r'^```.*?^```', '', README, flags=re.DOTALL | re.MULTILINE)
  inline = re.findall(r'`(python launch\.py [^`]*--config=[^`]*)`', prose)
  return [line for line in lines if line] + [' '.join(text.split()) for text in inline]


def shortened(command: str) -> str:
  """Returns the command as it is run here: the first entry of SMALL that it holds is added (instead of `make …`)."""
  key, more = next(((k, m) for k, m in SMALL if k in command), ('', ''))
  return more if command == key else f'{command} {more}'


def start(command: str, cwd: Path, data: Path) -> str:
  """Runs a command of the README; returns what it printed."""
  words = shlex.split(command)
  own = {'noisyjax': [sys.executable, '-m', 'noisyjax'], 'python': [sys.executable]}
  program = [str(runs.ROOT / word) if word == 'launch.py' else word for word in (*own[words[0]], *words[1:])]
  environment = os.environ | {'NOISYJAX_DATA': str(data), 'PYTHONPATH': str(runs.ROOT)}
  done = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
  assert 'Traceback' not in done.stderr, command
  return done.stdout


def pictures(count: int, side: int, seed: int) -> tuple[list[Image.Image], np.ndarray]:
  """Returns photos of ten classes, a colour each, and their classes [count]."""
  rng = np.random.default_rng(seed)
  classes = rng.permutation(np.arange(count) % 10)
  colours = np.random.default_rng(0).integers(0, 256, (10, 3))
  noisy = lambda c: np.clip(colours[c] + rng.normal(0, 40, (side, side + 8 * (side > 32), 3)), 0, 255).astype(np.uint8)
  return [Image.fromarray(noisy(c)) for c in classes], classes


def archive(path: Path, images: list[Image.Image], suffix: str) -> list[str]:
  """Writes a zip; returns the names."""
  names = [f'{i + 1:05}.{suffix}' for i in range(len(images))]
  with zipfile.ZipFile(path, 'w') as file:
    for name, image in zip(names, images):
      with file.open(f'images/{name}', 'w') as entry:
        image.save(entry, 'JPEG' if suffix == 'jpg' else 'PNG')
  return names


def test_every_command_is_run_or_skipped_for_a_reason():
  found = commands()
  assert len(found) >= 12 and all(line.split()[0] in ('make', 'python', 'noisyjax') for line in found)
  for key in SKIPPED:
    assert any(line.startswith(key) for line in found), f'{key}: the README has no such command any more'
  for key, _ in SMALL:
    assert any(key in line for line in found) or key == 'configs/find.py', f'{key}: the README has none any more'


@pytest.mark.slow
def test_the_readme_s_commands_run_in_its_order(tmp_path):
  course = tmp_path / 'data' / 'weak_supervision'
  course.mkdir(parents=True)
  images, classes = pictures(600, 32, seed=1)
  archive(course / 'images.zip', images, 'png')
  wrong = np.where(np.random.default_rng(2).random(600) < 0.5, (classes + 1) % 10, classes)
  (course / 'noisy_labels.csv').write_text('\n'.join(map(str, wrong)) + '\n')
  (course / 'clean_labels.csv').write_text('\n'.join(map(str, classes[:200])) + '\n')
  np.save(course / 'true_labels.npy', classes.astype(np.uint8))
  held, labels = pictures(20, 32, seed=3)
  (tmp_path / 'test_images').mkdir()
  for i, image in enumerate(held):
    image.save(tmp_path / 'test_images' / f'{i:02}.png')
  (tmp_path / 'test_labels.csv').write_text('\n'.join(map(str, labels)) + '\n')
  photos, kinds = pictures(120, 72, seed=4)
  names = archive(tmp_path / 'photos.zip', photos, 'jpg')
  for name, photo in zip(('photo.jpg', 'a.jpg', 'b.png'), photos):
    photo.save(tmp_path / name)
  rows = [f'{name},{"abcdefghij"[kind]}' for name, kind in zip(names, kinds)]
  (tmp_path / 'labels.csv').write_text('\n'.join(['image,label', *rows]) + '\n')
  (method,) = [text for _, text in BLOCKS if 'class Strategy' in text]
  (tmp_path / 'hard_bootstrap.py').write_text(method)
  for command in commands():
    if not any(command.startswith(key) for key in SKIPPED):
      start(shortened(command), tmp_path, tmp_path / 'data')
  for name in ('demo', 'digits', 'model_1', 'model_2', 'folds', 'grid', 'look', 'issues', 'hard_bootstrap'):
    assert (tmp_path / 'runs' / name).is_dir(), name
  config = storage.read_json(tmp_path / 'runs/hard_bootstrap/config.json')
  assert round(config['strategy']['hard_bootstrap']['beta'], 6) == 0.6
  issues = (tmp_path / 'runs/issues/issues.csv').read_text().splitlines()
  assert len(issues) == 121
  snippets = '\n'.join(text for language, text in BLOCKS if language == 'python' and 'class Strategy' not in text)
  given = (
    'import numpy as np\nfrom PIL import Image\nfrom pathlib import Path\n'
    'images = np.stack([np.asarray(Image.open(p)) for p in sorted(Path("test_images").iterdir())])\n'
    'images, image = np.concatenate([images] * 3), images[0]\n'
    'labels = np.tile(np.loadtxt("test_labels.csv", dtype=int), 3) % 2\n'
  )
  (tmp_path / 'snippets.py').write_text(given + snippets.replace('epochs=20', 'epochs=1'))
  start('python snippets.py', tmp_path, tmp_path / 'data')


PHOTOS = Path(os.environ.get('NOISYJAX_DATA', '')) / 'chihuahua_muffin'


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f'no {PHOTOS}')
def test_the_commands_for_ones_own_photos_run_on_real_ones(tmp_path):
  (tmp_path / 'photos.zip').symlink_to(PHOTOS.resolve() / 'train.zip')
  (tmp_path / 'labels.csv').symlink_to(PHOTOS.resolve() / 'train.csv')
  own = [command for command in commands() if 'photos.zip' in command]
  assert any(' find ' in command for command in own) and any(' inspect ' in command for command in own)
  for command in own:
    start(shortened(command), tmp_path, PHOTOS.parent)
  assert len((tmp_path / 'runs/issues/issues.csv').read_text().splitlines()) == 1583
