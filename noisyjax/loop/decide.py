"""The decisions of a round: what its rules propose, who decides, and the commit. Repeating it decides nothing twice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.loop import annotator, proposals
from noisyjax.loop.ground import AUTHOR
from noisyjax.rules import apply
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import ASK, Base
from noisyjax.system.errors import UserError
from noisyjax.tables import refs, rejections, store
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rejections import Rejected
from noisyjax.tables.versions import Version


class Asked(NamedTuple):
  """What the rules of a round propose; a row that two rules would change is the first one's.

  Attributes:
    outcomes: what each rule would do.
    heard: for each rule, the proposals of rows that no earlier rule has.
  """

  outcomes: list[apply.Outcome]
  heard: list[np.ndarray]

  @property
  def entries(self) -> list[dict[str, Any]]:
    """The manifest entry of each rule, with the number of its proposals that were heard."""
    return [outcome.entry | {'heard': int(mine.sum())} for outcome, mine in zip(self.outcomes, self.heard)]

  def decisions(self, number: int) -> list[Decision]:
    """Returns the decisions of a rule that were heard."""
    outcome, mine = self.outcomes[number], self.heard[number]
    settled = outcome.proposed.action != ASK
    return [decision for decision, ours in zip(outcome.decisions, mine[settled]) if ours]

  def questions(self) -> list[int]:
    """Returns the rows that rules ask a person about, the most pressing first."""
    out = []
    for outcome, mine in zip(self.outcomes, self.heard):
      asked = np.flatnonzero(mine & (outcome.proposed.action == ASK))
      order = np.argsort(-outcome.proposed.score[asked], kind='stable')
      out += outcome.proposed.place[asked[order]].tolist()
    return out


def asked(
  rules: Sequence[Base], evidence: Evidence, version: Version, truth: np.ndarray, rejected: Rejected | None = None
) -> Asked:
  """Runs the rules of a round on the rows of a version; see `apply.dry_run` for `truth` and `rejected`."""
  taken = np.zeros(len(version.rows), bool)
  outcomes, heard = [], []
  for rule in rules:
    outcome = apply.dry_run(rule, evidence, version.rows, version.classes, truth, rejected)
    mine = ~taken[outcome.proposed.place]
    taken[outcome.proposed.place] = True
    outcomes.append(outcome)
    heard.append(mine)
  return Asked(outcomes, heard)


def by_rules(table: store.Table, found: Asked, number: int) -> None:
  """Journals the decisions of rules, each rule's as one entry, unless the round has journaled it before."""
  done = _journaled(table, number)
  for i, entry in enumerate(found.entries):
    decisions = found.decisions(i)
    if decisions and i not in done:
      facts: dict[str, Any] = {**entry, 'round': number, 'number': i}
      table.decide(found.outcomes[i].author, decisions, '', **facts)


def by_nobody(table: store.Table, found: Asked, number: int) -> None:
  """Journals that none of the proposals is taken, unless the round has journaled it before."""
  done = _journaled(table, number)
  for i, outcome in enumerate(found.outcomes):
    decisions = found.decisions(i)
    if decisions and f'rejected {i}' not in done:
      kept = [Decision(decision.id, 'keep', reason='rejected with --reject') for decision in decisions]
      said = [rejections.said(decision.action, decision.label) for decision in decisions]
      proposal = {'rule': outcome.author, 'said': said}
      table.decide(AUTHOR, kept, proposal=proposal, round=number, number=f'rejected {i}')


def by_annotator(table: store.Table, answers: Sequence[Decision], number: int) -> None:
  """Journals the answers of the simulated person, unless the round has journaled them before."""
  if answers and 'answers' not in _journaled(table, number):
    told = annotator.told(len(answers))
    table.decide(annotator.AUTHOR, answers, round=number, number='answers', told=told)


def _journaled(table: store.Table, number: int) -> set[Any]:
  """Returns which entries of a round the journal has; those that were taken back count."""
  return {entry.get('number') for entry in table.pending().entries if entry.get('round') == number}


def for_person(table: store.Table, found: Asked, folder: Path, root: str) -> int:
  """Writes proposals.csv, .json and .png, for a person to fill in or to delete; returns the number of rows."""
  place, action, label, score, reason, rule = [], [], [], [], [], []
  for outcome, mine in zip(found.outcomes, found.heard):
    kept = outcome.proposed.at(mine)
    order = np.argsort(-kept.score, kind='stable')
    place += kept.place[order].tolist()
    action += kept.action[order].tolist()
    label += [table.classes[k] if k >= 0 else '' for k in kept.label[order].tolist()]
    score += [f'{value:.6f}' for value in kept.score[order]]
    reason += [outcome.entry['rule']] * len(kept)
    rule += [outcome.author] * len(kept)
  columns = {'action': action, 'label': label, 'reason': reason, 'evidence': score}
  names = table.rows.name[place].tolist()
  captions = list(zip(names, [f'{a or "?"} {k}' for a, k in zip(action, label)], score))
  entries = {outcome.author: outcome.entry for outcome in found.outcomes}
  proposals.write_proposed(table, place, columns, captions, folder, root, rule, entries)
  return len(place)


def committed(table: store.Table, parent: str, number: int, facts: Mapping[str, Any]) -> Version | None:
  """Commits the decisions that wait, unless that was done.

  Args:
    table: on the branch of the round.
    parent: name of the version that the round starts from.
    number: of the round.
    facts: further entries of the manifest.

  Returns:
    The version; None if no decision changes a row.

  Raises:
    UserError: two authors disagree on a row, or another writer committed meanwhile.
  """
  if table.version.name != parent:
    return table.version
  if not len(table.pending().edits(table.rows, table.classes)):
    return None
  try:
    return table.commit(f'round {number}', AUTHOR, **facts)
  except UserError:
    if refs.read_branch(table.folder, table.branch)['version'] == parent:
      raise
    raise UserError(
      f'{table.folder}: another writer committed to {table.branch} meanwhile; run the same command again.'
    ) from None
