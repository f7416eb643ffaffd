"""Few labels, a fifth of them wrong, and frozen features: which method is right about the photos nobody labeled?

  python benchmarks/flipped_photos.py --seeds=3 --out=benchmarks/results

The data are chihuahua_muffin ($NOISYJAX_DATA/chihuahua_muffin, or --data): 100 photos of each kind are labeled; 20 % of
these labels, drawn for each seed, are flipped. All methods train linear layers on features of EfficientNet-Lite0
(pretrained on ImageNet-1k, whose classes include Chihuahua). A method is chosen by its out-of-fold accuracy on the
flipped labels (5 folds, no true label); the true labels of the 1,382 other photos and of the 240 test photos score
what was chosen, after that. scikit-learn's logistic regression (C = 1 and 0.001, standardized features) stands beside.

Writes flipped_photos.json and .md in --out.
"""

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import program
from absl import flags
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyjax.config.override import override
from noisyjax.data import features, home, split
from noisyjax.data.images import as_images
from noisyjax.data.training import Status, TrainData
from noisyjax.reports.formatting import markdown, spread
from noisyjax.runs import in_memory
from noisyjax.system import storage

DATA = flags.DEFINE_string('data', '', 'Folder of chihuahua_muffin; empty: in $NOISYJAX_DATA.')
OUT = flags.DEFINE_string('out', 'runs/flipped_photos', 'Folder of the table.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Seeds: of the flips, the folds and the training.')
METHODS_FLAG = flags.DEFINE_list('methods', [], 'Rows of METHODS; empty: all.')

EXTRACTOR, SIDE, FOLDS, RATE = 'efficientnet_lite0', 224, 5, 0.2
CLASSES = ('chihuahua', 'muffin')
# method → what it changes of `in_memory.probe()`; none of these is told the rate of wrong labels
METHODS = {
  'naive': {},
  'naive, lr 0.05': {'optim.lr': 0.05},
  'mixup': {'mixup': 4.0},
  'gce': {'strategy.name': 'gce'},
  'sce': {'strategy.name': 'sce'},
  'bi_tempered': {'strategy.name': 'bi_tempered'},
  'active_passive': {'strategy.name': 'active_passive'},
  'bootstrap': {'strategy.name': 'bootstrap'},
  'elr': {'strategy.name': 'elr'},
  'sop': {'strategy.name': 'sop'},
  'cores2': {'strategy.name': 'cores2'},
  'ncr': {'strategy.name': 'ncr'},
  'loss_filter': {'strategy.name': 'loss_filter', 'strategy.loss_filter.rate': -1.0},
  'co_teaching': {'strategy.name': 'co_teaching', 'strategy.co_teaching.forget': -1.0},
  'confident_learning': {'strategy.name': 'confident_learning'},
  'pseudo_label': {'strategy.name': 'pseudo_label'},
}
HEAD = ('method', 'out of fold, flipped labels', 'unlabeled photos right', 'test photos right', 'muffin recall', 'n')


def photos(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns images uint8 [N, S, S, 3], given labels [N] (-1 = none), true labels [N], and which are test rows [N]."""
  read = lambda name: {row['image']: row['label'] for row in csv.DictReader((data / name).open(encoding='utf-8'))}
  given, test, truth = read('train.csv'), read('test.csv'), read('truth.csv') | read('test.csv')
  images, names = [], []
  for part in ('train', 'test'):
    with zipfile.ZipFile(data / f'{part}.zip') as archive:
      for entry in archive.infolist():
        if not entry.is_dir():
          names.append(Path(entry.filename).name)
          images.append(squared(archive.read(entry)))
  code = {name: i for i, name in enumerate(CLASSES)}
  labels = [code.get(given.get(name, ''), -1) for name in names]
  return (
    np.stack(images),
    np.array(labels),
    np.array([code[truth[n]] for n in names]),
    np.array([n in test for n in names]),
  )


def squared(photo: bytes) -> np.ndarray:
  """Returns the largest centered square of a photo, resized to SIDE, uint8 [SIDE, SIDE, 3]."""
  image = Image.open(io.BytesIO(photo)).convert('RGB')
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side)))


def flipped(labels: np.ndarray, seed: int) -> np.ndarray:
  """Returns the labels with a share RATE of the labeled rows flipped."""
  rows = np.flatnonzero(labels >= 0)
  wrong = np.random.default_rng(seed).choice(rows, round(RATE * len(rows)), replace=False)
  out = labels.copy()
  out[wrong] = 1 - out[wrong]
  return out


def trained(method: str, seed: int):
  """Returns a function from features, labels and held rows to the probabilities of all rows [N, C]."""
  c = in_memory.probe()
  c.data.features, c.seed = EXTRACTOR, seed
  override(c, METHODS[method], '--methods')

  def fit(x: np.ndarray, labels: np.ndarray, held: np.ndarray) -> np.ndarray:
    status = np.where(labels >= 0, Status.LABELED, Status.UNLABELED).astype(np.int8)
    status[held] = Status.HELD
    none = np.full(len(labels), -1, np.int32)
    data = TrainData(as_images(x), labels.astype(np.int32), none, len(CLASSES), status=status)
    return in_memory.fit(c, data).probs(x, 256)

  return fit


def logistic(c: float):
  """Returns the same function, of scikit-learn's logistic regression."""

  def fit(x: np.ndarray, labels: np.ndarray, held: np.ndarray) -> np.ndarray:
    use = (labels >= 0) & ~held
    flat = x.reshape(len(x), -1).astype(np.float32)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)).fit(flat[use], labels[use])
    return model.predict_proba(flat)

  return fit


def scores(fit, x: np.ndarray, labels: np.ndarray, truth: np.ndarray, test: np.ndarray, seed: int) -> dict[str, float]:
  """Returns what one method reaches with one draw of flips."""
  rows = np.flatnonzero(labels >= 0)
  right = np.zeros(len(labels), bool)
  ids = np.array([str(i) for i in range(len(labels))])
  for _, held in split.folds(rows, labels, ids, FOLDS, seed):
    out = np.isin(np.arange(len(labels)), held) | test
    right[held] = fit(x, labels, out)[held].argmax(1) == labels[held]
  says = fit(x, labels, test).argmax(1) == truth
  return {
    'fold': right[rows].mean(),
    'unlabeled': says[(labels < 0) & ~test].mean(),
    'test': says[test].mean(),
    'recall': says[test & (truth == 1)].mean(),
  }


def main() -> None:
  images, given, truth, test = photos(Path(DATA.value or home.path('chihuahua_muffin')))
  x = features.extract(images, features.extractor(EXTRACTOR))
  ways = {name: lambda seed, name=name: trained(name, seed) for name in METHODS_FLAG.value or METHODS}
  ways |= {f'logistic regression, C = {c:g}': lambda seed, c=c: logistic(c) for c in (1.0, 0.001)}
  found = {name: [] for name in ways}
  for seed in range(SEEDS.value):
    labels = flipped(given, seed)
    for name, way in ways.items():
      found[name].append(scores(way(seed), x, labels, truth, test, seed))
      print(seed, name, {k: round(float(v), 4) for k, v in found[name][-1].items()}, flush=True)
  mean = lambda name: np.mean([one['fold'] for one in found[name]])
  order = sorted(found, key=mean, reverse=True)
  cells = [
    [n, *(spread([o[k] for o in found[n]]) for k in ('fold', 'unlabeled', 'test', 'recall')), str(SEEDS.value)]
    for n in order
  ]
  chosen = [max(found, key=lambda n, s=s: found[n][s]['fold']) for s in range(SEEDS.value)]
  best = [found[n][s]['unlabeled'] for s, n in enumerate(chosen)]
  table = (
    markdown(HEAD, cells)
    + f'\n\nChosen by flipped labels, a seed: {", ".join(chosen)}: {spread(best)} of the unlabeled photos right.\n'
  )
  out = Path(OUT.value)
  storage.make_folder(out)
  storage.write_text(out / 'flipped_photos.md', table)
  plain = {n: [{k: float(v) for k, v in o.items()} for o in runs] for n, runs in found.items()}
  storage.write_text(
    out / 'flipped_photos.json', json.dumps(program.record() | {'runs': plain, 'chosen': chosen}, indent=1) + '\n'
  )
  print(table)


if __name__ == '__main__':
  program.run(main)
