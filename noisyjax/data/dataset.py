"""A data set in memory, which all sources return.

The id of a sample is the sha256 of its decoded pixels before any resize. Renaming, moving, converting to another
lossless format or another `data.size` do not change it. Exact duplicates are numbered in row order: the first has no
suffix, the next ones have `-1`, `-2`, …, so that adding a duplicate later does not change earlier ids. A `Dataset`
never contains true labels: sources return them separately, and only the audit and `split.reveal` (for `data.trusted`)
read them.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import decode, features, packed, plausible
from noisyjax.data.label_notes import class_notes
from noisyjax.system import plugins
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Images with given and verified labels; build it with `make`.

  Attributes:
    images: uint8 [N, H, W, C], or features, float16 or float32 [N, V, 1, F]; or the `Images` of a pack.
    given: given labels, int32 [N]; -1 = unlabeled.
    verified: verified labels, int32 [N]; -1 = not verified.
    classes: C class names.
    ids: sample ids, str [N].
    names: file names, or the names of the rows in the source, str [N].
    fingerprint: sha256 of ids, given, verified and classes.
    test: bool [N], the rows that the source declares as its test part.
    val: bool [N], the rows that the source declares as its validation part.
    notes: notes for the user: files skipped, rows left out.
    root: folder or archive of the image files; '' = the names are not files.
    pretrained: of features, the training data of the network that made them, or their file; '' = images.
    pack: folder of the pack that holds the images; '' = they are in no pack.
    pixels: of a pack, what decoded and resized the images, and a digest of the result.
  """

  images: Any
  given: np.ndarray
  verified: np.ndarray
  classes: tuple[str, ...]
  ids: np.ndarray
  names: np.ndarray
  fingerprint: str
  test: np.ndarray
  val: np.ndarray
  notes: tuple[str, ...] = ()
  root: str = ''
  pretrained: str = ''
  pack: str = ''
  pixels: str = ''

  def with_labels(self, given: np.ndarray | None = None, verified: np.ndarray | None = None) -> 'Dataset':
    """Returns the same images with other labels and the corresponding fingerprint; None keeps the labels."""
    given = self.given if given is None else np.asarray(given, np.int32)
    verified = self.verified if verified is None else np.asarray(verified, np.int32)
    mark = fingerprint(self.ids, given, verified, self.classes)
    return dataclasses.replace(self, given=given, verified=verified, fingerprint=mark)


def make(
  images: Any,
  given: np.ndarray,
  classes: Sequence[str],
  *,
  verified: np.ndarray | None = None,
  names: Sequence[str] | None = None,
  test: np.ndarray | None = None,
  val: np.ndarray | None = None,
  digests: np.ndarray | None = None,
  notes: Sequence[str] = (),
  root: str | Path = '',
) -> Dataset:
  """Builds a Dataset.

  Args:
    images: uint8 [N, H, W, C], or the `Images` of a pack.
    given: given labels, int [N]; -1 = unlabeled.
    classes: C class names.
    verified: verified labels, int [N]; -1 = not verified; None = none are.
    names: N names; None = row numbers.
    test: bool [N]; None = the source declares no test part.
    val: bool [N]; None = the source declares no validation part.
    digests: str [N], `decode.digest` of the images before they were resized; None = of `images`.
    notes: notes for the user.
    root: folder or archive of the image files, if `names` are files.
  """
  count = len(images)
  given = np.asarray(given, np.int32)
  verified = np.full(count, -1, np.int32) if verified is None else np.asarray(verified, np.int32)
  ids = unique_ids([decode.digest(image) for image in images] if digests is None else digests)
  return Dataset(
    images=images,
    given=given,
    verified=verified,
    classes=tuple(classes),
    ids=ids,
    names=np.array([str(i) for i in range(count)] if names is None else list(names)),
    fingerprint=fingerprint(ids, given, verified, classes),
    test=np.zeros(count, bool) if test is None else np.asarray(test, bool),
    val=np.zeros(count, bool) if val is None else np.asarray(val, bool),
    notes=tuple(notes),
    root=str(root),
  )


def unique_ids(digests: Iterable[str]) -> np.ndarray:
  """Returns the digests [N] with '-k' appended to the k-th repetition (k ≥ 1) of a digest."""
  seen: dict[str, int] = {}
  ids = []
  for digest in map(str, digests):
    k = seen[digest] = seen.get(digest, -1) + 1
    ids.append(f'{digest}-{k}' if k else digest)
  return np.array(ids)


def fingerprint(ids: np.ndarray, given: np.ndarray, verified: np.ndarray, classes: Sequence[str]) -> str:
  """Returns the sha256 (hex) of ids, labels and classes, which identifies the data set."""
  parts = hashlib.sha256()
  for start in range(0, len(ids), 2**16):  # a million strings at once would take 200 MB
    parts.update(('\n' * bool(start) + '\n'.join(ids[start : start + 2**16].tolist())).encode())
  for labels in (given, verified):
    parts.update(np.ascontiguousarray(labels, '<i4').tobytes())
  parts.update(repr(tuple(classes)).encode())
  return parts.hexdigest()


def duplicate_groups(ids: np.ndarray) -> np.ndarray:
  """Returns the number of the first row with the same image, int64 [N]; rows of one group must stay in one split."""
  _, first, group = np.unique(ids.astype('S64'), return_index=True, return_inverse=True)  # a digest has 64 characters
  return first[group]


class Duplicates(NamedTuple):
  """Rows with the same image.

  Attributes:
    id: id of the first row.
    rows: row numbers.
    names: names of the rows.
    given: given labels of the rows.
    verified: verified labels of the rows.
  """

  id: str
  rows: tuple[int, ...]
  names: tuple[str, ...]
  given: tuple[int, ...]
  verified: tuple[int, ...]


def duplicates(dataset: Dataset) -> list[Duplicates]:
  """Returns the images that occur more than once, in row order."""
  groups = duplicate_groups(dataset.ids)
  first, counts = np.unique(groups, return_counts=True)
  repeated = first[counts > 1]
  rows_of = {int(first): [] for first in repeated}
  for row in np.flatnonzero(np.isin(groups, repeated)).tolist():
    rows_of[int(groups[row])].append(row)
  return [
    Duplicates(
      str(dataset.ids[first]),
      tuple(rows),
      tuple(dataset.names[rows].tolist()),
      tuple(dataset.given[rows].tolist()),
      tuple(dataset.verified[rows].tolist()),
    )
    for first, rows in rows_of.items()
  ]


def conflicting_duplicates(dataset: Dataset) -> list[Duplicates]:
  """Returns the duplicates with different given labels or different verified labels, ignoring unlabeled rows."""
  return [d for d in duplicates(dataset) if len({*d.given} - {-1}) > 1 or len({*d.verified} - {-1}) > 1]


def labels_of(values: np.ndarray, count: int, classes: int, where: str) -> np.ndarray:
  """Checks an array of labels and returns it as int32 [count].

  Args:
    values: the labels.
    count: number of images.
    classes: number of classes; labels must be in -1..classes-1.
    where: name of the labels in messages.

  Raises:
    UserError: the shape is wrong, or a label is out of range or not an integer; the message names the first such row.
  """
  values = np.asarray(values)
  if values.shape != (count,):
    raise UserError(f'{where}: has shape {values.shape}; expected one label for each of the {count} images.')
  if values.dtype.kind not in 'iuf':
    raise UserError(f'{where}: has type {values.dtype}; expected integers.')
  wrong = np.flatnonzero((values != np.floor(values)) | (values < -1) | (values >= classes))
  if len(wrong):
    more = f' ({len(wrong)} such rows)' if len(wrong) > 1 else ''
    raise UserError(
      f'{where}: row {wrong[0]} (from 0) is {values[wrong[0]]}{more}; '
      f'expected an integer, -1 (unlabeled) or a class in 0..{classes - 1}.'
    )
  return values.astype(np.int32)


def validate(dataset: Dataset, truth: np.ndarray) -> list[str]:
  """Checks the labels and classes that a source returned, and returns notes for the user on empty classes.

  Raises:
    UserError: labels are out of range, there are none, or they are all of one class.
  """
  count, classes = len(dataset.images), dataset.classes
  if len(set(classes)) != len(classes):
    raise UserError(f'data.classes: {listed(classes)}; expected every name once.')
  for where, labels in (('given labels', dataset.given), ('verified labels', dataset.verified), ('truth', truth)):
    labels_of(labels, count, len(classes), where)
  labels = np.concatenate([dataset.given, dataset.verified])
  carried = np.unique(labels[labels >= 0])
  if not len(carried):
    raise UserError(f'All {count} rows are unlabeled; expected labels of at least two classes.')
  if len(carried) == 1:
    none = count - np.count_nonzero((dataset.given >= 0) | (dataset.verified >= 0))
    rest = f', and {none} of {count} rows are unlabeled (-1 means so, too)' if none else ''
    raise UserError(
      f'All labels are {classes[carried[0]]!r}: one class only{rest}; expected labels of at least two classes.'
    )
  empty = [name for c, name in enumerate(classes) if c not in carried]
  return [f'{len(empty)} of {len(classes)} classes have no row: {listed(empty)}.'] if empty else []


class Source(Protocol):
  """A source of data: `load` of a module of `noisyjax.data.sources`, or of a file that `data.source` names."""

  def __call__(self, config: ConfigDict) -> tuple['Dataset', np.ndarray]:
    """Reads a data set.

    Args:
      config: `config.data`. The source reads what it needs, such as `path`, `labels`, `classes` and `unlabeled`.

    Returns:
      The data set, with the given labels and whatever labels were verified; and the true labels, int32 [N], -1 where
      they are unknown, which only the audit and `data.trusted` use.

    Raises:
      UserError: the data are missing or invalid; the message names the file or field.
    """
    ...


def load(config: ConfigDict) -> tuple[Dataset, np.ndarray]:
  """Loads the data set that `config` (`config.data`) describes.

  Returns:
    The data set, with images of side `config.size` (0 = unchanged), and the true labels for the audit, int32 [N],
    -1 = unknown.

  Raises:
    UserError: there is no such source, or the data are invalid.
  """
  in_pack = packed.is_pack(config.path)
  name = 'packed' if in_pack else config.source
  source: Source = plugins.find('noisyjax.data.sources', name, 'load', 'data.source')
  # Files keep the details that the network sees.
  if config.features and not config.size and config.fit != 'exact' and not in_pack:
    config = config.copy_and_resolve_references()
    config.size = features.extractor(config.features).weights.size
  dataset, truth = source(config)
  images = dataset.images
  if isinstance(images, np.ndarray) and images.dtype == np.uint8:  # the others are features, or lie in a pack
    images = decode.fit_images(images, config.size, config.fit, dataset.names)
  dataset = dataclasses.replace(dataset, images=images)
  notes = validate(dataset, truth) + class_notes(dataset.given, dataset.classes, config.unlabeled)
  doubt = plausible.doubt(dataset.given, dataset.verified, dataset.classes, 'the verified ones')
  notes = [*dataset.notes, *notes, *([doubt] if doubt else [])]
  dataset = dataclasses.replace(dataset, notes=tuple(dict.fromkeys(notes)))  # a pack has those of its source
  for note in dataset.notes:
    log.warning('%s', note)
  log.info('%d classes, in this order: %s.', len(dataset.classes), listed(dataset.classes))
  return dataset, truth
