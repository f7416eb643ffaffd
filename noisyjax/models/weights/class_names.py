"""Classes that pretrained weights have learnt by name, so that a result can say which classes of the data are not new.

`imagenet_classes.txt` holds the 1,000 classes of ImageNet-1k (ILSVRC 2012) in their order, one a line: the names of the
WordNet synset, separated by commas.
"""

import functools
import re
from collections.abc import Iterable
from pathlib import Path

_FILES = {'ImageNet-1k': 'imagenet_classes.txt'}  # training data → file of its class names


def learnt(data: str, classes: Iterable[str]) -> list[str]:
  """Returns those classes whose names the training data have, too; case and punctuation do not count.

  Equal names may mean different things: ImageNet's "plane" is the tool of a carpenter.

  Args:
    data: name of the training data, see `pretrained.Weights`.
    classes: class names of the data of a run.
  """
  return [name for name in classes if _folded(name) in _names(data)]


@functools.cache
def _names(data: str) -> frozenset[str]:
  if data not in _FILES:
    return frozenset()
  text = (Path(__file__).parent / _FILES[data]).read_text(encoding='utf-8')
  return frozenset(_folded(name) for line in text.splitlines() for name in line.split(','))


def _folded(name: str) -> str:
  """Returns the letters and digits of a name in lower case, with one space between words."""
  return ' '.join(re.findall(r'[^\W_]+', name.casefold().replace("'", '')))
