"""The decisions that a person or a rule may make about a row, and the state that results."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from noisyjax.system.errors import UserError, check_choice
from noisyjax.tables.rows import DROPPED, HELD, LABELED, TEST, TRAIN, UNLABELED, VAL, Rows

_AUTHOR = re.compile(r'(person|rule):\S.*')


class State(NamedTuple):
  """The part of a row that edits change; see `Rows` for the meaning of each field.

  Attributes:
    split: an index into SPLITS.
    status: an index into STATUSES.
    label: a class, or -1.
    verified: a class, or -1.
    weight: a number of 0 or more.
  """

  split: int
  status: int
  label: int
  verified: int
  weight: float


class Decision(NamedTuple):
  """One decision about one row.

  Attributes:
    id: id of the row.
    action: one of ACTIONS.
    label: name of a class, for actions that take one.
    weight: positive, for the actions `weight` and `label`; None keeps the weight.
    reason: why, as text.
    evidence: what the decision is based on, such as a score.
  """

  id: str
  action: str
  label: str = ''
  weight: float | None = None
  reason: str = ''
  evidence: str = ''


def check_text(where: str, text: str) -> None:
  """Raises UserError for text that no file can hold: a half of a character of UTF-16, such as half an emoji."""
  try:
    text.encode()
  except UnicodeEncodeError:
    raise UserError(f'{where}: found {text[:100]!r}, which is not valid Unicode; expected text.') from None


def check_author(author: str) -> str:
  """Returns an author if its form is valid.

  Raises:
    UserError: the text is not "person:NAME" or "rule:NAME".
  """
  check_text('author', author)
  if not _AUTHOR.fullmatch(author):
    raise UserError(f'author: found {author!r}; expected "person:NAME" or "rule:NAME".')
  return author


def is_person(author: str) -> bool:
  """Returns whether an author is a person and not a rule."""
  return author.startswith('person:')


def state_of(rows: Rows, place: int) -> State:
  """Returns the state of the row at an index."""
  return State(
    int(rows.split[place]),
    int(rows.status[place]),
    int(rows.label[place]),
    int(rows.verified[place]),
    float(rows.weight[place]),
  )


def act(state: State, decision: Decision, author: str, given: int, classes: Sequence[str]) -> State:
  """Returns the state of a row after a decision. Split, status, label, verified label and weight change together.

  Args:
    state: state of the row before the decision.
    decision: the decision about this row.
    author: "person:NAME" or "rule:NAME".
    given: the given label of the row, -1 = unlabeled.
    classes: names of the classes.

  Raises:
    UserError: the action is unknown, its label or weight is missing, or the author may not edit this row.
  """
  check_choice('action', decision.action, ACTIONS)
  if state.split == TEST:
    raise UserError('is a test row; expected a row that trains or validates: test rows are never edited')
  if not is_person(author) and state.split == VAL:
    raise UserError('is a validation row; expected a training row: rules never edit validation rows')
  if not is_person(author) and state.verified >= 0:
    raise UserError('has a verified label; expected one that nobody checked: rules never edit what a person checked')
  return ACTIONS[decision.action](state, decision, author, given, classes)


def _class(decision: Decision, classes: Sequence[str]) -> int:
  if not decision.label:
    raise UserError(f'{decision.action}: needs a label; expected one of {", ".join(classes[:10])}')
  check_choice('label', decision.label, classes)
  return list(classes).index(decision.label)


def _weight(state: State, decision: Decision) -> float:
  weight = decision.weight if decision.weight is not None else state.weight or 1.0
  if not 0 < weight < 1e6:
    raise UserError(f'weight: found {weight:g}; expected a number above 0 (drop a row that is to count nothing)')
  return float(weight)


def _label(state: State, decision: Decision, author: str, given: int, classes: Sequence[str]) -> State:
  label = _class(decision, classes)
  return State(state.split, LABELED, label, label if is_person(author) else -1, _weight(state, decision))


def _unlabel(state: State, *_: object) -> State:
  return State(state.split, UNLABELED, -1, -1, state.weight or 1.0)


def _hold(state: State, *_: object) -> State:
  return State(state.split, HELD, -1, -1, 0.0)


def _drop(state: State, *_: object) -> State:
  return State(state.split, DROPPED, -1, -1, 0.0)


def _restore(state: State, decision: Decision, author: str, given: int, classes: Sequence[str]) -> State:
  return State(state.split, LABELED if given >= 0 else UNLABELED, given, -1, 1.0)


def _keep(state: State, *_: object) -> State:
  return state


def _reweight(state: State, decision: Decision, *_: object) -> State:
  if state.status in (DROPPED, HELD):
    raise UserError('weight: the row is dropped or held; expected one that is used (restore it first)')
  if decision.weight is None:
    raise UserError('weight: needs a weight; expected a number above 0')
  return state._replace(weight=_weight(state, decision))


def _curate(state: State, decision: Decision, author: str, given: int, classes: Sequence[str]) -> State:
  if not is_person(author):
    raise UserError('curate: found a rule; expected a person: validation rows are labeled by people')
  if state.split != TRAIN:
    raise UserError('curate: the row validates already; expected a training row')
  label = _class(decision, classes)
  return State(VAL, LABELED, label, label, 1.0)


ACTIONS: dict[str, Callable[..., State]] = {
  'label': _label,  # it is this class: promotes, relabels or, by a person, verifies
  'unlabel': _unlabel,  # back to the unlabeled rows
  'hold': _hold,  # set aside until someone decides
  'drop': _drop,  # out of the data
  'restore': _restore,  # as the source gave it
  'keep': _keep,  # as it is now: a person rejects what a rule proposes
  'weight': _reweight,
  'curate': _curate,  # labeled by a person, to validate
}
