"""A run to execute."""

import dataclasses
from pathlib import Path

from noisyjax.config.plan import Plan


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """A run to execute.

  Attributes:
    plan: the resolved config.
    workdir: folder of the run.
    rerun: see `run.run`.
    page: see `run.run`.
  """

  plan: Plan
  workdir: Path
  rerun: bool = False
  page: bool = True
