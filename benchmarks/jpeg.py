"""What it costs a network that learned from lossless images to be asked about images stored as JPEG, and what the
augmentation `jpeg` gives back.

  python benchmarks/jpeg.py --recipe=clean_only --seeds=1
  python benchmarks/jpeg.py --recipe=best_cpu

A recipe of `configs/weak_supervision/` is trained with its own weak views and with `jpeg` at their end. Each network is
then asked about rows 45,000-49,999 as they are and as JPEG copies, each stored once by Pillow at a quality drawn
uniformly from 50 to 95 (the same copies for all). The network is the one that validation chose, on lossless rows.

Writes jpeg_RECIPE.json and .md in --out. Finished runs are not repeated, and one that was stopped goes on.
"""

import functools
import importlib
import io
import json
from pathlib import Path

import numpy as np
import program
from absl import flags
from PIL import Image

from noisyjax.data import prepare
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import run
from noisyjax.runs.predict import load
from noisyjax.system import storage

RECIPE = flags.DEFINE_enum('recipe', 'clean_only', ['clean_only', 'best_cpu'], 'Of configs/weak_supervision/.')
SEEDS = flags.DEFINE_integer('seeds', 1, 'Seeds a variant.')
EPOCHS = flags.DEFINE_integer('epochs', 0, 'Of a recipe without phases; 0: its own.')
CONV = flags.DEFINE_string('conv', '', 'model.conv; empty: of the recipe.')
WORKDIR = flags.DEFINE_string('workdir', 'runs/jpeg', 'Folder of the runs.')
OUT = flags.DEFINE_string('out', '', 'Folder of the table; empty: the workdir.')

WORST, BEST = 50, 95  # of the copies
HEAD = ('weak views', 'lossless rows', 'JPEG copies', 'cost of JPEG', 'validation', 'n', 'epochs', 'minutes')


def config_of(jpeg: bool, seed: int):
  """Returns the recipe's config, with or without `jpeg` in its weak views."""
  c = importlib.import_module(f'configs.weak_supervision.{RECIPE.value}').get_config()
  c.seed = seed
  c.epochs = EPOCHS.value or c.epochs
  c.model.conv = CONV.value or c.model.conv
  c.augment.weak = (*c.augment.weak, 'jpeg') if jpeg else c.augment.weak
  return c


@functools.cache
def test_rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns images uint8 [n, H, W, C], their JPEG copies, and true labels [n]."""
  images, labels = prepare.prepare(config_of(False, 0))[1].test
  images = np.asarray(images)
  quality = np.random.default_rng(0).integers(WORST, BEST + 1, len(images))
  return images, np.stack([stored(image, int(q)) for image, q in zip(images, quality)]), labels


def stored(image: np.ndarray, quality: int) -> np.ndarray:
  """Returns an image as it comes back from a JPEG file."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'JPEG', quality=quality)
  return np.asarray(Image.open(file))


def score(workdir: Path) -> dict[str, float]:
  """Returns the accuracy of a finished run on the test rows as they are and as JPEG copies."""
  model = load(workdir)
  images, copies, labels = test_rows()
  return {name: float((model(x) == labels).mean()) for name, x in (('lossless', images), ('jpeg', copies))}


def row(found: list[dict]) -> list[str]:
  """Returns the cells of one variant, from its runs."""
  mean = lambda values, scale=100.0: spread(list(values), scale)
  return [
    ', '.join(found[0]['weak']),
    mean(f['lossless'] for f in found),
    mean(f['jpeg'] for f in found),
    mean(f['lossless'] - f['jpeg'] for f in found),
    mean(f['validation']['best'] for f in found),
    str(len(found)),
    str(found[0]['epochs']),
    mean((f['seconds'] for f in found), 1 / 60),
  ]


def main() -> None:
  record = program.record() | {'runs': []}
  rows = []
  folder = Path(OUT.value or WORKDIR.value)
  folder.mkdir(parents=True, exist_ok=True)
  for name in ('plain', 'jpeg'):
    found = []
    for seed in range(SEEDS.value):
      config = config_of(name == 'jpeg', seed)
      workdir = Path(WORKDIR.value) / RECIPE.value / name / f'seed={seed}'
      result = run.run(config, workdir)
      found.append(
        {'variant': name, 'seed': seed, 'weak': list(config.augment.weak)}
        | {k: result[k] for k in ('epochs', 'seconds', 'validation', 'device')}
        | score(workdir)
      )
    record['runs'] += found
    rows.append(row(found))
    table = markdown(HEAD, rows) + '\n'
    path = folder / f'jpeg_{RECIPE.value}'
    storage.write_text(path.with_suffix('.md'), table)
    storage.write_text(path.with_suffix('.json'), json.dumps(record, indent=1) + '\n')
  print(table)


if __name__ == '__main__':
  program.run(main)
