"""Validation rows, labeled by a person before a loop begins: which rows the page shows, and what a decision becomes."""

from pathlib import Path

import numpy as np

from noisyjax.loop import proposals
from noisyjax.system.errors import UserError
from noisyjax.tables import refs, store, versions
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import TRAIN, VAL
from noisyjax.tables.versions import SHORT

ACTIONS = ('label', 'hold', 'drop')


def places(table: store.Table, count: int) -> np.ndarray:
  """Returns the rows to curate: `count` drawn ones, and those that validate already; int64 [n].

  Raises:
    UserError: rules changed labels already, or fewer rows can be drawn.
  """
  _check(table.folder, table.version.name)
  found = proposals.drawn(table.rows, count, flag='--curate')
  return np.union1d(found, np.flatnonzero(table.rows.split == VAL)).astype(np.int64)


def _check(folder: Path, name: str) -> None:
  for version in reversed(refs.lineage(folder, [name])):
    manifest = versions.read_manifest(folder, version)
    if manifest.get('rules') or 'round' in manifest:
      raise UserError(
        f'--curate: rules changed labels in version {version[:SHORT]} already, and what validates is frozen since; '
        'expected a table that only people changed.'
      )


def meant(decision: Decision, split: int) -> Decision:
  """Returns what a decision becomes: a label makes a training row validate.

  Raises:
    UserError: the action is none of ACTIONS.
  """
  if decision.action not in ACTIONS:
    raise UserError(f'{decision.action}: is not taken while rows are curated; expected {", ".join(ACTIONS)}.')
  return decision._replace(action='curate') if (decision.action, split) == ('label', TRAIN) else decision
