"""Prepares the data of a run from `config.data` and `config.noise`: the rows to train on and, separately, the truth."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from noisyjax.data import dataset, features, noise, on_table, plausible, set_aside, split
from noisyjax.data.images import Images, as_images
from noisyjax.data.origin import Origin, of_rows
from noisyjax.data.training import Status, TrainData
from noisyjax.system.log import log
from noisyjax.tables import refs


@dataclasses.dataclass(frozen=True)
class Prepared:
  """The data that a run may use.

  Attributes:
    train: training rows, as a strategy may know them.
    rows: row numbers of the training rows [N].
    validation: images and labels of the validation rows, or None.
    val_rows: row numbers of the validation rows.
    classes: class names.
    record: data for the JSON of the result: source, fingerprint, rows, classes and noise.
    notes: notes for the user.
    data: the whole data set with its (noisy) given labels, but without images; of features, it has the shape of their
      images.
    origin: origin of the training images, or None.
  """

  train: TrainData
  rows: np.ndarray
  validation: tuple[Images, np.ndarray] | None
  val_rows: np.ndarray
  classes: tuple[str, ...]
  record: dict[str, Any]
  notes: tuple[str, ...]
  data: dataset.Dataset
  origin: Origin | None


@dataclasses.dataclass(frozen=True)
class Audit:
  """The data that score a run; training and selection never see them.

  Attributes:
    truth: true labels of the whole data set, int32 [N]; -1 = unknown.
    test: images and labels of the test rows, or None.
    test_rows: row numbers of the test rows.
    labels: kind of labels that score the test rows: true, verified or given.
    noise: expected and realised rate and the realised matrix of the noise, for JSON.
    fingerprint: digest of the test rows with their labels and of the truth; only the audit of a run stores it.
    source: fingerprint of the whole data set before noise and splits.
  """

  truth: np.ndarray
  test: tuple[Images, np.ndarray] | None
  test_rows: np.ndarray
  labels: str
  noise: dict[str, Any]
  fingerprint: str = ''
  source: str = ''


Loaded = tuple[dataset.Dataset, np.ndarray, dict | None, np.ndarray]  # what `load` returns


def prepare(
  config: Any, found: Loaded | None = None, extract: Callable[..., np.ndarray] = features.extract
) -> tuple[Prepared, Audit]:
  """Loads the data, injects noise, splits the rows and reveals trusted labels.

  The fingerprint covers training and validation rows only, so that test rows cannot change the output of a run.

  Args:
    config: config of the run; `data` and `noise` are used.
    found: what `load` returned for this source and noise; None: it is loaded.
    extract: makes features of images if the config asks for them.

  Returns:
    The data for training and selection, and the data that only score the run.
  """
  loaded, truth, injected, source = found or load(config)
  whole = dataset.fingerprint(loaded.ids, source, loaded.verified, loaded.classes)
  data, parts, weight, status, version = divided(loaded, truth, source, config)
  everything = as_images(data.images)
  if config.data.features:
    by = features.extractor(config.data.features, config.data.views)
    everything = as_images(extract(everything, by, config.data.cache))
  part = everything.select
  val_label = data.given if config.data.val_labels == 'given' else data.verified
  test_label = {'true': truth, 'verified': data.verified, 'given': data.given}[config.data.test_labels]
  train = TrainData(
    part(parts.train),
    data.given[parts.train],
    data.verified[parts.train],
    len(data.classes),
    0,
    weight,
    status,
  )
  held = parts.train[train.status == Status.HELD] if config.data.hold else parts.train[:0]
  told, hidden = _noise_record(injected)
  record = {
    'source': config.data.source,
    'fingerprint': _fingerprint(data, parts, version, held),
    'rows': {
      'train': len(parts.train),
      'val': len(parts.val),
      'trusted': int((train.verified >= 0).sum()),  # of the training rows
      'unlabeled': int(((train.given < 0) & train.used).sum()),  # of the training rows
      **({'held': len(held)} if len(held) else {}),  # of the training rows
    },
    'classes': list(data.classes),
    'noise': told,
    **({'pixels': data.pixels} if data.pixels else {}),
    **({'table': {'folder': str(refs.parsed(config.data.table)[0]), 'version': version}} if version else {}),
  }
  prepared = Prepared(
    train=train,
    rows=parts.train,
    val_rows=parts.val,
    classes=data.classes,
    record=record,
    validation=(part(parts.val), val_label[parts.val]) if len(parts.val) else None,
    notes=tuple(data.notes) + tuple(parts.notes),
    data=dataclasses.replace(data, images=as_images(data.images).take(np.arange(0))),
    origin=of_rows(data, parts.train),
  )
  test = (part(parts.test), test_label[parts.test]) if len(parts.test) else None
  mark = _audit_fingerprint(data, parts, truth, test_label)
  return prepared, Audit(truth, test, parts.test, config.data.test_labels, hidden, mark, whole)


def divided(data: dataset.Dataset, truth: np.ndarray, source: np.ndarray, config: Any) -> on_table.Placed:
  """Returns a data set with the labels and in the parts that the config asks for: those of a label table, or its own.

  Args:
    data: the data set under its given labels.
    truth: int32 [N], -1 = unknown.
    source: int32 [N], the labels of the source.
    config: config of the run; `data` is used.
  """
  if config.data.table:
    return set_aside.held(on_table.placed(data, config.data), config.data)
  parts = split.split(data, truth, config.data, source)
  data = set_aside.without_labels(data, parts.train, config.data)
  verified = split.reveal(data, truth, parts.train, config.data.trusted, config.data.seed, config.data.trusted_by)
  return set_aside.held(on_table.Placed(data.with_labels(verified=verified), parts), config.data)


def load(config: Any) -> Loaded:
  """Loads the data set and injects noise.

  Args:
    config: config of the run; `data` and `noise` are used.

  Returns:
    The data set with its given labels (noisy, if noise is injected); the true labels, int32 [N]; the record of the
    noise, or None; and the labels of the source, by which `split` draws the same test rows for all kinds of noise.
  """
  data, truth = dataset.load(config.data)
  if doubt := plausible.doubt(data.given, truth, data.classes, 'the true ones'):
    log.warning('%s', doubt)  # logged only, because no output of a run except its audit may depend on the truth
  source = data.given
  if config.noise.kind == 'none':
    return data, truth, None, source
  part = np.flatnonzero(~data.test)  # a source's own test part stays clean, and label files do not cover it
  images = as_images(data.images).select(part) if config.noise.kind == 'instance' else None
  injected = noise.inject(data.given[part], config.noise, images, data.classes)
  truth = np.where(truth >= 0, truth, data.given).astype(np.int32)  # a known truth wins over labels that may be wrong
  given = data.given.copy()
  given[part] = injected.labels
  return data.with_labels(given=given), truth, injected.record, source


def _fingerprint(data: dataset.Dataset, parts: split.Split, version: str, held: np.ndarray) -> str:
  """Returns a digest of the training and validation rows: images, labels, a table's version, the rows set aside.

  Images are told by their ids, which are digests before the resize, and those of a pack also by its `pixels`.
  """
  each = [
    dataset.fingerprint(data.ids[r], data.given[r], data.verified[r], data.classes) for r in (parts.train, parts.val)
  ]
  each += [version] * bool(version) + [','.join(data.ids[held].tolist())] * bool(len(held))
  each += [data.pixels] * bool(data.pixels)
  return hashlib.sha256(' '.join(each).encode()).hexdigest()


def _audit_fingerprint(data: dataset.Dataset, parts: split.Split, truth: np.ndarray, scores: np.ndarray) -> str:
  """Returns a digest of everything that scores a run: the true labels, and the test rows with their labels."""
  each = (
    dataset.fingerprint(data.ids[r], labels[r], truth[r], data.classes)
    for r, labels in ((parts.train, truth), (parts.val, truth), (parts.test, scores))
  )
  return hashlib.sha256(' '.join(each).encode()).hexdigest()


def _noise_record(record: dict | None) -> tuple[dict, dict]:
  """Splits the record of the noise into its public part (the request) and the part that reveals true labels."""
  if record is None:
    return {'kind': 'none'}, {}
  hidden = {k: record[k] for k in ('expected', 'realised', 'matrix') if k in record}
  return {k: v for k, v in record.items() if k not in hidden}, hidden
