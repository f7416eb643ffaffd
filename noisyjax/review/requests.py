"""Decisions that the page asks to record: read from its requests, or refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from noisyjax.review.proposals import ACTION, Proposals
from noisyjax.rules.rule import ASK
from noisyjax.system.errors import UserError
from noisyjax.tables.decisions import Decision

ACTIONS = ('label', 'unlabel', 'hold', 'drop', 'restore', 'keep')  # that the page offers


def decisions(content: Mapping[str, Any], classes: Sequence[str]) -> list[tuple[int, Decision]]:
  """Returns place and decision of a request's "action", "rows" and, for the action "label", "labels" (class numbers).

  Raises:
    UserError: the request is malformed.
  """
  action, reason, rows = content.get('action'), content.get('reason', ''), places(content)
  if action not in ACTIONS or not isinstance(reason, str):
    raise UserError(f'the request has no action; expected one of {", ".join(ACTIONS)}.')
  labels = content.get('labels') if action == 'label' else [0] * len(rows)
  if not isinstance(labels, list) or len(labels) != len(rows):
    raise UserError('the request has not one label for each row.')
  out = []
  for place, label in zip(rows, map(whole, labels)):
    if not 0 <= label < len(classes):
      raise UserError(f'label: found {label}; expected a class, 0 to {len(classes) - 1}.')
    out.append((place, Decision('', action, classes[label] if action == 'label' else '', reason=reason[:1000])))
  return out


def adopted(content: Mapping[str, Any], found: Proposals, classes: Sequence[str]) -> list[tuple[int, Decision]]:
  """Returns place and decision of the "rows" of a request, as a rule proposes them.

  Raises:
    UserError: the rule proposes nothing for a row, or only asks.
  """
  out = []
  for place in places(content):
    at = found.at.get(place)
    if at is None or ACTION[found.action[at]] == ASK:
      raise UserError(f'row {place}: {found.rule} proposes nothing that could be taken over.')
    label = classes[found.label[at]] if found.label[at] >= 0 else ''
    out.append((place, Decision('', ACTION[found.action[at]], label, evidence=f'{found.score[at]:.6f}')))
  return out


def places(content: Mapping[str, Any]) -> list[int]:
  """Returns the "rows" of a request."""
  rows = content.get('rows')
  if not isinstance(rows, list) or not rows:
    raise UserError('the request has no rows.')
  return [whole(place) for place in rows]


def rule(content: Mapping[str, Any], found: Sequence[Proposals]) -> Proposals | None:
  """Returns the rule that the "rule" of a request numbers; None: the request names none."""
  if 'rule' not in content:
    return None
  number = whole(content['rule'])
  if not 0 <= number < len(found):
    raise UserError(f'rule: found {number}; expected 0 to {len(found) - 1}.')
  return found[number]


def whole(value: Any) -> int:
  """Returns a whole number; raises UserError if it is something else."""
  if type(value) is not int:
    raise UserError('the request holds something else where a whole number is expected.')
  return value
