"""Notes for the user on the labels of a run: missing values, class positions, and suspicious class names."""

import difflib
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from noisyjax.data.column import Column, number
from noisyjax.data.labels import NAN, NO_LABEL, words
from noisyjax.data.part_names import part_of
from noisyjax.system.errors import LISTED, listed

_LOOKALIKE = str.maketrans('аеорсухі', 'aeopcyxi')  # Cyrillic
# Spaces, quotes, stops, dashes before a letter: not where they part two numbers (1.5, 15), nor signs (A+, A-, <5, C#).
_MARK = r'(?:[\s_.,;"\'`´‘’„“”«»\xad\u200b-\u200f\u2060\ufeff]|[-–—](?=\w))+'
_MARKS = re.compile(rf'(?<!\d){_MARK}|{_MARK}(?!\d)')


def missing_note(column: Column, unlabeled: str, apart: Iterable[int] = ()) -> list[str]:
  """Returns a note on the rows without a value, or none.

  Args:
    column: the labels.
    unlabeled: class name that means "unlabeled"; '' = there is no such name, and no note is returned.
    apart: rows to ignore.
  """
  apart = set(apart)
  rows = [i for i, text in enumerate(column.labels) if text is None and i not in apart]
  if not rows or not unlabeled:
    return []
  total = len(column.labels)
  return [f'{column.where}: rows without a label: {len(rows)} of {total}, the first is {column.places[rows[0]]}.']


def position_note(column: Column, classes: Sequence[str]) -> list[str]:
  """Returns a note on the meaning of a column of class positions; none if its labels are names of classes."""
  values = {number(text) for text in column.labels if text is not None} - {'-1'}
  if not values or None in values or any(map(number, classes)):
    return []
  shown = listed(f'{i} = {name}' for i, name in enumerate(classes))
  return [f'{column.where}: its numbers are positions in the order of the classes: {shown}.']


def class_notes(labels: np.ndarray, classes: Sequence[str], unlabeled: str) -> list[str]:
  """Returns notes on class names that look like mistakes, and on classes with one image.

  Args:
    labels: int [N]; -1 = unlabeled.
    classes: class names.
    unlabeled: class name that means "unlabeled".
  """
  counts = np.bincount(labels[labels >= 0], minlength=len(classes))
  notes = [*_alike(classes), *_blank(classes, counts, unlabeled)]
  known = {*classes}
  if several := [name for name in classes if _several(name, known)]:
    notes.append(
      f'Classes are called {listed(map(repr, several))}: if these are several labels of an image, expected one.'
    )
  if bracketed := [name for name in classes if re.fullmatch(r'\[.*\]|\{.*\}', name)]:
    notes.append(f'Classes are called {listed(map(repr, bracketed))}: are these lists? Expected one label an image.')
  if parts := [name for name in classes if part_of(name)]:
    notes.append(f'Classes are called {listed(parts)}: are these parts of the data set, and no classes?')
  notes += _single(classes, counts)
  values = [number(name) for name in classes]
  if None not in values and values != [str(c) for c in range(len(classes))]:
    notes.append(
      f'The class numbers are not 0..{len(classes) - 1} but {listed(classes)}: each is the name of a class, in this '
      'order.'
    )
  return notes


def _alike(classes: Sequence[str]) -> list[str]:
  """Returns a note for each group of classes that may be one class, spelled differently."""
  alike: dict[str, list[str]] = {}
  for name in classes:
    alike.setdefault(_letters(name) or name, []).append(name)
  notes = []
  for group in alike.values():
    if len(group) > 1 and not all(map(number, group)):
      seen = {name.translate(_LOOKALIKE) for name in group}
      shown = ' and '.join(map(repr if len(seen) == len(group) else ascii, group[:LISTED]))
      notes.append(
        f'The classes {shown} differ in case, spaces or marks only, or look alike: if they are one class, write them '
        'alike in the label file.'
      )
  return notes


def _blank(classes: Sequence[str], counts: np.ndarray, unlabeled: str) -> list[str]:
  """Returns a note on classes whose names read like "no label"."""
  near = lambda name: any(
    difflib.SequenceMatcher(None, name.casefold(), word.casefold()).ratio() > 0.84 for word in words(unlabeled)
  )
  blank = [i for i, name in enumerate(classes) if near(name) or name.casefold() in (*NO_LABEL, *NAN)]
  if not blank:
    return []
  found = listed(f'{classes[i]!r} ({counts[i]} images)' for i in blank)
  which, reads, mean = ('class', 'reads', 'it means') if len(blank) == 1 else ('classes', 'read', 'they mean')
  cure = ','.join([*filter(None, [unlabeled]), *(classes[i] for i in blank)])
  return [
    f'The {which} {found} {reads} like "no label", which is {unlabeled!r} here; if {mean} that, set '
    f'--config.data.unlabeled={shlex.quote(cure)}.'
  ]


def _single(classes: Sequence[str], counts: np.ndarray) -> list[str]:
  """Returns a note on classes with one image."""
  ones = [name for name, count in zip(classes, counts) if count == 1]
  if len(ones) >= LISTED and 2 * len(ones) > len(classes):
    return [f'{len(ones)} of {len(classes)} classes have one image each: are the labels names of images?']
  if not ones:
    return []
  often = [name for name, count in zip(classes, counts) if count > 1]
  near = difflib.get_close_matches(ones[0], often, n=1, cutoff=0.8)
  meant = f' Is {ones[0]!r} meant to be {near[0]!r}?' if near else ''
  each = 'each of the labels' if ones[1:] else 'the label'
  return [f'One image alone has {each} {listed(map(repr, ones))}.{meant}']


def _several(name: str, classes: set[str]) -> bool:
  """Returns whether the name of a class may be several labels: `a;b`, or other classes as in `a, b`, `a/b`, `a b`."""
  parts = lambda separator: {part.strip() for part in re.split(separator, name)}
  joined = any(len(found) > 1 and found <= classes for found in (parts('[,/&+]'), parts(r'\s+')))
  return joined or re.search('[;|]', name) is not None


def _letters(name: str) -> str:
  """Returns a name in lower case and without marks, full-width and Cyrillic letters as the Latin they resemble."""
  return _MARKS.sub('', unicodedata.normalize('NFKC', name).casefold()).translate(_LOOKALIKE)
