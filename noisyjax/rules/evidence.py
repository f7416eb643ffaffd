"""What networks and neighbours say about the rows of a table version: the only input of rules beside the rows.

Rules read probabilities of networks that did not train on the row (out-of-fold). Evidence of networks that did is
marked `in_sample`, and rules refuse it unless their field `in_sample` asks for it by name.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.system import formats, parquet
from noisyjax.system.errors import UserError, listed
from noisyjax.tables.rows import Rows
from noisyjax.tables.versions import SHORT

# Further columns that rules read, and what makes them. They mean what `analysis.columns` says; null is -1 or NaN.
_NEIGHBOURS = 'the analysis of neighbours'
MADE_BY = {
  'knn_label': _NEIGHBOURS,
  'outlier': _NEIGHBOURS,
  'duplicate_group': 'the analysis of duplicates',
  'cluster': 'the analysis of clusters',
}
BY_EMBEDDING = ('knn_label', 'outlier', 'cluster')  # of these, the columns that come from embeddings alone
_PROBS = 'prob_'  # + number of the class: the columns of a file with the probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
  """What is known of each row of a table version; the columns are in the order of `Rows`.

  Attributes:
    version: full name of the table version that the networks were trained on.
    probs: float32 [N, C], mean over the networks that did not train on the row; NaN where there is none.
    agree: float32 [N], share of these networks whose prediction is the argmax of `probs`; NaN where there is none.
    columns: name → [N], further columns, such as `knn_label` or `cluster`; NaN or -1 = unknown.
    in_sample: whether the networks trained on the rows that they judge.
    told: the runs and checkpoints that the evidence comes from, with hashes; JSON.
  """

  version: str
  probs: np.ndarray
  agree: np.ndarray
  columns: Mapping[str, np.ndarray]
  in_sample: bool = False
  told: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def known(self) -> np.ndarray:
    """Whether any network judged the row, bool [N]."""
    return np.isfinite(self.probs.sum(1))

  @property
  def predicted(self) -> np.ndarray:
    """Most probable class, int32 [N]; -1 = unknown."""
    return np.where(self.known, np.nan_to_num(self.probs).argmax(1), -1).astype(np.int32)

  @property
  def second(self) -> np.ndarray:
    """Second most probable class, int32 [N]; -1 = unknown."""
    return np.where(self.known, np.argsort(-np.nan_to_num(self.probs), axis=1, kind='stable')[:, 1], -1).astype(
      np.int32
    )

  @property
  def confidence(self) -> np.ndarray:
    """Probability of the predicted class, float32 [N]; NaN = unknown."""
    return self.probs.max(1)

  @property
  def margin(self) -> np.ndarray:
    """Probability of the predicted class minus that of the second, float32 [N]; NaN = unknown."""
    top = np.sort(self.probs, axis=1)
    return top[:, -1] - top[:, -2]

  @property
  def entropy(self) -> np.ndarray:
    """Entropy of the probabilities in nats, float32 [N]; NaN = unknown."""
    logs = np.log(np.where(self.probs > 0, self.probs, 1))
    return -(self.probs * logs).sum(1)

  def of(self, labels: np.ndarray) -> np.ndarray:
    """Returns the probability of each row's label, float32 [N]; NaN for rows without a label or a probability."""
    own = np.take_along_axis(self.probs, np.maximum(labels, 0)[:, None], 1)[:, 0]
    return np.where(labels >= 0, own, np.nan)

  def digest(self) -> str:
    """Returns the sha256 (hex) of all columns: the same evidence gives the same proposals."""
    out = hashlib.sha256(f'{self.version} {self.in_sample} {self.probs.shape}'.encode())
    for name, column in {'probs': self.probs, 'agree': self.agree, **dict(sorted(self.columns.items()))}.items():
      little = np.ascontiguousarray(column, np.asarray(column).dtype.newbyteorder('<'))
      out.update(f'\n{name} {little.dtype.str}\n'.encode() + little.tobytes())
    return out.hexdigest()


def write(path: Path, evidence: Evidence, rows: Rows) -> None:
  """Writes evidence as a Parquet file with a row for each row of the table; raises like `storage.write_bytes`."""
  probs = {f'{_PROBS}{k}': evidence.probs[:, k] for k in range(evidence.probs.shape[1])}
  notes = {'version': evidence.version, 'in_sample': evidence.in_sample, 'told': dict(evidence.told)}
  columns = {'id': rows.id, **probs, 'agree': evidence.agree, **evidence.columns}
  parquet.write(path, columns, formats.stamped(formats.LABEL_TABLE, notes))


def read(path: Path, rows: Rows) -> Evidence:
  """Reads what `write` wrote.

  Args:
    path: the file.
    rows: rows of the version that the evidence is about.

  Raises:
    UserError: the file is missing, damaged, no evidence, or about other rows.
  """
  columns, notes = parquet.read(path)
  notes = formats.read(formats.LABEL_TABLE, notes, path)
  if 'id' not in columns or f'{_PROBS}1' not in columns or 'agree' not in columns or 'version' not in notes:
    raise UserError(
      f'{path}: has the columns {listed(columns)}; expected evidence: id, {_PROBS}0, {_PROBS}1, …, agree.'
    )
  if not np.array_equal(columns.pop('id'), rows.id):
    raise UserError(f'{path}: is about other rows; expected evidence of the version {notes["version"][:SHORT]}.')
  count = sum(name.removeprefix(_PROBS).isdigit() for name in columns if name.startswith(_PROBS))
  probs = np.stack([columns.pop(f'{_PROBS}{k}') for k in range(count)], 1)
  return Evidence(notes['version'], probs, columns.pop('agree'), columns, notes['in_sample'], notes['told'])
