"""One run in several JAX processes, on one host or many: how they join, agree, stop together and notice a dead one.

Every process runs the same program on all devices of the job. Process 0 writes the files (`storage.writes`) and prints;
all of them read the files of the run, which must lie on a file system that they share.

JAX aborts a process whose peer has died, after its heartbeat timeout and without an exception. Therefore a thread of
each process notices the death first, says so in one line, and ends the process with GO_ON.
"""

import contextlib
import ctypes
import functools
import importlib.util
import itertools
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from noisyjax.system.errors import UserError, of_machine
from noisyjax.system.interrupt import Stopped
from noisyjax.system.log import log, plain

GO_ON = 75  # exit code of "try again later" (EX_TEMPFAIL of sysexits.h): the same command goes on from the checkpoint
SILENCE = 60.0  # seconds after which a process that gives no sign of life counts as dead; JAX's own limit is 100
_BEAT = 1.0  # seconds between signs of life
_WAIT = 600.0  # seconds that the processes wait for one another before they begin and end a run
_PARTING = 5.0  # seconds that process 0, which hosts the coordination service, waits for the others before it exits

_places = itertools.count()
_over = threading.Event()  # set when the work of all processes is done
# Words in the errors of collective operations and of the coordination service when a process has died.
_LOST = ('Gloo', 'NCCL', 'closed by peer', 'CoordinationService', 'barrier')
_client: Any = None  # of the coordination service; None in a run of one process


class Lost(Exception):
  """Another process of this run has died, or cannot be reached."""


def announced() -> bool:
  """Returns whether the environment says that this process is one of several of a job."""
  env = os.environ
  if {'SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_LOCALID'} <= env.keys():  # started by srun
    return int(env.get('SLURM_NTASKS', 1)) > 1
  if 'OMPI_COMM_WORLD_SIZE' in env:
    return int(env['OMPI_COMM_WORLD_SIZE']) > 1
  if {'KUBERNETES_SERVICE_HOST', 'JOB_COMPLETION_INDEX'} <= env.keys():  # a pod of an indexed Job
    return importlib.util.find_spec('kubernetes') is not None  # through which JAX asks for the other pods
  if 'TPU_WORKER_HOSTNAMES' in env:
    return ',' in env['TPU_WORKER_HOSTNAMES']
  return importlib.util.find_spec('libtpu') is not None and any(Path('/dev').glob('accel[0-9]*'))


def own_gpus(env: Mapping[str, str]) -> list[int] | None:
  """Returns the numbers of this process's GPUs among those that it sees; []: all of them; None: JAX chooses by itself.

  Its choice would be wrong for several processes on a node: of `srun`, JAX gives each the GPU that has the number of
  the process, which is missing where `--gpus-per-task` shows each process its own GPUs alone; of Open MPI 5, all GPUs
  to each. And it would give one GPU to a process that is alone on its node.

  Args:
    env: the environment of the process.
  """
  if 'JAX_LOCAL_DEVICE_IDS' in env:  # JAX reads it
    return None
  if 'OMPI_COMM_WORLD_LOCAL_RANK' in env:
    place, peers = int(env['OMPI_COMM_WORLD_LOCAL_RANK']), int(env['OMPI_COMM_WORLD_LOCAL_SIZE'])
  elif {'SLURM_LOCALID', 'SLURM_NODEID', 'SLURM_STEP_TASKS_PER_NODE'} <= env.keys():
    counts = re.findall(r'(\d+)(?:\(x(\d+)\))?', env['SLURM_STEP_TASKS_PER_NODE'])  # 4(x2),3: 4, 4 and 3 processes
    nodes = [int(count) for count, times in counts for _ in range(int(times or 1))]
    place, peers = int(env['SLURM_LOCALID']), nodes[int(env['SLURM_NODEID'])]
  else:
    return None
  seen = len([name for name in env.get('CUDA_VISIBLE_DEVICES', '').split(',') if name])
  if not seen:
    return [place] if peers > 1 else []
  if peers == 1 or seen == 1 or seen < int(env.get('SLURM_GPUS_ON_NODE', seen)):
    return list(range(seen))  # no other process sees them
  share = max(1, seen // peers)
  return list(range(place * share, (place + 1) * share))


def join(coordinator: str = '', count: int = 0, index: int = -1, silence: float = SILENCE) -> None:
  """Joins the other processes of the job, if there are any; must be called before JAX is used.

  Args:
    coordinator: HOST:PORT of process 0; '': as the environment says.
    count: number of processes; 0: as the environment says; 1: this process runs alone, whatever the environment says.
    index: number of this process, from 0; -1: as the environment says.
    silence: see SILENCE.

  Raises:
    UserError: the arguments contradict one another, or the other processes cannot be found.
  """
  global _client
  if count == 1 or not (coordinator or count or announced()):
    return
  if coordinator and ':' not in coordinator:
    raise UserError(f'--coordinator: found {coordinator!r}; expected HOST:PORT, such as node1:12345.')
  if count and index >= count:
    raise UserError(f'--process: found {index}; expected a number from 0 to {count - 1}, below --processes.')
  if 'OMPI_COMM_WORLD_SIZE' in os.environ:  # of Open MPI 5, JAX recognises no coordinator
    count = count or int(os.environ['OMPI_COMM_WORLD_SIZE'])
    index = int(os.environ['OMPI_COMM_WORLD_RANK']) if index < 0 else index
  # On CPUs, a collective operation holds a thread while it waits for its peers, and programs in flight overtake one
  # another: with few threads, or in another order than in the peers, the processes wait for one another forever.
  jax.config.update('jax_cpu_enable_async_dispatch', False)
  os.environ.setdefault('NPROC', str(max(16, 2 * (os.cpu_count() or 1))))
  jax.config.update('jax_enable_preemption_service', False)  # its handler of SIGTERM would replace that of `interrupt`
  _abort_with(GO_ON)
  try:
    jax.distributed.initialize(coordinator or None, count or None, None if index < 0 else index, own_gpus(os.environ))
  except (ValueError, RuntimeError) as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(
      f'Cannot join the other processes of this run: {reason} Expected a job of srun, an indexed Job of Kubernetes '
      'or a TPU slice; mpirun with --coordinator=HOST:PORT; --coordinator=HOST:PORT --processes=N --process=I in each '
      'process; or --processes=1 for a run of this process alone.'
    ) from error
  from jax._src import distributed  # the client of the coordination service has no public name

  _client = distributed.global_state.client
  if jax.process_index():
    log.setLevel(logging.ERROR)
    sys.stdout = Path(os.devnull).open('w')  # noqa: SIM115
  log.info('%d processes, %d devices.', jax.process_count(), jax.device_count())
  # On CPUs, the first collective operation of all devices waits only 30 seconds for the others, and a process may take
  # longer to compile. So the first one is small and compiled before.
  spread = NamedSharding(_everyone(), PartitionSpec('process'))
  zeros = jax.make_array_from_callback((jax.device_count(), 2), spread, lambda _: np.zeros((1, 2), np.int32))
  first = _maximum().lower(zeros).compile()
  barrier('join')
  jax.block_until_ready(first(zeros))
  threading.Thread(target=_watch, args=(silence,), daemon=True).start()


def several() -> bool:
  """Returns whether this run has several processes."""
  return _client is not None


def _name() -> str:
  """Returns "process 2: " as the beginning of this process's messages; '' in process 0."""
  return f'process {jax.process_index()}: ' if jax.process_index() else ''


def barrier(what: str) -> None:
  """Waits until all processes have come here; at most _WAIT seconds.

  Args:
    what: name of the place, for messages. All processes come to the same places in the same order.

  Raises:
    Lost: a process has not come in time.
  """
  if not several():
    return
  try:
    _client.wait_at_barrier(f'noisyjax/{next(_places)}/{what}', int(1000 * _WAIT))
  except RuntimeError as error:
    raise Lost(f'not all processes came to {what!r}') from error


class Votes:
  """Numbers on which all processes act at the same step: of each, the largest that a process gave.

  A decision that depends on one process's clock or signals must be made so, or one process would enter a collective
  operation that the others do not.
  """

  def __init__(self) -> None:
    self._cast: jax.Array | None = None

  def later(self, *mine: int) -> list[int]:
    """Casts numbers, and returns those of the previous call: the device need not be waited for. Zeros at first."""
    if not several():
      return list(mine)
    before, self._cast = self._cast, _largest(mine)
    return [0] * len(mine) if before is None else np.asarray(before).tolist()

  def now(self, *mine: int) -> list[int]:
    """Casts numbers and returns them at once, with those of a call of `later` whose result was not yet asked for."""
    if not several():
      return list(mine)
    before = self.later(*mine)
    return [max(pair) for pair in zip(before, self.later(*[0] * len(mine)))]


def _largest(mine: Sequence[int]) -> jax.Array:
  """Returns the largest of each number over all processes, int32 [n]."""
  everyone = _everyone()
  rows = np.asarray(mine, np.int32)[None]
  shape = (everyone.size, rows.shape[1])
  return _maximum()(
    jax.make_array_from_callback(shape, NamedSharding(everyone, PartitionSpec('process')), lambda _: rows)
  )


@functools.cache
def _everyone() -> jax.sharding.Mesh:
  """Returns a mesh of all devices."""
  return jax.sharding.Mesh(np.array(jax.devices()), ('process',))


@functools.cache
def _maximum() -> jax.stages.Wrapped:
  """Returns the program of `_largest`, compiled once for each number of numbers."""
  return jax.jit(lambda numbers: numbers.max(0), out_shardings=NamedSharding(_everyone(), PartitionSpec()))


def _part(code: int) -> NoReturn:
  """Exits, and lets the others exit with the same code; process 0, which hosts what they read it from, a bit later."""
  try:
    _client.key_value_set('noisyjax/end', str(code), allow_overwrite=True)
    _client.key_value_set(f'noisyjax/left/{jax.process_index()}', '1', allow_overwrite=True)
    deadline = time.monotonic() + (0.0 if jax.process_index() else _PARTING)
    while time.monotonic() < deadline and len(_client.key_value_dir_get('noisyjax/left/')) < jax.process_count():
      time.sleep(0.05)
  except RuntimeError:  # the service has ended
    pass
  _exit(code)


def _exit(code: int) -> NoReturn:
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(code)


def _watch(silence: float) -> None:
  """Gives signs of life, reads those of the others, and ends this process when another one has ended or died."""
  count, mine = jax.process_count(), jax.process_index()
  seen = {i: ('', time.monotonic()) for i in range(count)}
  beats = 0
  while not _over.wait(_BEAT):
    beats += 1
    try:
      _client.key_value_set(f'noisyjax/beat/{mine}', str(beats), allow_overwrite=True)
      found = dict(_client.key_value_dir_get('noisyjax/'))
    except RuntimeError:  # process 0 has ended; JAX aborts this process, see `_abort_with`
      continue
    if 'noisyjax/end' in found:
      _part(int(found['noisyjax/end']))
    now = time.monotonic()
    for i in range(count):
      beat = found.get(f'noisyjax/beat/{i}', '')
      seen[i] = seen[i] if beat == seen[i][0] else (beat, now)
      if i != mine and beat and now - seen[i][1] > silence:
        print(f'{_name()}{_died(f"process {i} of {count} has")}', file=sys.stderr, flush=True)
        _part(GO_ON)


def _died(who: str) -> str:
  return f'error: {who} died or lost its connection; the same command goes on from the last checkpoint.'


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
  """Within this block, an error or a signal that ends this process ends the others, too.

  A normal exit would wait for them, while they wait for this process in a collective operation.
  """
  global _client
  try:
    yield
    if several():
      barrier('end')
      _over.set()
      jax.distributed.shutdown()
      _client = None
  except BaseException as error:
    if not several():
      raise
    code, text = _verdict(error)
    if code == 2 and jax.process_index():  # process 0 may have found the same mistake; then its message is enough, and
      time.sleep(3 * _BEAT)  # `_watch` ends this process
    if text:
      print(plain(f'{_name()}{text}'), file=sys.stderr, flush=True)
    _part(code)


def _verdict(error: BaseException) -> tuple[int, str]:
  """Returns the exit code for an error, and what to print."""
  if isinstance(error, UserError):
    return 2, f'error: {error}'
  if isinstance(error, Stopped):
    return 128 + error.signal, '' if _name() else f'{error}'
  if isinstance(error, KeyboardInterrupt):
    return 130, ''
  if isinstance(error, Lost) or (isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)):
    return GO_ON, f'{_died("another process has")} ({" ".join(str(error).split())[:300]})'
  if (what := of_machine(error)) is not None:
    return 2, f'error: {what}'
  return 1, ''.join(traceback.format_exception(error))


def _abort_with(code: int) -> None:
  """Makes abort() print a line and exit with a code: JAX aborts the process when the coordination service is gone."""
  libc = ctypes.CDLL(None)
  kind = ctypes.CFUNCTYPE(None, ctypes.c_int)

  def ended(number: int) -> None:
    os.write(2, f'{_died("another process has")}\n'.encode())
    os._exit(code)

  _kept.append(kind(ended))
  libc.signal.argtypes = [ctypes.c_int, kind]
  libc.signal.restype = ctypes.c_void_p
  libc.signal(signal.SIGABRT, _kept[0])


_kept: list[Any] = []  # a C function that is not referred to would be freed
