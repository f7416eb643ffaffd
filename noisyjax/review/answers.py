"""What people said of proposals, of the same row twice, and of rows that others decided, too: read from the journal.

An entry of a person may hold `proposal` (the rule, and what it proposed for each row), `blind` (the person saw the
image alone) and `repeat` (the page asked about a row once more). An entry of a rule that a person took over as a whole
holds `accepted_by`.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from noisyjax.rules.precision import wilson
from noisyjax.tables import journal, pending, rejections, store
from noisyjax.tables.decisions import is_person

LISTED = 200  # rows on which two authors differ that the page lists


class Answer(NamedTuple):
  """One decision.

  Attributes:
    author: who decided.
    id: of the row.
    said: what, such as "label cat".
    rule: the rule whose proposal it answers; '' = none.
    proposed: what that rule proposed.
    blind: whether the person saw the image alone.
    repeat: whether the page asked once more.
    accepted_by: the person who took over the rule's decision unseen; ''.
  """

  author: str
  id: str
  said: str
  rule: str
  proposed: str
  blind: bool
  repeat: bool
  accepted_by: str


class Answers:
  """The decisions of a branch that were not taken back, over all of its versions."""

  def __init__(self, table: store.Table) -> None:
    self._path, self._branch = table.folder / 'journal.jsonl', table.branch
    self._end, self._last = 0, journal.FIRST
    self._entries: list[dict[str, Any]] = []
    self._lock = threading.Lock()

  def read(self) -> list[Answer]:
    """Returns all decisions in order, with those that were appended since the last call."""
    with self._lock:
      for entry, end in journal.read(self._path, self._end, self._last):
        self._end, self._last = end, entry['hash']
        if entry['branch'] == self._branch:
          self._entries.append(entry)
      entries = list(self._entries)
    undone = pending.taken_back(entries)
    active = (entry for entry in entries if entry['kind'] == 'decide' and entry['hash'] not in undone)
    return [answer for entry in active for answer in _answers(entry)]


def _answers(entry: dict[str, Any]) -> Iterator[Answer]:
  """Yields the decisions of a journal entry, each with what a rule had proposed."""
  about = entry.get('proposal') or {}
  proposed = about.get('said') or [''] * len(entry['decisions'])
  for decision, said in zip(entry['decisions'], proposed):
    what = rejections.said(decision['action'], decision.get('label', ''))
    blind, repeat = bool(entry.get('blind')), bool(entry.get('repeat'))
    rule = about.get('rule', '') if said else ''
    yield Answer(entry['author'], decision['id'], what, rule, said, blind, repeat, entry.get('accepted_by', ''))


def of_rules(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
  """Returns what people made of the proposals of each rule.

  Returns:
    rule → accepted, rejected and other (how often a person who saw the row decided so), the share that was right with
    its Wilson interval, adopted (taken over unseen), and ids, the rows that were answered.
  """
  out: dict[str, dict[str, Any]] = {}
  last = {(a.rule, a.author, a.id): a for a in answers if a.rule and is_person(a.author)}
  verdicts: dict[str, Counter[str]] = {}
  for rule, _, id in last:
    verdict = _verdict(last[rule, _, id])
    verdicts.setdefault(rule, Counter())[verdict] += 1
    out.setdefault(rule, {'adopted': 0, 'ids': {}})['ids'][id] = verdict
  for answer in answers:
    if answer.accepted_by:
      found = out.setdefault(answer.author, {'adopted': 0, 'ids': {}})
      found['adopted'] += 1
      found['ids'].setdefault(answer.id, 'adopted')
  for rule, found in out.items():
    count = verdicts.get(rule, Counter())
    found.update({name: count[name] for name in ('accepted', 'rejected', 'other')})
    found['right'] = _share(count['accepted'], sum(count.values()))
  return out


def _verdict(answer: Answer) -> str:
  if answer.said == answer.proposed:
    return 'accepted'
  return 'rejected' if answer.said == 'keep' else 'other'


def of_oneself(answers: Sequence[Answer]) -> dict[str, dict[str, Any]]:
  """Returns how often each person gave the same answer when the page asked once more: author → share."""
  before: dict[tuple[str, str], str] = {}
  same: dict[str, list[bool]] = {}
  for answer in answers:
    if is_person(answer.author):
      key = answer.author, answer.id
      if answer.repeat and key in before:
        same.setdefault(answer.author, []).append(before[key] == answer.said)
      before[key] = answer.said
  return {author: _share(sum(found), len(found)) for author, found in same.items()}


def of_pairs(answers: Sequence[Answer]) -> list[dict[str, Any]]:
  """Returns for each two persons how often their last decisions on a row agree, and the first rows where they do not.

  Returns:
    Dictionaries with authors, all (share over the rows that both decided), blind (over those that both decided blind)
    and differ (id, and what each said).
  """
  by_author: dict[str, dict[str, Answer]] = {}
  for answer in answers:
    if is_person(answer.author):
      by_author.setdefault(answer.author, {})[answer.id] = answer
  out = []
  for one, two in itertools.combinations(sorted(by_author), 2):
    both = [(by_author[one][id], by_author[two][id]) for id in by_author[one] if id in by_author[two]]
    blind = [(a, b) for a, b in both if a.blind and b.blind]
    differ = [{'id': a.id, 'said': [a.said, b.said]} for a, b in both if a.said != b.said]
    if both:
      out.append({'authors': [one, two], 'all': _same(both), 'blind': _same(blind), 'differ': differ[:LISTED]})
  return out


def _same(pairs: Sequence[tuple[Answer, Answer]]) -> dict[str, Any]:
  return _share(sum(a.said == b.said for a, b in pairs), len(pairs))


def _share(right: int, count: int) -> dict[str, Any]:
  low, high = wilson(right, count)
  return {'right': right, 'count': count, 'low': float(low), 'high': float(high)}
