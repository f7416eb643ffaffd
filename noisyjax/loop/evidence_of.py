"""Evidence about the rows of a version, from the runs of a round: who judged a row, and what they said."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.runs import checkpoint
from noisyjax.system import parquet
from noisyjax.tables.rows import LABELED, TRAIN, UNLABELED, VAL
from noisyjax.tables.versions import Version


class Judge(NamedTuple):
  """A finished run of a round.

  Attributes:
    folder: of the run.
    name: path of the run below the loop's folder.
    fold: number of the fold that it did not train on; -1 = it trained on all rows.
    seed: number of the seed.
    result: content of result.json.
  """

  folder: Path
  name: str
  fold: int
  seed: int
  result: dict[str, Any]


class Gathered(NamedTuple):
  """What the runs of a round say.

  Attributes:
    evidence: for rules.
    own: float32 [S, N, C], probabilities by the network of each seed that set the row's fold aside, or to whom it was a
      validation row; NaN where there is none.
  """

  evidence: Evidence
  own: np.ndarray


def gathered(
  version: Version,
  judges: Sequence[Judge],
  fold_of: np.ndarray,
  place_of: np.ndarray,
  alike_of: np.ndarray,
  unlabeled_train: bool,
) -> Gathered:
  """Combines the predictions of runs into evidence.

  A network judges the rows of its fold, validation rows, and rows that it did not train on for another reason: dropped
  and held rows and, unless the strategy learns from them, unlabeled rows. A row that looks like a labeled one counts as
  trained on; such rows share a fold. Networks of runs without a fold judge all rows; the evidence is then in-sample.

  Args:
    version: the version that the runs trained on.
    judges: the runs.
    fold_of: int [N], the fold of each row of the table; -1 = none.
    place_of: int64 [R], the place in the table of each row of the source; -1 = none.
    alike_of: int [N], equal for rows of the table whose images look equal.
    unlabeled_train: whether the strategy may learn from unlabeled rows.
  """
  rows, classes = version.rows, len(version.classes)
  seeds = 1 + max(judge.seed for judge in judges)
  own = np.full((seeds, len(rows), classes), np.nan, np.float32)
  total, votes = np.zeros((2, len(rows), classes))
  count = np.zeros(len(rows))
  unseen = (rows.split == VAL) | ((rows.split == TRAIN) & (rows.status > UNLABELED))
  if not unlabeled_train:
    unseen |= (rows.split == TRAIN) & (rows.status != LABELED)
  unseen &= (rows.split == VAL) | ~_copied(version, alike_of)
  for judge in judges:
    probs = _predictions(judge.folder, place_of, len(rows), classes)
    there = np.isfinite(probs).all(1)
    mine = (fold_of == judge.fold) if judge.fold >= 0 else (rows.split == TRAIN)
    heard = there & (mine | unseen)
    total[heard] += probs[heard]
    votes[np.flatnonzero(heard), probs[heard].argmax(1)] += 1
    count += heard
    aside = there & mine
    own[judge.seed, aside] = probs[aside]
    fresh = there & (rows.split == VAL)  # by all networks of the seed: their mean
    own[judge.seed, fresh] = np.where(np.isnan(own[judge.seed, fresh]), 0, own[judge.seed, fresh]) + probs[fresh]
  of_seed = np.bincount([judge.seed for judge in judges], minlength=seeds)
  own[:, rows.split == VAL] /= of_seed[:, None, None]
  known = count > 0
  probs = np.full((len(rows), classes), np.nan, np.float32)
  probs[known] = (total[known] / count[known, None]).astype(np.float32)
  agree = np.full(len(rows), np.nan, np.float32)
  agree[known] = votes[known, probs[known].argmax(1)] / count[known]
  told = {'runs': [_told(judge) for judge in judges]}
  in_sample = any(judge.fold < 0 for judge in judges)
  return Gathered(Evidence(version.name, probs, agree, {}, in_sample, told), own)


def _copied(version: Version, alike_of: np.ndarray) -> np.ndarray:
  """Returns the rows whose image looks like that of a labeled training row, bool [N]."""
  rows = version.rows
  return np.isin(alike_of, alike_of[(rows.split == TRAIN) & (rows.status == LABELED)])


def _predictions(folder: Path, place_of: np.ndarray, count: int, classes: int) -> np.ndarray:
  """Returns what the selected network of a run predicts, float32 [N, C] in the order of the table; NaN elsewhere."""
  columns, _ = parquet.read(folder / 'samples.parquet', ('row', 'probs'))
  out = np.full((count, classes), np.nan, np.float32)
  place = place_of[columns['row']]
  out[place[place >= 0]] = columns['probs'][place >= 0]
  return out


def _told(judge: Judge) -> dict[str, Any]:
  """Returns which run and checkpoint gave the evidence, with digests."""
  return {
    'run': judge.name,
    'selected': judge.result['selected'],
    'epoch': judge.result['best_epoch'] if judge.result['selected'] == 'best' else judge.result.get('epochs'),
    'weights': checkpoint.weights_digest(judge.folder / 'weights' / judge.result['selected']),
    'samples': judge.result['files']['samples.parquet'],
    'data': judge.result['data']['fingerprint'],
  }
