"""Which runs share their compiled steps: those whose plans differ only in numbers that are traced."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from noisyjax.config.build import find_strategy
from noisyjax.config.flat import flat
from noisyjax.config.plan import Plan, PlannedPhase
from noisyjax.config.resolved import resolved
from noisyjax.engine.traced import traced_fields

# Fields whose values no step depends on when it is compiled: they are traced, or change labels, logs and files alone.
# tests/test_compiled_alike.py compares the phases that they make.
FREE = re.compile(
  r"""seed | epochs | phases | ema_ramp | told | select | tensorboard | checkpoint\..* | noise\..* | stop\..*
  | data\.(seed | trusted | hold | cache | val_labels | test_labels)
  | optim\.(lr | decay | momentum | b1 | b2 | eps)
  | schedule\.(warmup | final | factor | restart | peak | patience)
  | augment\.(rotation | brightness | contrast | saturation | hue | scale | ratio | magnitude
    | probability | quality | cutout)""",
  re.VERBOSE,
)
# Numbers that are traced once they are on: off and on are two programs.
SWITCHES = {'mixup': 0, 'ema': 0, 'optim.clip': 0, 'optim.layer_decay': 1}


def key(plan: Plan, free: Collection[str] = ()) -> str:
  """Returns a text that is equal for plans that differ in traced numbers alone.

  Two runs of one key may still be compiled apart, where they train on different numbers of rows.

  Args:
    plan: the plan.
    free: further fields that may differ.
  """
  names = {phase.strategy for phase in plan.phases}
  unused = tuple(f'strategy.{name}.' for name in plan.config.strategy if name not in names)
  whole = {'plugins': resolved(plan).get('plugins', {})}
  phases = [{f: v for f, v in _static(phase, unused) if f not in free} for phase in plan.phases]
  return json.dumps([whole, phases], sort_keys=True, default=str)


def _static(phase: PlannedPhase, unused: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
  """Yields the fields of a phase that its compiled step depends on."""
  traced = {f'strategy.{phase.strategy}.{name}' for name in traced_fields(find_strategy(phase.strategy))}
  yield 'strategy.name', phase.strategy
  for field, value in flat(phase.config).items():
    if FREE.fullmatch(field) or field in traced or field == 'strategy.name' or field.startswith(unused):
      continue
    if field == 'schedule.milestones':
      yield field, len(value)
    else:
      yield field, value != SWITCHES[field] if field in SWITCHES else value
