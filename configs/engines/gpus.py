"""A process for each GPU, or each chip of a TPU machine, of this machine: each process sees its device alone.

  python launch.py sweep --config=digits --sweep=digits --engine=gpus --workdir=runs/grid
  python launch.py sweep --config=digits --sweep=digits --engine=gpus:devices=4,kind=tpu --workdir=runs/grid

devices: number of devices, from the first; 0: all that CUDA_VISIBLE_DEVICES names or that the machine has.
kind: cuda or tpu.
each: processes on each device, which share its memory.
group: see processes.py.
"""

from noisyjax.runs.engines.devices import slots
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.runs.engines.processes import Processes


def get_engine(devices=0, kind='cuda', each=1, group=0):
  return FanOut(Processes(slots(kind, devices, each)), group)
