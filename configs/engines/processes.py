"""Processes on this machine, several at once: for small networks, whose steps leave cores idle.

  python launch.py sweep --config=digits --sweep=digits --engine=processes:at_once=4,cores=2 --workdir=runs/grid

at_once: processes at once; 0: one for each core, or for each `cores` cores.
cores: cores to which a process is pinned; 0: all processes share all cores. Numbers are equal to the last bit only with
  the same number of cores.
group: maximum number of runs that a process executes, one after another, with one compilation; 0: so many that all
  places have work.
"""

from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.runs.engines.processes import Processes, cores as places


def get_engine(at_once=0, cores=0, group=0):
  return FanOut(Processes(places(at_once, cores)), group)
