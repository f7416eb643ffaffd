"""Small label tables for tests."""

import numpy as np

from noisyjax.tables import rows, store
from noisyjax.tables.decisions import Decision

CLASSES = ['cat', 'dog', 'eel']
ANNA, BOB, RULE = 'person:anna', 'person:bob', 'rule:confident'


def some(count: int = 12) -> rows.Rows:
  """Rows with the ids 00…, 01…, whose labels are none, cat, dog, eel in turn; the last two validate and test."""
  split = np.zeros(count, np.int8)
  split[-2:] = rows.VAL, rows.TEST
  return rows.first(
    [f'{i:02d}' + 'a' * 62 for i in range(count)],
    [f'{i}.png' for i in range(count)],
    np.arange(count) % 4 - 1,
    CLASSES,
    split=split,
  )


def made(folder, count: int = 12) -> store.Table:
  return store.create(folder, some(count), CLASSES, ANNA, {})


def says(table: store.Table, place: int, action: str, label: str = '', **more) -> Decision:
  return Decision(str(table.rows.id[place]), action, label, **more)
