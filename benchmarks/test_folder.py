"""Writes the held-out rows of the weak-supervision data as the seed's hidden test set looks, for `launch.py predict`.

  python benchmarks/test_folder.py --out=runs/test

gives runs/test/test_images/test00001.png … test05000.png (rows 45,000-49,999) and runs/test/test_labels.csv (their true
labels, one a row).
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
from absl import app, flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.data import home

DATA = flags.DEFINE_string('data', home.path('weak_supervision'), 'Folder of the data.')
OUT = flags.DEFINE_string('out', 'runs/test', 'Folder to write.')
FIRST, LAST = 45_000, 50_000


def main(_):
  images = Path(OUT.value) / 'test_images'
  images.mkdir(parents=True, exist_ok=True)
  labels = np.load(Path(DATA.value) / 'true_labels.npy')[FIRST:LAST]
  with zipfile.ZipFile(Path(DATA.value) / 'images.zip') as archive:
    for i, row in enumerate(range(FIRST, LAST), 1):
      (images / f'test{i:05d}.png').write_bytes(archive.read(f'images/{row + 1:05d}.png'))
  (Path(OUT.value) / 'test_labels.csv').write_text('\n'.join(map(str, labels)) + '\n')


if __name__ == '__main__':
  app.run(main)
