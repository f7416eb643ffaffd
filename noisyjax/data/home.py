"""The data sets that the shipped recipes read: below the folder that the environment variable NOISYJAX_DATA names."""

import os
from pathlib import Path

VARIABLE = 'NOISYJAX_DATA'

# Folder → what it holds and where that comes from, for messages.
SETS = {
  'weak_supervision': (
    "the weak_supervision folder of the course project's notebook, with images.zip, noisy_labels.csv, clean_labels.csv "
    'and true_labels.npy (CIFAR-10, 50,000 training images)'
  ),
  'cifar10n': (
    "the human labels that CIFAR-10N's authors publish, one array a file: aggre_label.npy, random_label1.npy, "
    'worse_label.npy, and image_order_c10.npy, the order of their rows'
  ),
  'chihuahua_muffin': (
    'photos of chihuahuas and muffins from a public image data set: train.zip and test.zip, with train.csv, '
    'test.csv and truth.csv (image,label)'
  ),
}


def path(*parts: str) -> str:
  """Returns the path of a data set or of a file in it; relative to the current folder if the variable is not set."""
  return str(Path(os.environ.get(VARIABLE, ''), *parts))


def hint(missing: Path) -> str:
  """Returns a sentence for a path that does not exist: which files were expected; '' if it is of no such data set."""
  found = next((name for name in SETS if name in missing.parts), None)
  if found is None:
    return ''
  there = f'{os.environ[VARIABLE]!r}' if os.environ.get(VARIABLE) else 'not set'
  return f' Expected {SETS[found]}. Set {VARIABLE} ({there} now) to the folder that holds {found}.'
