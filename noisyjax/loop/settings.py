"""The settings of a loop: the block `loop` of its config, beside the fields of an ordinary run."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config import defaults
from noisyjax.config.check import plan_of
from noisyjax.rules import rule
from noisyjax.system.errors import UserError, check_choice

DECIDE = ('automatic', 'person', 'simulated')
Named = tuple[str, dict[str, Any]]  # a name, and fields or parameters


@dataclasses.dataclass(frozen=True)
class Settings:
  """What a loop does beside training; the block `loop` of a config has these fields.

  Attributes:
    rounds: most rounds after the first one, which trains on version 0.
    folds: number of folds, which are the same in all rounds. Each network trains without one fold and judges its rows.
      0: one network trains on all rows, and judges rows that it trained on (in-sample).
    seeds: networks of each fold.
    rules: the rules of each round after the first, ((name, {parameter: value}), …); the last entry stands for all later
      rounds. If two rules propose for one row, the earlier one counts.
    decide: who decides. automatic: the rules. person: the loop writes the proposals and waits. simulated: the rules,
      and where they ask a person, one who answers from the true labels.
    forward: whether a round starts from the last version even if it did not help; otherwise from the best one.
    patience: the loop ends after so many rounds in a row that did not help; 0: it goes on.
    passes: the loop begins no round after so many passes of training; 0: no limit.
    answers: number of rows that the simulated person answers in all.
    error: share of the simulated person's answers that are wrong.
    final: number of seeds of the final runs, which are scored on the test rows.
    controls: runs on version 0 with all passes of the loop, ((name, {field: value}), …).
    axes: runs on the chosen version with other settings, ((name, {field: value}), …). Labels are the same.
    scored: versions with final runs: ends (version 0 and the chosen one) or all.
  """

  rounds: int = 4
  folds: int = 5
  seeds: int = 1
  rules: tuple[tuple[Named, ...], ...] = ((('promote', {}),),)
  decide: str = 'automatic'
  forward: bool = False
  patience: int = 2
  passes: int = 0
  answers: int = 0
  error: float = 0.0
  final: int = 3
  controls: tuple[Named, ...] = (('longer', {}),)
  axes: tuple[Named, ...] = ()
  scored: str = 'all'

  def rules_of(self, number: int) -> list[rule.Base]:
    """Returns the rules of a round, from 1."""
    entries = self.rules[min(number, len(self.rules)) - 1] if self.rules else ()
    return [rule.build(name, params) for name, params in entries]


def get_config() -> ConfigDict:
  """Returns the default config of a loop: that of a run, and the block `loop`."""
  c = defaults.get_config()
  with c.unlocked():
    c.loop = ConfigDict({field.name: field.default for field in dataclasses.fields(Settings)})
  return c


def parted(config: ConfigDict) -> tuple[ConfigDict, Settings]:
  """Separates the config of a loop into that of its runs and its settings, and checks both.

  Raises:
    UserError: a value is invalid, or the config has no block `loop`.
  """
  if 'loop' not in config:
    raise UserError('--config: is no config of a loop; expected one such as configs/loop/digits.py, with a block loop.')
  recipe = config.copy_and_resolve_references()
  block = recipe.loop.to_dict()
  with recipe.unlocked():
    del recipe.loop
  known = {field.name for field in dataclasses.fields(Settings)}
  for name in block:
    check_choice('loop, field', name, known)
  settings = Settings(**block)
  _check(settings, recipe)
  for phase in plan_of(recipe).phases:
    if phase.config.stop.patience:
      found = phase.config.stop.patience
      raise UserError(f'stop.patience: found {found}; a loop expects 0: its versions are compared at equal steps.')
  return recipe, settings


def _check(settings: Settings, recipe: ConfigDict) -> None:
  check_choice('loop.decide', settings.decide, DECIDE)
  check_choice('loop.scored', settings.scored, ('all', 'ends'))
  for name, low in (('rounds', 0), ('folds', 0), ('seeds', 1), ('final', 0), ('patience', 0), ('passes', 0)):
    if getattr(settings, name) < low:
      raise UserError(f'loop.{name}: found {getattr(settings, name)}; expected {low} or more.')
  if settings.folds == 1:
    raise UserError('loop.folds: found 1; expected 2 or more, or 0 for networks that judge the rows they trained on.')
  if not 0 <= settings.error <= 1:
    raise UserError(f'loop.error: found {settings.error:g}; expected a share from 0 to 1.')
  if recipe.steps_per_epoch <= 0:
    raise UserError(
      f'steps_per_epoch: found {recipe.steps_per_epoch}; a loop expects 1 or more: its versions are compared at equal '
      'steps.'
    )
  for field in ('table', 'hold'):
    if recipe.data[field]:
      raise UserError(f"data.{field}: found {recipe.data[field]!r}; a loop sets it itself: expected ''.")
  for i in range(1, max(1, len(settings.rules)) + 1):
    settings.rules_of(i)
