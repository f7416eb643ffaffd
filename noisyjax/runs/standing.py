"""The state of a run in its folder, beside the files that the run itself writes.

W/order.json    the run waits or runs: its config, and how to run it; removed when the run has finished or failed
W/failed.json   the run failed: why; removed when it starts again
"""

from pathlib import Path
from typing import NamedTuple

from noisyjax.system import formats, storage
from noisyjax.system.errors import Diverged, UserError

ORDER, FAILED = 'order.json', 'failed.json'


def waits(folder: Path) -> bool:
  """Returns whether the run in a folder is ordered, and neither finished nor failed."""
  return (folder / ORDER).exists()


def settle(folder: Path) -> None:
  """Removes the order of a run that has finished or failed."""
  storage.remove(folder / ORDER)


class Failure(NamedTuple):
  """Why a run failed.

  Attributes:
    diverged: whether a loss or a parameter became NaN or infinite.
    message: what it said, or the last lines of its log.
  """

  diverged: bool
  message: str

  def error(self) -> UserError:
    return (Diverged if self.diverged else UserError)(self.message)


def fail(folder: Path, error: UserError) -> None:
  """Records that the run in a folder failed."""
  storage.make_folder(folder)
  formats.write_json(formats.RUN, folder / FAILED, Failure(isinstance(error, Diverged), str(error))._asdict())


def failure(folder: Path) -> Failure | None:
  """Returns why the run in a folder failed; None if it did not. A damaged file is a failure that names the file."""
  path = folder / FAILED
  if not path.exists():
    return None
  try:
    found = formats.read_json(formats.RUN, path)
    return Failure(bool(found['diverged']), str(found['message']))
  except UserError as error:
    return Failure(False, str(error)) if path.exists() else None  # None: it starts again meanwhile


def forget_failure(folder: Path) -> None:
  """Removes the record of a failure, before the run is tried again."""
  storage.remove(folder / FAILED)
