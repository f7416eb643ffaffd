"""From `config.data` and `config.noise` to the parts of a run: what may be trained on and, apart, the truth."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from noisyjax.data import dataset, noise, plausible, split
from noisyjax.data.origin import Origin, of_rows
from noisyjax.data.training import TrainData
from noisyjax.system.log import log


@dataclasses.dataclass(frozen=True)
class Prepared:
  """The parts of a run.

  Attributes:
    train: what a strategy may know. rows: row numbers of the training rows, [N].
    validation: images and labels, or None. val_rows: their row numbers.
    classes: names. record: JSON-ready facts for the result (source, fingerprint, rows, noise).
    notes: sentences a person should read.
    data: the whole data set, under its (noisy) given labels. origin: what the training images were as files.
  """

  train: TrainData
  rows: np.ndarray
  validation: tuple[np.ndarray, np.ndarray] | None
  val_rows: np.ndarray
  classes: tuple[str, ...]
  record: dict[str, Any]
  notes: tuple[str, ...]
  data: dataset.Dataset
  origin: Origin | None


@dataclasses.dataclass(frozen=True)
class Audit:
  """What scores a run and never reaches it.

  Attributes:
    truth: int32 [N of the data set], -1 = unknown. test: images and labels, or None. test_rows: row numbers.
    labels: which labels score the test rows. noise: realised rate and matrix, JSON-ready.
    fingerprint: of the test rows and their labels, and of the truth; no part of a run but its audit holds it.
    source: of the whole data set before noise and splits, which are drawn from it.
  """

  truth: np.ndarray
  test: tuple[np.ndarray, np.ndarray] | None
  test_rows: np.ndarray
  labels: str
  noise: dict[str, Any]
  fingerprint: str = ''
  source: str = ''


def prepare(config: Any) -> tuple[Prepared, Audit]:
  """Loads, injects noise, splits, reveals trusted labels.

  The fingerprint covers training and validation rows alone: test rows cannot change what a run writes.

  Args:
    config: the run's config (`data` and `noise` are read).
  """
  data, truth, injected, source = load(config)
  whole = dataset.fingerprint(data.ids, source, data.verified, data.classes)
  parts = split.split(data, truth, config.data, source)
  verified = split.reveal(data, truth, parts.train, config.data.trusted, config.data.seed)
  data = data.with_labels(verified=verified)
  images = data.images
  val_label = data.given if config.data.val_labels == 'given' else data.verified
  test_label = {'true': truth, 'verified': data.verified, 'given': data.given}[config.data.test_labels]
  train = TrainData(images[parts.train], data.given[parts.train], data.verified[parts.train], len(data.classes))
  told, hidden = _noise_record(injected)
  record = {
    'source': config.data.source,
    'fingerprint': _fingerprint(data, parts),
    'rows': {
      'train': len(parts.train),
      'val': len(parts.val),
      'trusted': int((train.verified >= 0).sum()),  # of the training rows
      'unlabeled': int((train.given < 0).sum()),  # of the training rows
    },
    'classes': list(data.classes),
    'noise': told,
  }
  prepared = Prepared(
    train=train,
    rows=parts.train,
    val_rows=parts.val,
    classes=data.classes,
    record=record,
    validation=(images[parts.val], val_label[parts.val]) if len(parts.val) else None,
    notes=tuple(data.notes) + tuple(parts.notes),
    data=dataclasses.replace(data, images=images[:0].copy()),
    origin=of_rows(data.root, data.names, parts.train, images),
  )
  test = (images[parts.test], test_label[parts.test]) if len(parts.test) else None
  mark = _audit_fingerprint(data, parts, truth, test_label)
  return prepared, Audit(truth, test, parts.test, config.data.test_labels, hidden, mark, whole)


def load(config: Any) -> tuple[dataset.Dataset, np.ndarray, dict | None, np.ndarray]:
  """Returns the data set under its given labels (noisy, where noise is injected), the truth, the noise record, and
  the labels as the source gives them, by which `split` draws the same test rows under any noise."""
  data, truth = dataset.load(config.data)
  if doubt := plausible.doubt(data.given, truth, data.classes, 'the true ones'):
    log.warning('%s', doubt)  # and nowhere else: the truth reaches no output of a run but its audit
  source = data.given
  if config.noise.kind == 'none':
    return data, truth, None, source
  part = np.flatnonzero(~data.test)  # a source's own test part stays clean, and label files do not cover it
  images = data.images[part] if config.noise.kind == 'instance' else None
  injected = noise.inject(data.given[part], config.noise, images, data.classes)
  truth = np.where(truth >= 0, truth, data.given).astype(np.int32)  # a known truth wins over labels that may be wrong
  given = data.given.copy()
  given[part] = injected.labels
  return data.with_labels(given=given), truth, injected.record, source


def _fingerprint(data: dataset.Dataset, parts: split.Split) -> str:
  """Names the images and labels of the training and the validation rows, and which is which."""
  each = (
    dataset.fingerprint(data.ids[r], data.given[r], data.verified[r], data.classes) for r in (parts.train, parts.val)
  )
  return hashlib.sha256(' '.join(each).encode()).hexdigest()


def _audit_fingerprint(data: dataset.Dataset, parts: split.Split, truth: np.ndarray, scores: np.ndarray) -> str:
  """Names all that scores a run: the truth of its rows, and the test rows with the labels that score them."""
  each = (
    dataset.fingerprint(data.ids[r], labels[r], truth[r], data.classes)
    for r, labels in ((parts.train, truth), (parts.val, truth), (parts.test, scores))
  )
  return hashlib.sha256(' '.join(each).encode()).hexdigest()


def _noise_record(record: dict | None) -> tuple[dict, dict]:
  """Parts the noise record: what was asked for is no secret, what came of it, test rows too, the truth alone knows."""
  if record is None:
    return {'kind': 'none'}, {}
  hidden = {k: record[k] for k in ('expected', 'realised', 'matrix') if k in record}
  return {k: v for k, v in record.items() if k not in hidden}, hidden
