"""The contract of a rule, and how a rule is named with its parameters.

A rule is a file in this folder, or a file of the user, that defines a frozen dataclass `Rule`, a subclass of `Base`.
Its fields are its parameters. `propose` says which rows it would change, how, and how sure it is. All the rest is the
same for all rules and done by `apply.py`: threshold, caps, class balance, and the estimate of the precision.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.system import plugins
from noisyjax.system.errors import UserError, check_choice
from noisyjax.tables.rows import LABELED, TRAIN, UNLABELED, Rows

PACKAGE = 'noisyjax.rules'
ASK = ''  # the action of a proposal that only a person decides
THRESHOLDS = ('fixed', 'quantile', 'calibrated')
BALANCES = ('none', 'number', 'share')


class Proposed(NamedTuple):
  """Rows that a rule would change, each at most once.

  Attributes:
    place: int64 [n], positions in `Rows`.
    action: str [n], of `decisions.ACTIONS`; ASK = a person decides.
    label: int32 [n], the new class; -1 for actions without one.
    score: float64 [n], how sure the rule is; the surest is the highest.
  """

  place: np.ndarray
  action: np.ndarray
  label: np.ndarray
  score: np.ndarray

  def __len__(self) -> int:
    return len(self.place)

  def at(self, chosen: np.ndarray) -> 'Proposed':
    """Returns a part of the proposals, by a mask [n] or by positions."""
    return Proposed(*(column[chosen] for column in self))


def proposed(chosen: np.ndarray, action: str | np.ndarray, label: np.ndarray | int, score: np.ndarray) -> Proposed:
  """Returns proposals from columns over all rows.

  Args:
    chosen: bool [N], the rows to change.
    action: one for all, or [N].
    label: -1 for all, or int [N].
    score: float [N].
  """
  place = np.flatnonzero(chosen)
  full = lambda value, kind: np.broadcast_to(np.asarray(value, kind), chosen.shape)[place]
  return Proposed(place, full(action, object), full(label, np.int32), full(score, np.float64))


@dataclasses.dataclass(frozen=True)
class Base:
  """A rule. Subclasses add fields, override `propose`, and say how they are judged.

  Attributes:
    threshold: lowest score of a proposal; with `by='quantile'`, the share of the candidates that is left out.
    by: where the threshold comes from. fixed: `threshold`. quantile: the quantile `threshold` of the scores of all
      candidates. calibrated: the lowest score at which the lower bound of the estimated precision reaches `target`;
      the probabilities are first scaled by a temperature that is fitted to the frozen labels.
    target: for `by='calibrated'`.
    per_class: whether each class has a quantile or calibrated threshold of its own.
    cap: most proposals of a class; 0 = no limit. The surest are taken.
    total: most proposals; 0 = no limit.
    balance: number: the same number of proposals for each class; share: the same share of each class's candidates.
    floor: lowest lower bound of the estimated precision; below it, the rule proposes nothing.
    class_floor: the same for each class; below it, the rule proposes nothing of the class.
    in_sample: whether the rule may read evidence of networks that trained on the rows they judge.
  """

  threshold: float = 0.0
  by: str = 'fixed'
  target: float = 0.95
  per_class: bool = False
  cap: int = 0
  total: int = 0
  balance: str = 'none'
  floor: float = 0.0
  class_floor: float = 0.0
  in_sample: bool = False

  why: ClassVar[str] = ''  # the reason of its decisions, in words; their evidence is the score
  choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # field of the subclass → what it may be

  @property
  def name(self) -> str:
    """The name of the rule's file."""
    return type(self).__module__.rpartition('.')[2]

  @property
  def reads(self) -> tuple[str, ...]:
    """The columns of `Evidence.columns` that the rule needs."""
    return ()

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    """Returns all candidates, of any score. Must be pure: it may depend on nothing but the arguments and the fields."""
    raise NotImplementedError(f'{type(self)}: expected an override of `propose`.')

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows | None:
    """Returns the rows as they would be if the labels at the places `frozen` were in the state that the rule looks for.

    The precision is estimated on this copy. None: labels cannot say whether the rule is right.
    """
    return None


def by_rule(rows: Rows) -> np.ndarray:
  """Returns the rows that a rule changed last, bool [N]."""
  return np.array([by.startswith('rule:') for by in rows.by.tolist()], bool)


def as_unlabeled(rows: Rows, frozen: np.ndarray) -> Rows:
  """Returns a copy of the rows in which those at the places `frozen` have no label, and were given none."""
  given = rows.given_label.copy()
  given[frozen] = -1
  return dataclasses.replace(_with(rows, frozen, UNLABELED, np.full(len(frozen), -1, np.int32)), given_label=given)


def as_promoted(rows: Rows, frozen: np.ndarray) -> Rows:
  """Returns a copy of the rows in which those at the places `frozen` have their given label, as if a rule gave it."""
  given = np.where(rows.given_label >= 0, rows.given_label, rows.label)[frozen]
  return _with(rows, frozen, np.where(given >= 0, LABELED, UNLABELED), given)


def _with(rows: Rows, places: np.ndarray, status: np.ndarray | int, label: np.ndarray) -> Rows:
  out = {name: getattr(rows, name).copy() for name in ('split', 'status', 'label', 'verified', 'weight', 'by')}
  for name, values in zip(out, (TRAIN, status, label, -1, 1.0, 'rule:frozen')):
    out[name][places] = values
  return dataclasses.replace(rows, **out)


def build(name: str, params: Mapping[str, Any]) -> Base:
  """Returns the rule of a name, or of the path of a file, with parameters.

  Args:
    name: module name, or a path that ends in ".py".
    params: field → value, as text or as the value itself.

  Raises:
    UserError: there is no such rule, it has no method `propose` or no such parameter, or a value is invalid.
  """
  cls = plugins.find(PACKAGE, name, 'Rule', 'rule')
  if not (isinstance(cls, type) and issubclass(cls, Base) and dataclasses.is_dataclass(cls)):
    raise UserError(f'rule: the Rule of {name} is no frozen dataclass that derives from noisyjax.rules.rule.Base.')
  if cls.propose is Base.propose:
    raise UserError(f'rule: the Rule of {name} has no method `propose`; expected one that returns its proposals.')
  defaults = {field.name: field.default for field in dataclasses.fields(cls)}
  values = {}
  for field, value in params.items():
    check_choice(f'rule {name}, parameter', field, defaults)
    values[field] = _value(f'rule {name}: {field}', value, defaults[field])
  rule = cls(**values)
  for field, choices in {'by': THRESHOLDS, 'balance': BALANCES, **rule.choices}.items():
    check_choice(f'rule {name}: {field}', getattr(rule, field), choices)
  for field in ('target', 'floor', 'class_floor', *(['threshold'] if rule.by == 'quantile' else [])):
    if not 0 <= getattr(rule, field) <= 1:
      raise UserError(f'rule {name}: {field}: found {getattr(rule, field):g}; expected 0 to 1.')
  for field in ('cap', 'total'):
    if getattr(rule, field) < 0:
      raise UserError(f'rule {name}: {field}: found {getattr(rule, field)}; expected 0 (no limit) or more.')
  return rule


def parsed(text: str) -> Base:
  """Returns the rule of "NAME" or "NAME:param=value,param=value"; raises like `build`."""
  name, _, rest = text.partition(':')
  params = {}
  for part in filter(None, rest.split(',')):
    field, equals, value = part.partition('=')
    if not equals:
      raise UserError(f'--rule: found {part!r} in {text!r}; expected NAME:param=value,param=value.')
    params[field.strip()] = value.strip()
  return build(name, params)


def _value(where: str, value: Any, default: Any) -> Any:
  kind = type(default)
  expected = {bool: 'true or false', int: 'a whole number', float: 'a number'}.get(kind, 'text')
  try:
    if kind is bool and isinstance(value, str):
      value = {'true': True, 'false': False}[value.lower()]
    elif isinstance(value, str) or (kind is float and type(value) is int):
      value = kind(value)
  except (KeyError, ValueError):
    pass
  if type(value) is not kind or (kind is float and not math.isfinite(value)):
    raise UserError(f'{where}: found {value!r}; expected {expected}.')
  return value
