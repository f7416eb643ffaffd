"""samples.parquet: one row for each training or validation image, with labels, prediction and training dynamics."""

from pathlib import Path

import jax
import numpy as np

from noisyjax.data.dataset import Dataset
from noisyjax.data.prepare import Prepared
from noisyjax.engine.state import TrainState
from noisyjax.estimate import scoring
from noisyjax.system import formats, parquet


def write(
  folder: Path,
  prepared: Prepared,
  train_probs: np.ndarray,
  val_probs: np.ndarray | None,
  dynamics: dict[str, np.ndarray],
) -> None:
  """Writes samples.parquet, which contains no true labels.

  Args:
    folder: folder of the run.
    prepared: data of the run.
    train_probs: probabilities of the training rows, [N, C].
    val_probs: probabilities of the validation rows, [n_val, C], or None.
    dynamics: name → [N], more columns; validation rows get -1 or NaN.
  """
  parts = [('train', prepared.rows, train_probs, dynamics)]
  if val_probs is not None:
    unseen = {k: np.full(len(val_probs), -1 if v.dtype.kind == 'i' else np.nan, v.dtype) for k, v in dynamics.items()}
    parts.append(('val', prepared.val_rows, val_probs, unseen))
  blocks = (
    _columns(prepared.data, name, rows[block], probs[block]) | {k: v[block] for k, v in more.items()}
    for name, rows, probs, more in parts
    for block in parquet.blocks_of(len(rows))
  )
  notes = formats.stamped(formats.RUN, {'fingerprint': prepared.record['fingerprint']})
  parquet.write_blocks(folder / 'samples.parquet', blocks, notes)


def _columns(data: Dataset, part: str, rows: np.ndarray, probs: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the columns of some rows of one part: what is known of them, and their prediction."""
  given = data.given[rows]
  own = np.take_along_axis(probs, np.maximum(given, 0)[:, None], 1)[:, 0]
  return {
    'row': rows,
    'id': data.ids[rows],
    'name': data.names[rows],
    'split': np.full(len(rows), part),
    'given': given,
    'verified': data.verified[rows],
    'predicted': probs.argmax(1).astype(np.int32),
    'confidence': probs.max(1).astype(np.float32),
    'loss': np.where(given >= 0, -np.log(np.maximum(own, 1e-12)), np.nan).astype(np.float32),
    'margin': scoring.margin(probs, given).astype(np.float32),
    'probs': np.asarray(probs, np.float32),  # [n, C]
  }


def dynamics_table(state: TrainState, rows: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the training dynamics of each row, averaged or summed over networks, and its last target.

  Args:
    state: state at the end of training.
    rows: bool [N], the rows that the last phase may use; "chosen" of other rows is NaN.

  Returns:
    name → column [N].
  """
  d = jax.tree.map(np.asarray, state.dynamics)
  visits = np.maximum(d.visits.sum(0), 1)
  mean = d.confidence.sum(0) / visits
  return {
    'label': np.asarray(state.targets.label),
    'weight': np.asarray(state.targets.weight),
    'count': d.visits.sum(0),
    'mean_loss': d.loss.sum(0) / visits,
    'mean_confidence': mean,
    'std_confidence': np.sqrt(np.maximum(d.square.sum(0) / visits - mean**2, 0)),
    'mean_margin': d.margin.sum(0) / visits,
    'correct': d.correct.sum(0),
    'forgotten': d.forgotten.sum(0),
    'learned': np.where(d.learned > 0, d.learned, np.nan).mean(0),  # NaN unless all networks learned it
    'chosen': np.where(rows, d.chosen.mean(0), np.nan),
  }
