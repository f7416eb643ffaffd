"""A tree with one folder per class, as a folder, zip or tar: `cat/1.jpg`, `dog/2.jpg`, `undefined/3.jpg`.

Images in a folder that `config.unlabeled` names are unlabeled. Class numbers follow the order of the class names, or of
`config.classes`. A tree may have parts with class folders in each: `train/cat/1.jpg`, `val/cat/2.jpg`,
`test/cat/3.jpg`, under their usual names (`Training`, `valid`, `seg_test`, …). They are the test and validation rows of
the data set; so are those that lie in the class folders: `cat/train/1.jpg`, `cat/test/2.jpg`. Folders that only contain
another folder (`seg_train/seg_train/cat`) are skipped; class folders without images are left out.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, decode, files, label_file, labels, match, origin, published
from noisyjax.data.column import plain
from noisyjax.data.part_names import part_of
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

_USE = {'train': 'trains', 'val': 'validates', 'test': 'tests'}


class Placed(NamedTuple):
  """The images of a tree, with the class and part of each.

  Attributes:
    names: names of the images [n].
    classes: names of their class folders [n].
    parts: 'train', 'val' or 'test' for each image [n]; '' if the tree has no parts.
    notes: notes for the user.
  """

  names: tuple[str, ...]
  classes: list[str]
  parts: list[str]
  notes: list[str]


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the tree at `config.path`; `config.truth` is a CSV `image,label` with paths below it, for the audit.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: images are unreadable and `config.skip_bad` is off, images lie outside class folders, parts and classes
      are mixed, `config.classes` does not list a class folder, or the tree is a published data set with a source of its
      own.
  """
  if not config.path:
    raise UserError('data.path is empty; expected a folder or zip with a folder for each class.')
  root = reading.path_of(config.path, 'data.path')
  published.refuse_known(root)
  with files.open_images(root) as found:
    if reading.kind(root) == 'file':  # a tar tells its files only now
      published.refuse_known(root, found.names)
    placed = place(found)
    wanted = labels.class_names([], config.unlabeled, config.classes)
    _check_wanted(root, placed.classes, wanted, config.unlabeled)
    size = config.size or origin.usual_side(found.read, found.names, config.fit)
    decoded = found.take(placed.names).decoded(size, config.fit, config.channels, config.cache)
    left_out = decode.check_bad(decoded.bad, config.skip_bad, str(root))
  folders = [placed.classes[i] for i in decoded.good]
  parts = np.array([placed.parts[i] for i in decoded.good])
  names = [placed.names[i] for i in decoded.good]
  none = {folder for folder in folders if labels.means_none(folder, config.unlabeled)}
  classes = wanted or labels.in_order({*folders} - none)
  number = {name: c for c, name in enumerate(classes)} | dict.fromkeys(none, -1)
  truth = np.full(len(names), -1, np.int32)
  if config.truth:
    kind = 'labels' if config.label_column else 'truth'
    column = label_file.read_column(config.truth, config.image_column, config.label_column, kind)
    if column.images is None:
      raise UserError(
        f"{config.truth}: names no images; data.truth of a class-folder tree needs the header 'image,label'."
      )
    truth = labels.indices(match.aligned(column, names, root), classes, config.unlabeled)
  made = dataset.make(
    decoded.images,
    np.array([number[folder] for folder in folders], np.int32),
    classes,
    names=names,
    test=parts == 'test',
    val=parts == 'val',
    digests=decoded.digests,
    notes=[*found.notes, *placed.notes, *decoded.notes, *left_out, *_unread(root, config)],
    root=root,
  )
  return made, truth


def _unread(root: Path, config: ConfigDict) -> list[str]:
  """Returns a note for each label file that exists but is ignored, because the class folders are the labels."""
  there = lambda path: any(reading.kind(folder / path) == 'file' for folder in (root.parent, Path(), root))
  return [
    f'data.{field}: {config[field]} is ignored: the class folders are the labels (data.source=images reads it).'
    for field in ('labels', 'verified')
    if config[field] and there(reading.path_of(config[field], f'data.{field}'))
  ]


def has_classes(found: files.ImageFiles) -> bool:
  """Returns whether there are folders that may be classes."""
  tree = _Tree(found)
  return bool(tree.full(tree.unwrapped('')))


def place(found: files.ImageFiles) -> Placed:
  """Finds the class folders of a tree, and the parts that contain them.

  Raises:
    UserError: there are no class folders, images lie outside them, classes and parts are mixed, or no part is train.
  """
  tree = _Tree(found)
  top = tree.unwrapped('')
  parts = {folder: part_of(_last(folder)) for folder in tree.full(top)}
  classed = {folder: part for folder, part in parts.items() if part and tree.has_classes(folder)}
  bases = _bases(found, tree, top, parts, classed)
  inside = top in bases and tree.parts_inside(top)
  names, classes, kinds, flat = [], [], [], Counter()
  strays = set() if top in bases else set(tree.images[top])
  outside = sorted(strays)
  for name in found.names:
    base = next((b for b in bases if not b or name.startswith(b + '/')), None)
    below = name[len(base) + 1 if base else 0 :].split('/') if base is not None else ()
    if base is not None and len(below) > 1:
      names.append(name)
      classes.append(plain(below[0]))
      kinds.append(part_of(below[1]) if inside else bases[base])
    elif base is not None:
      outside.append(name)
    elif name not in strays:  # the part has no class folders
      flat[_last(next(f for f in parts if name.startswith(f + '/')))] += 1
  if outside:
    raise UserError(
      f'{found.root}: {len(outside)} images lie outside the class folders: {listed(outside)}. Move them '
      'into a class folder, or out of the tree.'
    )
  notes = []
  if classed:
    count = lambda folder: sum(name.startswith(folder + '/') for name in names)
    uses = [
      f'{_last(f)} {use} ({count(f)} images)' for part, use in _USE.items() for f, p in classed.items() if p == part
    ]
    notes.append(f'{found.root.name}: its folders are parts of the data set: {", ".join(uses)}.')
  if inside:
    uses = [f'{kinds.count(part)} images {use[:-1]}' for part, use in _USE.items() if part in kinds]
    notes.append(f'{found.root.name}: its class folders hold the parts of the data set: {", ".join(uses)}.')
  for part, count in flat.items():
    notes.append(f'{found.root.name}: {count} images in {part} lie in no class folder and are not used.')
  if top in bases and not inside:
    notes += _nested(found.root.name, tree, tree.full(top))
  empty = sorted({_last(f) for base in bases for f in tree.folders[base] if f not in tree.filled} - {*classes})
  if empty:
    notes.append(f'{found.root.name}: {len(empty)} folder(s) without images are left out: {listed(empty)}.')
  return Placed(tuple(names), classes, kinds, notes)


def _bases(
  found: files.ImageFiles, tree: '_Tree', top: str, parts: dict[str, str], classed: dict[str, str]
) -> dict[str, str]:
  """Returns the folders that hold class folders → the part of the data set that each is; '' = the tree has no parts.

  Args:
    found: the files.
    tree: their folders.
    top: the folder that holds the parts or class folders.
    parts: its folders → the part that the name denotes, or ''.
    classed: those that are parts and have class folders.

  Raises:
    UserError: there are no class folders, classes and parts are mixed, or no part is train.
  """
  if not classed:  # a folder named test that holds images itself is a class of that name
    if not tree.full(top):
      raise UserError(
        f'{found.root}: has no class folders: its {len(found.names)} images lie side by side. Expected a folder for '
        'each class (cat/1.jpg). For images with a label file, set data.source=images.'
      )
    return {top: ''}
  if '' in parts.values() or 'train' not in classed.values():
    first, all_ = _last(next(iter(classed))), listed(map(_last, parts))
    raise UserError(
      f'{found.root}: its folders are {all_}; expected a folder for each class, or folders train, val and test that '
      f'contain the class folders, and no others. If {first!r} is a class, rename its folder.'
    )
  return {tree.unwrapped(folder): part for folder, part in classed.items() if part != 'pred'}


def _nested(root: str, tree: '_Tree', folders: Sequence[str]) -> list[str]:
  """Returns a note if all class folders have the same folders, which may be the classes: set1/cat, set2/cat, ….

  Args:
    root: name of the tree.
    tree: the tree.
    folders: its class folders.
  """
  inner = {frozenset(map(_last, tree.full(folder))) for folder in folders}
  below = sorted(inner.pop()) if len(inner) == 1 else []
  if len(folders) < 2 or len(below) < 2:
    return []
  return [
    f'{root}: the classes are its folders {listed(map(_last, folders))}, and in each are {listed(below)}: if those are '
    'the classes, give one of these folders, or call these train, val and test.'
  ]


class _Tree:
  """The folder tree of a set of image files.

  Attributes:
    folders: the subfolders of each folder; '' is the root.
    images: the images directly in each folder.
    filled: folders with images at any depth.
  """

  def __init__(self, found: files.ImageFiles) -> None:
    self.folders, self.images, self.filled = defaultdict(list), defaultdict(list), set()
    for folder in found.folders:
      self.folders[folder.rpartition('/')[0]].append(folder)
    for name in found.names:
      folder = name.rpartition('/')[0]
      self.images[folder].append(name)
      while folder and folder not in self.filled:
        self.filled.add(folder)
        folder = folder.rpartition('/')[0]

  def full(self, folder: str) -> list[str]:
    """Returns the subfolders of a folder that have images at any depth."""
    return [f for f in self.folders[folder] if f in self.filled]

  def unwrapped(self, folder: str) -> str:
    """Descends while a folder contains only one subfolder with images, and that one has such subfolders itself."""
    while not self.images[folder] and len(inner := self.full(folder)) == 1 and self.full(inner[0]):
      folder = inner[0]
    return folder

  def has_classes(self, folder: str) -> bool:
    """Returns whether a part of a data set has class folders; a part test/test/1.jpg does not."""
    return any(not part_of(_last(f)) for f in self.full(self.unwrapped(folder)))

  def parts_inside(self, top: str) -> bool:
    """Returns whether the class folders in `top` hold folders train, val and test, train among them, and no others."""
    classes = self.full(top)
    parts = {part_of(_last(part)) for folder in classes for part in self.full(folder)}
    return {'train'} < parts <= {*_USE} and not any(self.images[folder] for folder in classes)


def _last(path: str) -> str:
  """Returns the last component of a path."""
  return PurePosixPath(path).name


def _check_wanted(root: Path, folders: Sequence[str], wanted: tuple[str, ...], unlabeled: str) -> None:
  """Raises UserError if a class folder is not in a non-empty `data.classes`."""
  unknown = sorted(f for f in {*folders} - {*wanted} if not labels.means_none(f, unlabeled)) if wanted else []
  if unknown:
    raise UserError(
      f'{root}: the folder {unknown[0]!r} is not in data.classes; expected folders named {listed(wanted)}. Add it to '
      'data.classes, or rename the folder.'
    )
