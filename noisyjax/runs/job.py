"""A run to execute."""

import dataclasses
from pathlib import Path

from noisyjax.config.plan import Plan
from noisyjax.engine.together import Steps
from noisyjax.runs import run


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

  def execute(self, load: run.Load) -> dict:
    """Executes the run in this process; see `run.run`, also for what it raises."""
    return run.run(self.plan, self.workdir, rerun=self.rerun, load=load, page=self.page)

  def steps(self, load: run.Load, replicas: int) -> Steps[dict]:
    """Executes the run as one of several that train side by side; see `run.steps`."""
    return run.steps(self.plan, self.workdir, rerun=self.rerun, load=load, page=self.page, replicas=replicas)

  def finished(self, load: run.Load) -> dict | None:
    """Returns the result of the finished run, or None; see `run.finished`."""
    return run.finished(self.plan, self.workdir, load)
