"""Analyzes a finished run: a table of its training and validation rows, see `analysis.columns`, and a summary.

The networks are those of the checkpoint that the run reports. The data are prepared as the run prepared them, and the
test rows and the true labels are left behind at once: nothing here can read them.

RUN/analysis/<checkpoint>.json is the summary. It is written last and holds the digests of all files, so that an
analysis is finished or absent:

  run, checkpoint, checkpoint_sha256, data, table, classes   as in the table's metadata
  settings      what was asked for: folds, map, map_start, seed
  rows          number of rows by split and by status
  embedding     `of` "penultimate" or "features", `evidence` "learned" or "pretrained", dimensions, sha256; or null
  duplicates    groups, rows in them, groups with conflicting labels, groups across splits
  map           what made the map, see `map2d.placed`; or null
  noise         estimates from out-of-fold probabilities, see `noise_estimate.estimated`; or null
  code          version of the code
  files         name → sha256
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from noisyjax.analysis import analysis_file, duplicates, geometry, noise_estimate, out_of_fold, predicted
from noisyjax.analysis.map2d import MAPS, sha256
from noisyjax.analysis.neighbours import Neighbours
from noisyjax.data import prepare, row_ids, thumbnail
from noisyjax.data.decode import quiet
from noisyjax.data.images import as_images, chunks
from noisyjax.data.prepare import Prepared
from noisyjax.data.training import Status
from noisyjax.estimate import confident
from noisyjax.runs import identity, selected
from noisyjax.system import formats, lock, parquet, storage, version
from noisyjax.system.errors import UserError, check_choice
from noisyjax.system.log import log
from noisyjax.tables import refs

SCORES = ('self_confidence', 'normalized_margin', 'confidence_weighted_entropy')


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is asked for beside the columns that are always made.

  Attributes:
    folds: folds of the out-of-fold probabilities; 0: none.
    map: a key of `map2d.MAPS`; '': PCA alone.
    map_start: table of an earlier analysis on whose map the points begin; ''.
    seed: seed of clusters and map.
  """

  folds: int = 0
  map: str = ''
  map_start: str = ''
  seed: int = 0


def analyze(workdir: str | Path, settings: Settings = Settings(), select: str = '', rerun: bool = False) -> Path:
  """Analyzes a finished run, and returns the path of the table; a finished analysis is kept.

  Args:
    workdir: folder of the run.
    settings: what is asked for.
    select: epoch of the checkpoint, "best" (by validation) or "last"; '': the one that the run reports.
    rerun: whether an analysis with other settings, or of another checkpoint, or by other code is replaced.

  Raises:
    Stale: there is an analysis with other settings or of another checkpoint, and `rerun` is False.
    UserError: the run is not finished, its data have changed, or a setting is invalid.
  """
  folder = Path(workdir)
  if settings.map:
    check_choice('map', settings.map, MAPS)
  if settings.folds == 1 or settings.folds < 0:
    raise UserError(f'folds: found {settings.folds}; expected 2 or more, or 0 for none.')
  with lock.held(folder, make=False):
    run = selected.load(folder, select)
    here = {
      'run': run.id,
      'checkpoint': run.select,
      'checkpoint_sha256': run.sha256(),
      'data': run.result['data']['fingerprint'],
      'table': run.result['data'].get('table', {}).get('version', ''),
      'classes': run.facts['classes'],
    }
    inputs = here | {'settings': dataclasses.asdict(settings), 'code': version.code_today()}
    path = folder / 'analysis' / f'{run.select}.parquet'
    if not rerun and finished(path, inputs):
      log.info('%s: already finished.', path)
      return path
    columns, summary, arrays = _made(folder, run, settings)
    storage.make_folder(path.parent)
    storage.remove(path.with_suffix('.json'))  # from here on, the old analysis is unfinished
    for old in path.parent.glob(f'{run.select}.*'):
      storage.remove(old)
    for name, array in arrays.items():
      storage.write_bytes(path.with_suffix(f'.{name}.npy'), storage.npy(array))
    analysis_file.write(path, columns, here)
    files = {p.name: storage.sha256(p) for p in sorted(path.parent.glob(f'{run.select}.*'))}
    formats.write_json(formats.ANALYSIS, path.with_suffix('.json'), inputs | summary | {'files': files})
  return path


def summary(path: Path) -> dict[str, Any]:
  """Returns the summary of the analysis whose table is at `path`; raises UserError if it is missing or damaged."""
  return formats.read_json(formats.ANALYSIS, path.with_suffix('.json'))


def finished(path: Path, inputs: Mapping[str, Any]) -> bool:
  """Returns whether the analysis at `path` is finished, and of these inputs.

  Args:
    path: its table.
    inputs: what the summary should hold.

  Raises:
    Stale: it is finished and of other inputs, or its files were changed.
  """
  if not path.with_suffix('.json').exists():
    return False
  there = summary(path)
  flat = lambda found: {**found, **(found.get('settings') or {}), 'settings': None, 'code': None}
  old, new = flat(there), flat(inputs)
  if lines := [f'{name}: {old.get(name)!r} → {new[name]!r}' for name in new if old.get(name) != new[name]]:
    raise identity.Stale(
      f'{path}: is finished, but with other settings or of another checkpoint (there → here: {"; ".join(lines)}). The '
      'same command with --rerun replaces it, and computes all its columns again.'
    )
  for name, digest in there['files'].items():
    if not (path.parent / name).exists() or storage.sha256(path.parent / name) != digest:
      raise identity.stale(path.parent / name, 'was removed, changed or damaged after it was written')
  if there['code'] != inputs['code']:
    log.warning('%s: was made by other code (%s); --rerun makes it again.', path, there['code'])
  return True


def _made(
  folder: Path, run: selected.Selected, settings: Settings
) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
  """Returns the columns, the entries of the summary, and the arrays beside the table."""
  config = run.plan.config.copy_and_resolve_references()
  if table := run.result['data'].get('table'):  # what "latest" was then may be another version now
    config.data.table = f'{table["folder"]}@{table["version"]}'
  prepared = prepare.prepare(config)[0]  # the second part are test rows and true labels
  if prepared.record['fingerprint'] != run.result['data']['fingerprint']:
    raise UserError(f'{folder}: the data are not those that the run was trained on; restore them, or train again.')
  _say(f'predictions of {len(prepared.rows):,} training and {len(prepared.val_rows):,} validation rows')
  images = [prepared.train.images, *([prepared.validation[0]] if prepared.validation else [])]
  probs, embeddings = _looked(run, images)
  columns = _rows(prepared, config.data.table)
  columns |= predicted.columns(probs, columns['given'])
  columns |= _dynamics(folder, columns['row'])
  arrays = {'probs': probs}
  if embeddings is not None:
    arrays['embeddings'] = embeddings
  if run.config.data.features or run.config.data.source == 'features':
    arrays['features'] = np.concatenate([np.asarray(i)[:, 0, 0].astype(np.float32) for i in images])
  pairs = {'exact': duplicates.exact_pairs(columns['digest'].astype('U64')), 'hash': _hashed(prepared, images)}
  space, about = arrays.get('features', embeddings), None
  if space is not None and len(space) > 1:
    pretrained = 'features' in arrays
    about = {
      'of': 'features' if pretrained else 'penultimate',
      'evidence': 'pretrained' if pretrained else 'learned',
      'dimensions': space.shape[1],
      'sha256': sha256(space),
    }
    found, near, mapped = _geometry(space, columns, probs.argmax(1), len(prepared.classes), settings)
    columns, arrays['neighbours'] = columns | found, near.index
    if pretrained:  # what a network learned from these labels also draws different images of a class together
      pairs['embedding'] = duplicates.embedding_pairs(*near)
  else:
    mapped = None
  copies = duplicates.grouped(len(probs), pairs)
  columns |= geometry.duplicate_columns(copies, columns['given'], columns['split'])
  columns['in_sample'] = _in_sample(run, prepared, pairs['exact'])
  noise = None
  if settings.folds:
    _say(f'out-of-fold probabilities by {settings.folds} folds')
    found, arrays['oof'], noise = _out_of_fold(run, prepared, copies, columns['given'], settings.folds)
    columns |= found
  several = copies.group >= 0
  counted = lambda where: len(np.unique(copies.group[where & several]))
  return (
    columns,
    {
      'rows': {**Counter(columns['split'].tolist()), **Counter(columns['status'].tolist())},
      'embedding': about,
      'duplicates': {
        'groups': counted(several),
        'rows': int(several.sum()),
        'conflicting': counted(columns['duplicate_conflict']),
        'across_splits': counted(columns['duplicate_crosses']),
      },
      'map': mapped,
      'noise': noise,
    },
    arrays,
  )


def _say(what: str) -> None:
  log.info('analyze: %s.', what)


def _geometry(
  space: np.ndarray, columns: Mapping[str, np.ndarray], classified: np.ndarray, classes: int, settings: Settings
) -> tuple[dict[str, np.ndarray], Neighbours, dict[str, Any] | None]:
  """Returns the columns that come from where rows lie in a space, their neighbours, and how the map was made.

  Args:
    space: embeddings or features, float [N, F].
    columns: id, given and split of each row.
    classified: int [N], the predicted classes.
    classes: number of classes.
    settings: what is asked for.
  """
  _say('neighbours')
  near, found = geometry.neighbour_columns(space, columns['given'], classified, columns['split'] == 'train')
  _say('clusters')
  found |= geometry.cluster_columns(space, classes, settings.seed)
  _say(f'map{" by " + settings.map if settings.map else ""}')
  start = _start(settings.map_start, columns['id'])
  placed, mapped = geometry.map_columns(space, settings.map, settings.seed, start)
  return found | placed, near, mapped


def _rows(prepared: Prepared, table: str = '') -> dict[str, np.ndarray]:
  """Returns the columns that say which row it is, and which labels it has; a row of a table has its id there.

  Args:
    prepared: the data of the run.
    table: version of a label table, DIR@VERSION; '': the run has none.
  """
  data, train = prepared.data, prepared.train
  rows = np.concatenate([prepared.rows, prepared.val_rows])
  held = len(prepared.val_rows)
  val_status = np.where(
    (data.given[prepared.val_rows] >= 0) | (data.verified[prepared.val_rows] >= 0), Status.LABELED, Status.UNLABELED
  )
  ids = row_ids.row_ids(data)[rows]
  if table:
    named = refs.opened(table).rows
    ids = named.id[named.places_named(ids, data.names[rows])]
  words = np.array([status.name.lower() for status in Status])
  return {
    'row': rows,
    'id': ids.astype(str),
    'digest': data.ids[rows],
    'name': data.names[rows],
    'split': np.repeat(['train', 'val'], [len(prepared.rows), held]),
    'status': words[np.concatenate([train.status, val_status]).astype(int)],
    'weight': np.concatenate([train.weight, np.ones(held, np.float32)]),
    'given': data.given[rows],
    'verified': data.verified[rows],
  }


def _looked(run: selected.Selected, images: list[Any]) -> tuple[np.ndarray, np.ndarray | None]:
  """Returns probabilities [n, C] of all rows, and the penultimate layer [n, F]; None for a classic estimator."""
  probs, embeddings = zip(*map(run.look, images))
  return np.concatenate(probs), None if run.net is None else np.concatenate(embeddings)


# The columns of samples.parquet that say how a row was learned.
DYNAMICS = ('row', 'count', 'mean_margin', 'forgotten', 'mean_confidence', 'learned', 'std_confidence')


def _dynamics(folder: Path, rows: np.ndarray) -> dict[str, np.ma.MaskedArray]:
  """Returns the training dynamics that samples.parquet holds."""
  there, _ = parquet.read(folder / 'samples.parquet', DYNAMICS)
  if not np.array_equal(there['row'], rows):
    raise UserError(f'{folder / "samples.parquet"}: has other rows than the run; train it again.')
  if 'count' not in there:
    return {}
  unseen = there['count'] <= 0
  networks = max(int(formats.read_json(formats.RUN, folder / 'model.json').get('networks', 1)), 1)
  found = {
    'visits': np.round(there['count'] / networks),
    'aum': there['mean_margin'],
    'forgotten': there['forgotten'] / networks,
    'confidence_mean': there['mean_confidence'],
  }
  more = {'learned': there.get('learned'), 'confidence_std': there.get('std_confidence')}
  found |= {name: values for name, values in more.items() if values is not None}
  return {name: np.ma.masked_array(values, unseen | ~np.isfinite(values)) for name, values in found.items()}


def _hashed(prepared: Prepared, images: list[Any]) -> np.ndarray:
  """Returns the pairs of rows that look equal: of the pixels trained on, or of the files of rows that are features."""
  data, rows = prepared.data, np.concatenate([prepared.rows, prepared.val_rows])
  if all(min(i.shape[1:3]) >= duplicates.SMALLEST for i in images):
    hashes = duplicates.dhash(image for part in images for chunk in chunks(as_images(part)) for image in chunk)
  elif data.root and images[0].shape[2] == 1:  # features
    with thumbnail.originals(data) as read, quiet():
      hashes = duplicates.dhash(read(row) for row in rows.tolist())
  else:
    return np.zeros((0, 2), np.int64)
  return duplicates.hash_pairs(hashes)


def _in_sample(run: selected.Selected, prepared: Prepared, copies: np.ndarray) -> np.ndarray:
  """Returns whether the networks may have been trained on each row, bool [n].

  An unlabeled row counts as trained on if any method of the run has a stream that needs no labels, or sets targets.

  Args:
    run: the run.
    prepared: its data.
    copies: rows of the pairs of equal images [P, 2].
  """
  unlabeled = run.net is not None and run.plan.uses_unlabeled
  train = prepared.train
  seen = train.used & ((train.status == Status.LABELED) | unlabeled)
  seen = np.concatenate([seen, np.zeros(len(prepared.val_rows), bool)])
  group = duplicates.grouped(len(seen), {'exact': copies}).together()
  return np.isin(group, group[seen])


def _out_of_fold(
  run: selected.Selected, prepared: Prepared, copies: duplicates.Duplicates, given: np.ndarray, folds: int
) -> tuple[dict[str, Any], np.ndarray, dict[str, Any]]:
  """Returns the out-of-fold columns, probabilities [n, C] and estimates of the noise, by the recipe of the run."""
  count = len(prepared.rows)
  config = run.plan.config.copy_and_resolve_references()
  own, fold = out_of_fold.of_rows(
    dataclasses.replace(prepared.train, images=as_images(prepared.train.images)),
    copies.together()[:count],
    prepared.classes,
    folds,
    config,
  )
  blank = np.full((len(prepared.val_rows), own.shape[1]), np.nan, np.float32)
  probs = np.concatenate([own, blank])
  fold = np.concatenate([fold, np.full(len(blank), -1, np.int32)])
  columns = {'fold': np.ma.masked_array(fold, fold < 0)} | predicted.columns(probs, given, 'oof_')
  judged = (fold >= 0) & (given >= 0)
  safe, labels = np.nan_to_num(probs, nan=1 / probs.shape[1]), np.where(judged, given, -1)
  their = jnp.asarray(safe), jnp.asarray(labels)
  for name in SCORES:
    columns[f'quality_{name}'] = np.ma.masked_array(confident.scores(*their, name), ~judged)
  for name in confident.FILTERS:
    columns[f'issue_{name}'] = np.ma.masked_array(confident.issues(*their, jnp.asarray(judged), name), ~judged)
  verified = np.concatenate([prepared.train.verified, np.full(len(blank), -1, np.int32)])
  return columns, probs, noise_estimate.estimated(safe, labels, verified)


def _start(table: str, ids: np.ndarray) -> np.ndarray | None:
  """Returns where the points of a map begin [n, 2]: on the map of an earlier analysis, NaN for rows without."""
  if not table:
    return None
  earlier = analysis_file.read(table)
  earlier.need(['map_x', 'map_y'])
  place = {id: row for row, id in enumerate(earlier.columns['id'].tolist())}
  rows = np.array([place.get(id, -1) for id in ids.tolist()])
  found = np.stack([earlier['map_x'], earlier['map_y']], 1)[rows]
  return np.where(rows[:, None] >= 0, found, np.nan).astype(np.float32)
