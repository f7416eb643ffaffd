"""The data sets of the shipped recipes, in the folder given by the environment variable NOISYJAX_DATA."""

import os
from pathlib import Path

VARIABLE = 'NOISYJAX_DATA'

# The content and source of each folder, for messages.
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
  """Returns advice for a missing path: the expected files; '' if the path does not belong to one of these data sets."""
  found = next((name for name in SETS if name in missing.parts), None)
  if found is None:
    return ''
  there = f'{os.environ[VARIABLE]!r}' if os.environ.get(VARIABLE) else 'not set'
  return f' Expected {SETS[found]}. Set {VARIABLE} ({there} now) to the folder that holds {found}.'
