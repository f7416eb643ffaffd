"""What a rule would do, put before a person as proposals.csv, proposals.json and proposals.png."""

from pathlib import Path

import numpy as np

from noisyjax.loop import proposals
from noisyjax.rules import apply
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import ASK, Base
from noisyjax.system.errors import UserError
from noisyjax.tables import rejections, store
from noisyjax.tables.compare import shown
from noisyjax.tables.rows import TEST, Rows
from noisyjax.tables.versions import SHORT


def frozen(rows: Rows, given: bool) -> np.ndarray:
  """Returns the labels that the precision of a rule is estimated on, int32 [N]; -1 = none. Test rows have none.

  Args:
    rows: rows of the table.
    given: whether given labels count, as labels that people gave; otherwise only verified ones do.
  """
  label = np.where((rows.verified < 0) & given, rows.given_label, rows.verified)
  return np.where(rows.split == TEST, -1, label).astype(np.int32)


def propose(
  table: store.Table, rule: Base, evidence: Evidence, truth: np.ndarray, folder: Path, root: str = ''
) -> apply.Outcome:
  """Writes what a rule would do, the surest first.

  What a person rejected is not proposed again. `table decide --from=proposals.csv` journals the rows that are left with
  the rule's entry, and those that were deleted as rejected; it reads proposals.json for both.

  Args:
    table: that the proposals are about.
    rule: from `rule.build`.
    evidence: about the open version of the table.
    truth: from `frozen`.
    folder: where to.
    root: folder or zip of the images; '': the one that the table was made of.

  Raises:
    UserError: the evidence is about another version; and as `apply.dry_run` does.
  """
  if evidence.version != table.version.name:
    raise UserError(
      f'--analysis: is about the version {evidence.version[:SHORT] or "of no table"}; expected one about '
      f'{table.version.name[:SHORT]}, the newest of {table.branch}.'
    )
  rows, classes = table.rows, table.classes
  outcome = apply.dry_run(rule, evidence, rows, classes, truth, rejections.read(table.folder))
  found = outcome.proposed.at(np.argsort(-outcome.proposed.score, kind='stable'))
  labels = [classes[label] if label >= 0 else '' for label in found.label.tolist()]
  scores = [f'{score:.6f}' for score in found.score.tolist()]
  columns = {
    'action': found.action.tolist(),
    'label': labels,
    'author': ['' if action == ASK else outcome.author for action in found.action.tolist()],
    'reason': [rule.why] * len(found),
    'evidence': scores,
  }
  captions = [
    (rows.name[place], f'{shown(rows, place, classes)} > {label or action}', score)
    for place, action, label, score in zip(found.place.tolist(), found.action.tolist(), labels, scores)
  ]
  places, entries = found.place.tolist(), {outcome.author: outcome.entry}
  proposals.write_proposed(table, places, columns, captions, folder, root, [outcome.author] * len(places), entries)
  return outcome
