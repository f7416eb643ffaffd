"""Matches the rows of a label file to images.

A row names its image by a path, which may be longer or shorter than the name of the image. If no path matches exactly,
case is ignored, then the suffix, then the prefix that Label Studio adds to uploads, then leading zeros of a number, and
then what Label Studio replaces in names of uploads. A row that matches several images is an error.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from noisyjax.data import files
from noisyjax.data.column import Column, number, plain
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

NO_ROW = 'no row'  # the place of an image without a row
_PREFIX = re.compile(r'(^|/)[0-9a-f]{8}-(?=[^/]+$)')  # of Label Studio's uploads


def _same(path: str) -> str:
  """Returns the path itself."""
  return path


def _stem(path: str) -> str:
  """Returns the path without the suffix of an image file."""
  return path[: path.rindex('.')] if path.lower().endswith(files.SUFFIXES) else path


def _upload(path: str) -> str:
  """Returns the path in lower case, without suffix and without the prefix of a Label Studio upload."""
  return _PREFIX.sub(r'\1', _stem(path).casefold())


def _renamed(path: str) -> str:
  """Returns the path as `_upload` does, with the characters that Label Studio replaces or leaves out of an upload."""
  folder, slash, name = _upload(path).rpartition('/')
  return folder + slash + re.sub(r'[^-\w.]', '', name.strip().replace(' ', '_'))


def _number(path: str) -> str:
  """Returns the path in lower case, without suffix and without leading zeros of a number."""
  folder, slash, name = _stem(path).casefold().rpartition('/')
  return folder + slash + (number(name) or name)


WAYS: tuple[tuple[Callable[[str], str], str], ...] = (
  (_same, ''),
  (str.casefold, 'case'),
  (lambda path: _stem(path).casefold(), 'case and suffix'),
  (_upload, "case, suffix and the prefix of Label Studio's uploads"),
  (_number, 'case, suffix and the zeros before a number'),
  (_renamed, 'case, suffix and what Label Studio changes in names of uploads'),
)


class Names:
  """Finds images by the names that a table uses for them.

  Args:
    names: names of the images.
  """

  def __init__(self, names: Sequence[str] | np.ndarray) -> None:
    self.names = [plain(name) for name in names]
    self._tables: list[tuple[dict[str, list[int]], dict[str, list[int]]]] = []

  def find(self, image: str) -> tuple[list[int], str]:
    """Returns the indices of the images that match `image`, and what the match ignored ('' = nothing)."""
    path = _path(image)
    for way, (key, what) in enumerate(WAYS):
      if key is _renamed and not _PREFIX.search(path):
        break  # "a (1)" is no "a_1" elsewhere
      if way == len(self._tables):
        self._tables.append(self._table(key))
      whole, tails = self._tables[way]
      parts = key(path).split('/')
      shorter = ('/'.join(parts[k:]) for k in range(1, len(parts)))
      found = whole.get('/'.join(parts)) or tails.get('/'.join(parts))
      found = found or next((whole[tail] for tail in shorter if tail in whole), None)
      if found:
        return found, what
    return [], ''

  def _table(self, key: Callable[[str], str]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Returns the indices of the images by their whole path, and by each trailing part of it."""
    whole, tails = {}, {}
    for i, name in enumerate(self.names):
      parts = key(name).split('/')
      whole.setdefault('/'.join(parts), []).append(i)
      for k in range(1, len(parts)):
        tails.setdefault('/'.join(parts[k:]), []).append(i)
    return whole, tails


def _path(image: str) -> str:
  """Returns a path with '/' as the only separator, and without drive, scheme, query, '.' and '..'."""
  text = image.replace('\\', '/')
  if text.startswith('/data/upload/'):  # the upload folder of Label Studio
    return unquote(text.rpartition('/')[2])
  if '?d=' in text or '://' in text:  # a local file in Label Studio, or a URL
    text = unquote(text.partition('?d=')[2] or text.partition('://')[2].partition('?')[0] or text)
  text = re.sub(r'^[A-Za-z]:', '', text)
  return '/'.join(part for part in text.split('/') if part not in ('', '.', '..'))


def rows_of(column: Column, names: Sequence[str], root: str | Path = '') -> tuple[list[int], tuple[str, ...]]:
  """Returns the index of each row's image in `names` (-1 = there is no such image), and notes for the user.

  Args:
    column: labels with the images that they name.
    names: names of the images.
    root: folder or archive of the images. Of two rows for one image, that in another folder is of another image.

  Raises:
    UserError: a row matches several images, or two rows have different labels for one image.
  """
  table, rows, loose, foreign = Names(names), [], {}, {}
  here = {'', *map(str.casefold, (Path(root).name, Path(root).stem))}
  for row, (image, place) in enumerate(zip(column.images or (), column.places)):
    found, what = table.find(image)
    if len(found) > 1:
      fits = [table.names[i] for i in found]
      if len({*fits}) == 1:
        raise UserError(
          f'{column.where}: {place}: {image!r} is the name of {len(fits)} rows; expected names that differ.'
        )
      folders = [str(PurePosixPath(name).parent) for name in fits]
      many = len({PurePosixPath(name).name for name in fits}) == 1
      where = f'is in {len(fits)} folders: {listed(folders)}' if many else f'may be {listed(fits)}'
      raise UserError(f'{column.where}: {place}: {image!r} {where}; expected its path, such as {fits[0]!r}.')
    rows.append(found[0] if found else -1)
    if found and _above(image, table.names[found[0]]).casefold() not in here:
      foreign[row] = found[0]
    if what:
      loose.setdefault(what, []).append((image, table.names[found[0]]))
  if own := {i for row, i in enumerate(rows) if row not in foreign} & {*foreign.values()}:
    rows = [-1 if row in foreign and i in own else i for row, i in enumerate(rows)]
  elif foreign:
    loose['the folders before it'] = [((column.images or ())[row], table.names[i]) for row, i in foreign.items()]
  notes = [
    f'{column.where}: {len(pairs)} rows match an image ignoring {what}, such as {pairs[0][0]!r} for {pairs[0][1]!r}.'
    for what, pairs in loose.items()
  ]
  first: dict[int, int] = {}
  again = []
  for row, i in enumerate(rows):
    if i >= 0 and (other := first.setdefault(i, row)) != row:
      again.append(row)
      if column.labels[row] != column.labels[other]:
        raise UserError(
          f'{column.where}: {column.places[other]} ({column.labels[other]!r}) and {column.places[row]} '
          f'({column.labels[row]!r}) both label the image {table.names[i]}; expected one label per image.'
        )
  if again:
    notes.append(f'{column.where}: {len(again)} rows repeat another, the first is {column.places[again[0]]}.')
  return rows, tuple(notes)


def _above(image: str, name: str) -> str:
  """Returns the folder above the image `name` in the path by which a row names it; '' if the path has none."""
  parts = _path(image).split('/')
  return parts[-name.count('/') - 2] if len(parts) > name.count('/') + 1 else ''


def aligned(column: Column, names: Sequence[str], root: str | Path, part: bool = False) -> Column:
  """Returns a column with one label per image, in the order of `names`.

  The label of an image without a row is None, and its place is NO_ROW. The `images` of the result are `names`.

  Args:
    column: the column as it was read.
    names: names of the images.
    root: folder or archive of the images, for messages.
    part: whether a column without image names may cover the first images only.

  Raises:
    UserError: the column does not name images, and has more or fewer rows than there are images, or their order is
      ambiguous; it names images, but no row matches one; also as `rows_of`.
  """
  if column.images is None:
    return _in_order(column, names, root, part)
  rows, notes = rows_of(column, names, root)
  _check_numbers(column, rows, names)
  place = {i: row for row, i in reversed(list(enumerate(rows))) if i >= 0}
  if not place:
    raise _none_fits(column, names, root)
  notes += tuple(_strangers(column, rows, names, root))
  return Column(
    column.where,
    [column.labels[place[i]] if i in place else None for i in range(len(names))],
    [column.places[place[i]] if i in place else NO_ROW for i in range(len(names))],
    list(names),
    (*column.notes, *notes),
  )


def _check_numbers(column: Column, rows: Sequence[int], names: Sequence[str]) -> None:
  """Refuses rows numbered from 0 for images numbered from 1, or the other way round.

  All but one of them match, but the number of a row is rather its place than the name of its image.
  """
  count = len(names)
  if len(rows) != count or rows.count(-1) != 1 or len({*rows}) != count:
    return
  starts = []
  for images in (column.images or (), map(_stem, names)):
    found = {number(PurePosixPath(image).name) for image in images}
    starts += [start for start in (0, 1) if found == {*map(str, range(start, start + count))}]
  if sorted(starts) == [0, 1]:
    raise UserError(
      f'{column.where}: its rows are numbered {starts[0]} to {starts[0] + count - 1}, the images {starts[1]} to '
      f'{starts[1] + count - 1}: do these numbers name the images? Expected their file names, such as {names[0]!r}.'
    )


def without_row(column: Column) -> list[int]:
  """Returns the indices of the images without a row in an aligned column."""
  return [i for i, place in enumerate(column.places) if place == NO_ROW]


def _in_order(column: Column, names: Sequence[str], root: str | Path, part: bool) -> Column:
  """Aligns a column without image names, whose rows follow the order of the images."""
  count = len(column.labels)
  if count > len(names) or (count < len(names) and not part):
    hint = ''
    if count == len(names) + 1 and column.places[0] == 'row 1':
      hint = f' If row 1, {column.labels[0]!r}, is a header, change it to label.'
    raise UserError(
      f'{column.where}: has {count} labels for the {len(names)} images in {root}; expected '
      f'{"at most one row" if part else "one row"} per image.{hint}{" ".join(["", *column.notes])}'
    )
  check_order(column, names)
  rest = len(names) - count
  return column._replace(
    labels=[*column.labels, *[None] * rest], places=[*column.places, *[NO_ROW] * rest], images=list(names)
  )


def _near(image: str, names: Sequence[str]) -> str:
  """Returns ' Did you mean …?' with the most similar image name; '' if there is none."""
  path = _path(image)[-300:]  # the time grows with the square of the length
  near = difflib.get_close_matches(path, names[:2000], n=1, cutoff=0.7)
  return f' Did you mean {near[0]!r}?' if near else ''


def _none_fits(column: Column, names: Sequence[str], root: str | Path) -> UserError:
  """Returns the error for a column of which no row names an existing image."""
  images = column.images or ['']
  return UserError(
    f'{column.where}: none of its {len(images)} rows names an image in {root}: {column.places[0]} names '
    f'{reading.short(images[0])!r}, the images are called {", ".join(map(repr, names[:3]))}, …{_near(images[0], names)}'
  )


def _strangers(column: Column, rows: Sequence[int], names: Sequence[str], root: str | Path) -> list[str]:
  """Returns a note on the rows that name images that do not exist."""
  missing = [row for row, i in enumerate(rows) if i < 0]
  if not missing:
    return []
  image = (column.images or ())[missing[0]]
  name = 'names an image that is' if len(missing) == 1 else 'name images that are'
  return [
    f'{column.where}: {len(missing)} of {len(rows)} rows {name} not in {root}; the first is '
    f'{column.places[missing[0]]}: {reading.short(image)!r}.{_near(image, names)}'
  ]


def _valued(part: str) -> tuple[int, int, str]:
  """Returns the sort key of a part of a name, in which numbers sort by value."""
  value = part.lstrip('0')
  return (0, len(value), value) if part.isdecimal() else (1, 0, part)


def check_order(column: Column, names: Sequence[str]) -> None:
  """Refuses a column without image names if the sorted order of the images is ambiguous.

  It is ambiguous if sorting as text gives another order than sorting by number (10.png after 2.png), folder by folder,
  files before folders, or without regard to case.

  Raises:
    UserError: two orders differ; the message names the first difference.
  """
  if found := other_order(names):
    raise UserError(
      f"{column.where}: its rows name no images, and {found}. Give it a header 'image,label' and the name of the "
      'image in each row.'
    )


def other_order(names: Sequence[str]) -> str:
  """Returns how another usual order of the names differs from theirs, as text, and where; '' if none does."""
  parts = lambda name: tuple(name.split('/'))
  orders = {
    'by number': lambda name: [_valued(part) for part in re.split(r'(\d+)', name)],
    'folder by folder': parts,
    'files before folders': lambda name: (parts(name)[:-1], parts(name)[-1]),
    'without regard to case': str.casefold,
  }
  for what, key in orders.items():
    other = sorted(names, key=key)
    if other != list(names):
      i = next(i for i, (a, b) in enumerate(zip(names, other)) if a != b)
      return f'sorting the images as text or {what} differs (position {i}: {names[i]!r} or {other[i]!r})'
  return ''
