"""Runs a rule on evidence: what it would decide, how often that is right on frozen labels, and whether it stops itself.

The order: candidates of the rule → threshold → estimate of the precision and floors → caps and balance. The estimate is
of all proposals that reach the threshold; caps take the surest of them. Nothing is written here: `Outcome.decisions`
are what `Table.decide` journals, and `Outcome.entry` goes beside them, from where it reaches the manifest.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from noisyjax.rules import limits, precision, thresholds
from noisyjax.rules.evidence import MADE_BY, Evidence
from noisyjax.rules.rule import ASK, PACKAGE, Base, Proposed, build
from noisyjax.system import plugins
from noisyjax.system.errors import UserError, check_choice, listed
from noisyjax.tables import edits as edits_, rejections
from noisyjax.tables.decisions import ACTIONS, Decision, act, state_of
from noisyjax.tables.rejections import Rejected
from noisyjax.tables.rows import LABELED, TEST, TRAIN, UNLABELED, Rows
from noisyjax.tables.versions import SHORT

FOLDS = 10  # parts in which frozen labels are put into the state that a rule looks for, one part at a time


class Outcome(NamedTuple):
  """What a rule would do: a dry run.

  Attributes:
    proposed: its proposals.
    decisions: the decisions of the proposals that need no person, for `Table.decide` as author `author`.
    entry: for the journal and the manifest: the rule with its parameters, the threshold that was used, counts by action
      and class pair, the estimate of the precision, why it stopped, and the evidence.
  """

  proposed: Proposed
  decisions: list[Decision]
  entry: dict[str, Any]

  @property
  def author(self) -> str:
    return f'rule:{self.entry["rule"]}'


def dry_run(
  rule: Base,
  evidence: Evidence,
  rows: Rows,
  classes: Sequence[str],
  truth: np.ndarray | None = None,
  rejected: Rejected | None = None,
) -> Outcome:
  """Returns what a rule would do.

  Rows that a person checked, that validate or test, and that are dropped or held are never proposed, nor is what a
  person rejected.

  Args:
    rule: from `rule.build`.
    evidence: about `rows`.
    rows: rows of the table version that the evidence is about.
    classes: names of the classes.
    truth: int [N], frozen labels that people gave, on which the precision is estimated; -1 = unknown. None: no row has
      one. Labels of test rows are not read.
    rejected: proposals that people rejected, see `rejections.read`. None: there are none.

  Raises:
    UserError: the evidence is in-sample and the rule does not ask for it, or lacks a column; a proposal is not allowed;
      or the parameters need an estimate that labels cannot give.
  """
  _check(rule, evidence, rows, classes)
  truth = np.full(len(rows), -1, np.int32) if truth is None else np.where(rows.split == TEST, -1, truth)
  frozen = np.flatnonzero((truth >= 0) & evidence.known)
  sha256, heat = evidence.digest(), 1.0
  if rule.by == 'calibrated':
    heat = thresholds.temperature(evidence.probs[frozen], truth[frozen])
    evidence = thresholds.scaled(evidence, heat)

  found = _proposed(rule, evidence, rows, classes)
  found = found.at(_editable(rows)[found.place] & _changes(found, rows))
  refused = _refused(found, rows, classes, rejected or {})
  found = found.at(~refused)
  group = _groups(found, rows, len(classes))
  judged = _judged(rule, evidence, rows, classes, truth, frozen)

  limit = np.full(len(classes) + 1, rule.threshold)
  if rule.by == 'quantile':
    limit = thresholds.quantiles(rule, group, found.score, len(limit))
  elif rule.by == 'calibrated':
    scored = (judged.group, judged.score, judged.right, judged.weight)
    limit = thresholds.calibrated(rule, *scored, len(limit)) if judged.frozen else np.full(len(limit), np.inf)

  judged = judged.at(judged.score >= limit[judged.group])
  estimate = _estimate(judged, classes)
  barred, stopped = _stopped(rule, estimate, limit, group, classes)
  keep = limits.taken(rule, group, found.score, (found.score >= limit[group]) & ~barred[group])
  taken = found.at(keep)
  decisions = _decisions(rule, taken, rows, classes)
  entry = {
    'rule': rule.name,
    'params': dataclasses.asdict(rule),
    **({'file': file.sha256} if (file := _file(rule.name)) else {}),
    'threshold': _shown(limit, rule, classes),
    'temperature': heat,
    'proposed': len(taken),
    'rejected': int(refused.sum()),
    'counts': _counts(rule, taken, decisions, rows, classes),
    'estimate': estimate,
    'stopped': stopped,
    'made_on': evidence.version,
    'in_sample': evidence.in_sample,
    'evidence': {**evidence.told, 'sha256': sha256},
  }
  return Outcome(taken, decisions, entry)


def again(
  entry: dict[str, Any],
  evidence: Evidence,
  rows: Rows,
  classes: Sequence[str],
  truth: np.ndarray | None = None,
  rejected: Rejected | None = None,
) -> Outcome:
  """Returns what the rule of an entry does: the same as it did, on the same evidence, rows, labels and rejections.

  Raises:
    UserError: the evidence is another than that of the entry, or so is the file of the rule.
  """
  file = _file(entry['rule'])
  if 'file' in entry and (file is None or file.sha256 != entry['file']):
    raise UserError(
      f'rule {entry["rule"]}: is of a file with the sha256 {entry["file"][:SHORT]}; expected this file, loaded by its '
      'path.'
    )
  if (found := evidence.digest()) != entry['evidence']['sha256']:
    raise UserError(
      f'rule {entry["rule"]}: found other evidence ({found[:SHORT]}) than the entry names; expected '
      f'{entry["evidence"]["sha256"][:SHORT]}.'
    )
  return dry_run(build(entry['rule'], entry['params']), evidence, rows, classes, truth, rejected)


def _file(name: str) -> plugins.File | None:
  """Returns the file of a rule that was loaded by its path; None: the rule is one of noisyjax."""
  return next(iter(plugins.loaded(PACKAGE, [name])), None)


class _Judged(NamedTuple):
  """Proposals about frozen rows, columns [n], and the number of frozen rows that were put to the rule.

  Attributes:
    score: float64.
    group: int, class of the proposal.
    right: bool.
    weight: float64.
    frozen: number of frozen rows; 0 if labels cannot say whether the rule is right.
  """

  score: np.ndarray
  group: np.ndarray
  right: np.ndarray
  weight: np.ndarray
  frozen: int

  def at(self, chosen: np.ndarray) -> '_Judged':
    score, group, right, weight, frozen = self
    return _Judged(score[chosen], group[chosen], right[chosen], weight[chosen], frozen)


def _judged(
  rule: Base, evidence: Evidence, rows: Rows, classes: Sequence[str], truth: np.ndarray, frozen: np.ndarray
) -> _Judged:
  """Returns what the rule proposes about frozen rows that are, part by part, in the state that it looks for."""
  places, score, group, right = [], [], [], []
  asked, status = 0, UNLABELED
  wrong = False  # whether there is anything to find
  for part in range(min(FOLDS, len(frozen))):  # ids are hashes: every FOLDS-th row is a random part
    mine = frozen[part::FOLDS]
    met = rule.met(rows, mine)
    if met is None:
      break
    if (labeled := met.label[mine] >= 0).any():  # a rule about labels does not apply to rows without one
      mine = mine[labeled]
    asked, status = asked + len(mine), int(met.status[mine[0]])
    wrong = wrong or bool((met.label[mine] != truth[mine]).any())
    found = _proposed(rule, evidence, met, classes)
    found = found.at(np.isin(found.place, mine) & _changes(found, met))
    was, true = met.label[found.place], truth[found.place]
    places.append(found.place)
    score.append(found.score)
    group.append(_groups(found, met, len(classes)))
    right.append(np.where(found.label >= 0, found.label == true, was != true))
  if not wrong:
    return _Judged(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0), 0)
  others = evidence.predicted[_editable(rows) & (rows.status == status)]
  counts = precision.weights(evidence.predicted[frozen], truth[frozen], others, len(classes))
  weight = counts[truth[np.concatenate(places)]]
  return _Judged(np.concatenate(score), np.concatenate(group), np.concatenate(right), weight, asked)


def _check(rule: Base, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> None:
  if evidence.probs.shape != (len(rows), len(classes)):
    raise UserError(
      f'rule {rule.name}: the evidence has the shape {evidence.probs.shape}; expected {len(rows)} rows and '
      f'{len(classes)} classes.'
    )
  if evidence.in_sample and not rule.in_sample:
    raise UserError(
      f'rule {rule.name}: the evidence is in-sample: of networks that trained on the rows they judge; expected '
      'out-of-fold evidence (in_sample=true reads it all the same).'
    )
  for column in rule.reads:
    if column not in evidence.columns:
      made = MADE_BY.get(column, 'no part of noisyjax')
      has = listed(evidence.columns) or 'none'
      raise UserError(
        f'rule {rule.name}: needs the column {column!r} of the evidence, which {made} makes; the further columns are: '
        f'{has}.'
      )
  judged = rule.met(rows, np.zeros(0, np.int64)) is not None
  for field in ('floor', 'class_floor'):
    if getattr(rule, field) and not judged:
      raise UserError(f'rule {rule.name}: {field}: its proposals cannot be judged by labels; expected 0.')
  if rule.by == 'calibrated' and not judged:
    raise UserError(f'rule {rule.name}: by: its proposals cannot be judged by labels; expected fixed or quantile.')


def _proposed(rule: Base, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
  """Returns the candidates of a rule that have a score; raises UserError if the rule returns what no row can take."""
  found = rule.propose(evidence, _shown_to_rules(rows), classes)
  if len(np.unique(found.place)) < len(found) or not np.isin(found.place, np.arange(len(rows))).all():
    raise UserError(f'rule {rule.name}: proposes a row twice, or one that does not exist; expected each row once.')
  if ((found.label < -1) | (found.label >= len(classes))).any():
    raise UserError(f'rule {rule.name}: proposes a label that is no class; expected -1 to {len(classes) - 1}.')
  for action in set(found.action.tolist()) - {ASK}:
    check_choice(f'rule {rule.name}: action', action, ACTIONS)
  return found.at(np.isfinite(found.score))


def _shown_to_rules(rows: Rows) -> Rows:
  """Returns the rows without the labels of those that validate or test: they must not reach what is trained on."""
  hidden = (rows.split != TRAIN) & (rows.status == LABELED)
  columns = {name: np.where(hidden, -1, getattr(rows, name)) for name in ('label', 'verified', 'given_label')}
  return dataclasses.replace(rows, status=np.where(hidden, UNLABELED, rows.status), **columns)


def _editable(rows: Rows) -> np.ndarray:
  """Returns the rows that a rule may edit, bool [N]."""
  return (rows.split == TRAIN) & (rows.status <= UNLABELED) & (rows.verified < 0)


def _changes(found: Proposed, rows: Rows) -> np.ndarray:
  """Returns the proposals that change a row, bool [n]."""
  same = (found.action == 'label') & (found.label == rows.label[found.place])
  bare = (found.action == 'unlabel') & (rows.status[found.place] != LABELED)
  return ~(same | bare)


def _refused(found: Proposed, rows: Rows, classes: Sequence[str], rejected: Rejected) -> np.ndarray:
  """Returns which proposals a person rejected before, bool [n]."""
  names = [*classes, '']  # -1 is the last
  columns = zip(rows.id[found.place].tolist(), found.action.tolist(), found.label.tolist())
  return np.array([rejections.holds(rejected, id, action, names[label]) for id, action, label in columns], bool)


def _groups(found: Proposed, rows: Rows, classes: int) -> np.ndarray:
  """Returns the class that each proposal is about, int [n]: the new label, or else the present one; C = none."""
  group = np.where(found.label >= 0, found.label, rows.label[found.place])
  return np.where(group >= 0, group, classes).astype(np.int64)


def _estimate(judged: _Judged, classes: Sequence[str]) -> dict[str, Any] | None:
  """Returns the estimate of the precision, in all and of each class; None if labels cannot say it."""
  if not judged.frozen:
    return None
  of = {}
  for k, name in enumerate(classes):
    mine = judged.group == k
    of[name] = precision.rated(judged.right[mine], judged.weight[mine])
  return {'frozen': judged.frozen, **precision.rated(judged.right, judged.weight), 'classes': of}


def _stopped(
  rule: Base, estimate: dict[str, Any] | None, limit: np.ndarray, group: np.ndarray, classes: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
  """Returns which groups propose nothing, bool [C + 1], and why, in words."""
  barred, told = ~np.isfinite(limit), []
  if rule.by == 'calibrated' and barred.any():
    names = [*classes, 'no class']
    of = listed(names[k] for k in np.flatnonzero(barred[:-1])) if not barred.all() else 'all classes'
    told.append(f'no threshold reaches the precision {rule.target:g} on frozen labels: {of}')
  if (rule.floor or rule.class_floor) and estimate is None:
    return np.ones_like(barred), [*told, 'no frozen label can say how precise it is']
  if estimate is not None and estimate['low'] < rule.floor:
    told.append(f'{_told(estimate)}, below the floor {rule.floor:g}')
    barred[:] = True
  if estimate is not None and rule.class_floor:
    barred[-1] = True
    for k, name in enumerate(classes):
      found = estimate['classes'][name]
      if found['low'] < rule.class_floor and (group == k).any():
        told.append(f'{name}: {_told(found)}, below the floor {rule.class_floor:g}')
        barred[k] = True
  return barred, told


def _told(estimate: dict[str, Any]) -> str:
  """Returns an estimate in words."""
  if estimate['precision'] is None:
    return 'precision unknown: it proposes no frozen row'
  low, high = estimate['low'], estimate['high']
  counts = f'{estimate["right"]} of {estimate["proposed"]} frozen rows'
  return f'precision {estimate["precision"]:.3f} [{low:.3f}, {high:.3f}], {counts}'


def told(outcome: Outcome) -> list[str]:
  """Returns lines about an outcome: counts by action and class pair, the estimate, and why it stopped."""
  entry = outcome.entry
  lines = [f'{c["action"]} {c["from"]} > {c["to"]}: {c["rows"]:,}' for c in entry['counts']]
  estimate = entry['estimate']
  if estimate is None:
    lines.append('precision: not estimated: no frozen label can say whether the rule is right')
  else:
    lines.append(_told(estimate) + (', too high: in-sample' if entry['in_sample'] else ''))
    lines += [f'  {name}: {_told(of)}' for name, of in estimate['classes'].items() if of['proposed']]
  if entry['rejected']:
    lines.append(f'left out, as a person rejected them before: {entry["rejected"]:,}')
  return [*lines, *(f'stopped: {why}' for why in entry['stopped'])]


def _decisions(rule: Base, taken: Proposed, rows: Rows, classes: Sequence[str]) -> list[Decision]:
  columns = (taken.place.tolist(), taken.action.tolist(), taken.label.tolist(), taken.score.tolist())
  return [
    Decision(str(rows.id[place]), action, classes[label] if label >= 0 else '', None, rule.why, f'{score:.6f}')
    for place, action, label, score in zip(*columns)
    if action != ASK
  ]


def _counts(
  rule: Base, taken: Proposed, decisions: list[Decision], rows: Rows, classes: Sequence[str]
) -> list[dict[str, Any]]:
  """Returns (action, from, to, rows), as the manifest of a version that holds the decisions counts them."""
  ids = [decision.id for decision in decisions]
  author = f'rule:{rule.name}'
  states = [
    act(state_of(rows, place), decision, author, int(rows.given_label[place]), classes)
    for place, decision in zip(rows.places(ids).tolist(), decisions)
  ]
  blank = [''] * len(ids)
  edited = edits_.apply(rows, edits_.made(ids, states, blank, blank, blank, blank), len(classes))
  names = [*classes, edits_.NONE]
  asked = taken.at(taken.action == ASK)
  pairs = Counter(zip(rows.label[asked.place].tolist(), asked.label.tolist()))
  questions = [{'action': 'ask', 'from': names[a], 'to': names[b], 'rows': n} for (a, b), n in pairs.most_common()]
  return edits_.counts(rows, edited, edits_.changed(rows, edited), classes) + questions


def _shown(limit: np.ndarray, rule: Base, classes: Sequence[str]) -> Any:
  """Returns the threshold for the entry: a number, or class → number; None = no score is high enough."""
  plain = lambda value: float(value) if np.isfinite(value) else None
  if rule.per_class and rule.by != 'fixed':
    return {name: plain(value) for name, value in zip(classes, limit)}
  return plain(limit[0])
