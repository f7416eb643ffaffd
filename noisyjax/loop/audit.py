"""What true labels say of the versions of a loop: read from the audit of its final runs, and written to audit.json.

Nothing reads audit.json but the report.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from noisyjax.loop import compare, round as round_
from noisyjax.loop.finish import Final
from noisyjax.loop.ground import Ground
from noisyjax.loop.round import Record
from noisyjax.system import formats, parquet
from noisyjax.tables import versions
from noisyjax.tables.rows import LABELED, TRAIN, UNLABELED, Rows


def of(ground: Ground, done: Sequence[Record], finals: Sequence[Final]) -> dict[str, Any]:
  """Writes audit.json and returns its content; {} if no final run was scored."""
  scored = [final for final in finals if final.results]
  truth = _truth(ground, scored)
  if truth is None:
    return {}
  first, classes = ground.first.rows, ground.first.classes
  labels = {
    f'{record["round"]}': labels_of(versions.read(ground.table, record['version']).rows, first, truth, classes)
    for record in done
  }
  found: dict[str, Any] = {'labels': labels}
  named = {final.name: final for final in finals}
  chosen, start = named.get(f'version={round_.best(done)["round"]}'), named.get('version=0')
  if chosen and start and chosen is not start:
    found['chosen_against_version_0'] = _paired(ground, start, chosen)
    for final in scored:
      if final.name.startswith('control='):
        found[f'chosen_against_{final.name}'] = _paired(ground, final, chosen)
  if noise := scored[0].results[0]['audit'].get('noise'):
    found['noise'] = noise
  formats.write_json(formats.LOOP, ground.folder / 'audit.json', found)
  return found


def labels_of(rows: Rows, first: Rows, truth: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
  """Scores the labels of a version against the truth.

  Args:
    rows: of the version.
    first: rows of version 0.
    truth: int [N], true labels; -1 = unknown.
    classes: names of the classes.

  Returns:
    accuracy: share of the labels of the version that are right.
    promoted: of the rows without a label in version 0, the share that has one now.
    classes: for each class, of these rows: promoted (number), precision, and recall (share of the class's rows that
      were promoted to it).
    repaired: number of labels of version 0 that were wrong and are right now.
    spoiled: number that were right and are wrong now.
    changed: number that differ.
  """
  known = (truth >= 0) & (rows.split == TRAIN)
  labeled = known & (rows.status == LABELED)
  bare = known & (first.status == UNLABELED)
  gained = bare & labeled
  of_class = {}
  for k, name in enumerate(classes):
    mine, true = gained & (rows.label == k), bare & (truth == k)
    hit = int((mine & true).sum())
    of_class[name] = {
      'promoted': int(mine.sum()),
      'precision': hit / int(mine.sum()) if mine.any() else None,
      'recall': hit / int(true.sum()) if true.any() else None,
    }
  both = known & (first.status == LABELED) & labeled
  was, now = first.label == truth, rows.label == truth
  share = lambda part, whole: float(part.sum() / whole.sum()) if whole.any() else None
  return {
    'accuracy': share(labeled & now, labeled),
    'promoted': share(gained, bare),
    'precision': share(gained & now, gained),
    'classes': of_class,
    'repaired': int((both & ~was & now).sum()),
    'spoiled': int((both & was & ~now).sum()),
    'changed': int((both & (first.label != rows.label)).sum()),
  }


def _truth(ground: Ground, finals: Sequence[Final]) -> np.ndarray | None:
  """Returns the true labels of the rows of the table, from the audit of a final run; None if none is known."""
  paths = [folder / 'audit.parquet' for final in finals for folder in final.folders]
  if not (there := [path for path in paths if path.exists()]):
    return None
  columns, _ = parquet.read(there[0], ('row', 'true'))
  out = np.full(len(ground.first.rows), -1, np.int32)
  out[ground.place_of[columns['row']]] = columns['true']
  return out


def _paired(ground: Ground, old: Final, new: Final) -> dict[str, Any] | None:
  """Compares two lines of final runs on the test rows.

  Returns:
    difference: mean over seeds and rows of the accuracy of the new one minus that of the old one.
    interval: 95 % interval, by the paired bootstrap over rows.
    seeds: difference of each seed.
    seed_0: `compare.paired` of seed 0: its test takes rows as independent, and those of several seeds are not.
    None if a run is missing.
  """
  right: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
  for folders in zip(old.folders, new.folders):
    found = []
    for folder in folders:
      path = folder / 'audit.parquet'
      if not path.exists():
        return None
      columns, _ = parquet.read(path, ('split', 'predicted', 'true'))
      test = columns['split'] == 'test'
      if not test.any():
        return None
      found.append(columns['predicted'][test] == columns['true'][test])
    for each, values in zip(right, found):
      each.append(values)
  alone = compare.paired(right[0][0], right[1][0], ground.recipe.seed)
  gains = [float(new.mean() - old.mean()) for old, new in zip(*right)]
  mean = np.mean([new.astype(float) - old for old, new in zip(*right)], 0)
  random = np.random.default_rng(ground.recipe.seed)
  draws = mean[random.integers(0, len(mean), (compare.DRAWS, len(mean)))].mean(1)
  low, high = np.percentile(draws, [2.5, 97.5])
  return {'difference': float(mean.mean()), 'interval': [float(low), float(high)], 'seeds': gains, 'seed_0': alone}
