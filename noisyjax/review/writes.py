"""What the server does at requests that change something: decisions, undo, commits, settings and trainings."""

from collections.abc import Callable, Mapping
from typing import Any

from noisyjax.review import evidence, requests, settings
from noisyjax.review.columns import Content
from noisyjax.review.ledger import Ledger
from noisyjax.review.training import Trainings
from noisyjax.system.errors import UserError
from noisyjax.tables import refs

Write = Callable[[Mapping[str, Any]], dict[str, Any]]  # the content of a request → what the answer says


class Writes:
  """The functions that answer these requests; the arguments are those of `app.made`."""

  def __init__(self, ledger: Ledger, shown: Content, trainings: Trainings) -> None:
    self._ledger, self._shown, self._trainings = ledger, shown, trainings
    self._index_of = {place: i for i, place in enumerate(shown.places.tolist())}

  def named(self) -> dict[str, Write]:
    """Returns the functions by the last part of their path."""
    ledger = self._ledger
    return {
      'decide': self._decide,
      'adopt': self._adopt,
      'undo': lambda content: {'places': ledger.undo()},
      'redo': lambda content: {'places': ledger.redo()},
      'settings': lambda content: {'settings': settings.write(ledger.table.facts['first'], content)},
      'revert': lambda content: {'made': ledger.revert(str(content.get('to', '')))},
      'train': self._train,
      'commit': lambda content: {'made': ledger.commit(str(content.get('message', '')))},
    }

  def done(self, write: Write, content: Mapping[str, Any]) -> dict[str, Any]:
    """Calls a function; returns what it says and what changed in the table since the page last asked."""
    seq = requests.whole(content.get('seq', -1))
    return {**write(content), **self._ledger.since(str(content.get('version', '')), seq)}

  def _decide(self, content: Mapping[str, Any]) -> dict[str, Any]:
    classes, rule = self._ledger.table.classes, requests.rule(content, self._shown.proposals)
    said = requests.decisions(content, classes)
    for i, (place, decision) in enumerate(said):
      if place in self._index_of:
        seen = evidence.told(self._shown.sources, self._index_of[place], classes)
        said[i] = place, decision._replace(evidence=seen)
    facts: dict[str, Any] = {name: True for name in ('blind', 'repeat') if content.get(name) is True}
    if rule:
      proposed = [rule.said(place, classes) for place, _ in said]
      facts['proposal'] = {'rule': rule.rule, 'said': proposed}
    self._ledger.decide(said, str(content.get('version', '')), **facts)
    return {}

  def _adopt(self, content: Mapping[str, Any]) -> dict[str, Any]:
    rule = requests.rule(content, self._shown.proposals)
    if rule is None:
      raise UserError('the request names no rule.')
    said = requests.adopted(content, rule, self._ledger.table.classes)
    facts = {k: v for k, v in rule.entry.items() if k != 'counts'}
    self._ledger.decide(said, str(content.get('version', '')), rule.rule, **facts)
    return {}

  def _train(self, content: Mapping[str, Any]) -> dict[str, Any]:
    if self._ledger.read_only:
      raise UserError('this page only reads: it was opened with --read_only.')
    self._trainings.start(refs.resolve(self._ledger.table.folder, str(content.get('on', ''))))
    return {}
