"""What travels to the page: all that it holds of its rows, once, as a header and raw arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.review import evidence, packing
from noisyjax.review.details import Details
from noisyjax.review.evidence import Source
from noisyjax.review.ledger import GONE, Ledger
from noisyjax.review.proposals import ACTION, Proposals
from noisyjax.tables.rows import STATUSES, TRAIN, UNLABELED


class Content(NamedTuple):
  """What a page shows.

  Attributes:
    places: places of its rows in the table, int64 [n].
    sources: evidence about these rows.
    details: what the card of a row shows beyond columns.
    proposals: what rules propose.
    workdirs: the folders that all this comes from.
  """

  places: np.ndarray
  sources: Sequence[Source]
  details: Sequence[Details] = ()
  proposals: Sequence[Proposals] = ()
  workdirs: Sequence[Path] = ()


def made(ledger: Ledger, content: Content, answered: Mapping[str, set[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
  """Returns header and arrays.

  Args:
    ledger: the table.
    content: what the page shows of it.
    answered: rule → ids of rows, whose proposals a person answered; those of earlier versions are left out.
  """
  ledger.refresh()
  table, places = ledger.table, content.places
  rows, decided = table.rows, ledger.decided()
  arrays: dict[str, np.ndarray] = {
    'place': places.astype(np.uint32),
    'status': rows.status[places].astype(np.uint8),
    'label': rows.label[places].astype(np.int32),
    'verified': rows.verified[places].astype(np.int32),
    'given': rows.given_label[places].astype(np.int32),
    'weight': rows.weight[places].astype(np.float32),
  }
  if ledger.curates:  # nothing to lean on
    trains = rows.split[places] == TRAIN
    arrays['status'][trains] = UNLABELED
    for name in ('label', 'verified', 'given'):
      arrays[name][trains] = -1
  arrays['status'][~np.isin(places, ledger.shown())] = GONE
  for name, values in packing.texts(rows.name[places].tolist()).items():
    arrays[f'name {name}'] = values
  told = []
  for source in content.sources:
    for column in source.columns:
      key = f'evidence {len(told)}'
      arrays[key] = column.values
      told.append({'key': key, **{name: getattr(column, name) for name in ('name', 'source', 'kind', 'basis')}})
  rules = []
  waiting = np.array([row.place for row in decided], np.int64)
  for number, found in enumerate(content.proposals):
    old = np.isin(rows.id[found.place], list(answered.get(found.rule, ()))) & ~np.isin(found.place, waiting)
    kept = found.open(rows) & np.isin(found.place, places) & ~old
    for name, values, dtype in (
      ('place', found.place, np.uint32),
      ('action', found.action, np.uint8),
      ('label', found.label, np.int32),
      ('score', found.score, np.float32),
    ):
      arrays[f'rule {number} {name}'] = values[kept].astype(dtype)
    rules.append(_rule(ledger, found, number, int(kept.sum())))
  header = {
    **ledger.head(),
    'table': table.folder.resolve().name,
    'folder': str(table.folder),
    'branch': table.branch,
    'author': ledger.author,
    'read_only': ledger.read_only,
    'curates': ledger.curates,
    'key': table.facts['first'][:12],
    'classes': table.classes,
    'statuses': list(STATUSES),
    'actions': ACTION,
    'hidden': len(rows) - len(places),
    'decided': [list(row) for row in decided],
    'columns': told,
    'rules': rules,
    'runs': [
      {'name': s.name, 'version': s.version, 'stale': evidence.stale(table, s.version)} for s in content.sources
    ],
  }
  return header, arrays


def _rule(ledger: Ledger, found: Proposals, number: int, kept: int) -> dict[str, Any]:
  """Returns what the page says of a rule; its proposals that no longer apply are counted."""
  entry = found.entry
  estimate = {key: value for key, value in (entry.get('estimate') or {}).items() if key != 'classes'}
  return {
    'key': f'rule {number}',
    'rule': found.rule,
    'source': found.source,
    'estimate': estimate or None,
    **{name: entry.get(name) for name in ('params', 'stopped', 'in_sample')},
    'version': (version := entry.get('made_on', '')),
    'stale': evidence.stale(ledger.table, version),
    'gone': len(found.place) - kept,
  }
