"""Places for processes on the accelerators of this machine: each process sees one device."""

import os
from collections.abc import Callable
from pathlib import Path

from noisyjax.runs.engines.processes import Slot
from noisyjax.system.errors import UserError, check_choice


def slots(kind: str, count: int, each: int = 1, dev: Path = Path('/dev')) -> list[Slot]:
  """Returns a place for each device.

  Args:
    kind: "cuda" or "tpu".
    count: number of devices, from the first; 0 = all.
    each: processes on a device.
    dev: folder of the device files.

  Raises:
    UserError: the kind is unknown, or the machine has too few devices.
  """
  check_choice('--engine: kind', kind, KINDS)
  visible, names, environment = KINDS[kind]
  given = os.environ.get(visible)  # what a scheduler gave to this process
  if given is None:
    found = [str(i) for i in range(sum(len(list(dev.glob(name))) for name in names))]
  else:
    found = [name for name in given.split(',') if name]
  if not found or count > len(found):
    where = dev if given is None else visible
    raise UserError(f'--engine: expected {count or "some"} devices of kind {kind}; found {len(found)} in {where}.')
  places = [environment(name) for name in found[: count or None]]
  share = {'XLA_PYTHON_CLIENT_MEM_FRACTION': f'{0.75 / each:.2f}'} if each > 1 else {}
  return [Slot(place | share) for _ in range(each) for place in places]


def _cuda(device: str) -> dict[str, str]:
  return {'CUDA_VISIBLE_DEVICES': device}


def _tpu(chip: str) -> dict[str, str]:
  """Returns what lets a process use one chip of several: each process is a slice of its own."""
  return {'TPU_VISIBLE_CHIPS': chip, 'TPU_CHIPS_PER_PROCESS_BOUNDS': '1,1,1', 'TPU_PROCESS_BOUNDS': '1,1,1'}


# Kind → the variable that names devices, patterns of the device files, and the environment of a process on one device.
KINDS: dict[str, tuple[str, tuple[str, ...], Callable[[str], dict[str, str]]]] = {
  'cuda': ('CUDA_VISIBLE_DEVICES', ('nvidia[0-9]*',), _cuda),
  'tpu': ('TPU_VISIBLE_CHIPS', ('accel[0-9]*', 'vfio/[0-9]*'), _tpu),
}
