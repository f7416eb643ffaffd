"""Evidence from the analysis of a run, RUN/analysis/<checkpoint>.parquet, whatever the run was trained for."""

import io
from pathlib import Path

import numpy as np

from noisyjax.analysis import analysis_file
from noisyjax.analysis.analysis_file import Analysis
from noisyjax.rules.evidence import BY_EMBEDDING, MADE_BY, Evidence
from noisyjax.system import formats, reading, storage
from noisyjax.system.commands import command
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log
from noisyjax.tables.versions import SHORT, Version


def read(path: Path, version: Version, in_sample: bool = False) -> Evidence:
  """Returns the evidence of an analysis about a table version.

  Each row has its out-of-fold probabilities, or else those of the networks of the run if they did not train on it. A
  row that they trained on has no column that comes from embeddings which they learned.

  Args:
    path: the table of the analysis.
    version: the version that the run was trained on. A run without a table may have had the same labels.
    in_sample: whether the networks of the run judge all rows, those they trained on too.

  Raises:
    UserError: the analysis is not finished or damaged, is about other rows, labels or classes, or knows of no row what
      networks think that did not train on it.
  """
  found = analysis_file.read(path)
  place = _placed(found, version)
  probs = _array(path, 'probs')
  if not in_sample:
    probs[found['in_sample']] = np.nan
    if path.with_suffix('.oof.npy').exists():
      aside = _array(path, 'oof')
      probs = np.where(np.isnan(aside), probs, aside)
    if np.isnan(probs).any(1).all():
      again = command('analyze', f'--workdir={path.parent.parent}', '--folds=5')
      raise UserError(
        f'{path}: the networks were trained on all of its rows; expected out-of-fold predictions, as made by: {again}'
      )
  count = len(version.rows)
  aligned = np.full((count, len(version.classes)), np.nan, np.float32)
  aligned[place] = probs
  about = formats.read_json(formats.ANALYSIS, path.with_suffix('.json')).get('embedding') or {}
  learned = found['in_sample'] & (about.get('evidence') == 'learned') & (not in_sample)
  if learned.any():
    log.warning(
      '%s: %s are left out for the %s rows that the networks trained on, whose labels reached the embeddings; '
      'embeddings of data.features have them for all rows.',
      *(path, listed(BY_EMBEDDING), f'{int(learned.sum()):,}'),
    )
  columns = {}
  for name in MADE_BY:
    here = ~(learned & (name in BY_EMBEDDING))
    if (found.known[name] & here).any() or name == 'duplicate_group':  # where it is null, there is no duplicate
      values = found.columns[name]
      columns[name] = np.full(count, np.nan if values.dtype.kind == 'f' else -1, values.dtype)
      columns[name][place[here]] = values[here]
  told = {name: found.notes[name] for name in ('run', 'checkpoint', 'checkpoint_sha256', 'data')}
  seen = in_sample and bool(found['in_sample'].any())
  return Evidence(version.name, aligned, np.full(count, np.nan, np.float32), columns, seen, told)


def _placed(found: Analysis, version: Version) -> np.ndarray:
  """Returns the place in the table of each row of an analysis; raises UserError if they do not belong together."""
  rows, notes, path = version.rows, found.notes, found.path
  if list(notes['classes']) != version.classes:
    raise UserError(f'{path}: has the classes {listed(notes["classes"])}; expected {listed(version.classes)}.')
  if notes['table'] not in ('', version.name):
    raise UserError(
      f'{path}: is about the version {notes["table"][:SHORT]}; expected one about {version.name[:SHORT]}, of a '
      'run that was trained on it.'
    )
  place = rows.places_named(found['id'], found['name'])
  if (place < 0).any():
    names = found['name'][place < 0]
    raise UserError(f'{path}: {len(names)} of its rows are not in this table, such as {listed(names[:1])}.')
  if not notes['table'] and (differ := rows.label[place] != found['given']).any():
    raise UserError(
      f'{path}: {int(differ.sum())} of its rows had other labels than the version {version.name[:SHORT]}; expected a '
      'run that was trained on this version (data.table).'
    )
  return place


def _array(path: Path, name: str) -> np.ndarray:
  """Returns an array that lies beside an analysis; raises UserError if it is not what the analysis wrote."""
  file = path.with_suffix(f'.{name}.npy')
  digests = formats.read_json(formats.ANALYSIS, path.with_suffix('.json'))['files']
  data = storage.read_bytes(file)
  if digests.get(file.name) != storage.sha256(file):
    raise UserError(f'{file}: was changed after the analysis wrote it; expected the file of the analysis.')
  try:
    return np.load(io.BytesIO(data), allow_pickle=False)
  except reading.DAMAGE as error:
    raise UserError(f'{file}: is damaged, it cannot be read ({reading.reason(error)}).') from error
