"""A simulated person, who answers from the true labels: so many rows, some of them wrongly."""

from collections.abc import Sequence

import numpy as np

from noisyjax.data import split
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import Rows

AUTHOR = 'person:simulated'


def answers(
  places: Sequence[int], rows: Rows, truth: np.ndarray, classes: Sequence[str], most: int, error: float, seed: int
) -> list[Decision]:
  """Returns the answers to the first rows that are asked for. An answer depends on the row and the seed alone.

  Args:
    places: rows that are asked for, in order.
    rows: rows of the table.
    truth: int [N], true labels of the rows; -1 = unknown: not answered.
    classes: names of the classes.
    most: number of answers at most.
    error: share of wrong answers; a wrong one is another class at random.
    seed: of the errors.
  """
  out = []
  for place in places:
    if len(out) == most:
      break
    if truth[place] < 0:
      continue
    random, label = split.rng(seed, f'answer {rows.id[place]}'), int(truth[place])
    if random.random() < error:
      label = (label + int(random.integers(1, len(classes)))) % len(classes)
    out.append(Decision(str(rows.id[place]), 'label', classes[label], None, 'answered from the true label'))
  return out


def told(decided: int) -> str:
  """Returns what a loop was told by so many answers."""
  return f'{decided} true labels, by a simulated person'
