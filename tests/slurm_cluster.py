"""A Slurm cluster of one node on this machine, with four simulated GPUs, in a folder of its own.

Its daemons are Debian's (`slurm-wlm`, `munge`), started without systemd and stopped by their process ids.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

GPUS = 4
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
ReturnToService=2
KillWait=20
SchedulerParameters=sched_interval=2
SlurmUser=root
SlurmctldPort={ctld}
SlurmdPort={slurmd}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def missing() -> str:
  """Returns why no cluster can be started here; '' if one can."""
  if os.geteuid():
    return 'starting the daemons of Slurm needs root'
  absent = [name for name in ('slurmctld', 'slurmd', 'sbatch', 'munged') if not shutil.which(name)]
  return f'not installed: {", ".join(absent)} (apt-get install slurm-wlm munge)' if absent else ''


def free_port() -> int:
  with socket.socket() as own:
    own.bind(('127.0.0.1', 0))
    return own.getsockname()[1]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Path]:
  """Starts a cluster and gives its slurm.conf; stops its daemons at the end."""
  host = socket.gethostname().partition('.')[0]
  for name in ('state', 'spool', 'munge'):
    (folder / name).mkdir(parents=True)
  conf = folder / 'slurm.conf'
  conf.write_text(
    CONF.format(host=host, folder=folder, ctld=free_port(), slurmd=free_port(), cpus=os.cpu_count(), gpus=GPUS)
  )
  (folder / 'gres.conf').write_text(f'NodeName={host} Name=gpu File=/dev/tty[0-{GPUS - 1}]\n')
  key = folder / 'munge' / 'key'
  key.write_bytes(os.urandom(128))
  key.chmod(0o400)
  own = os.environ | {'SLURM_CONF': str(conf)}
  munge = ['munged', '--foreground', '--force', f'--key-file={key}', f'--socket={folder}/munge/socket']
  munge += [f'--{name}-file={folder}/munge/{name}' for name in ('pid', 'log', 'seed')]
  commands = [munge, ['slurmctld', '-D', '-f', str(conf)], ['slurmd', '-D', '-f', str(conf)]]
  running = []
  try:
    for command in commands:
      out = (folder / f'{command[0]}.out').open('wb')
      running.append(subprocess.Popen(command, env=own, stdout=out, stderr=subprocess.STDOUT))
      time.sleep(1)
    for _ in range(60):
      state = subprocess.run(['sinfo', '-h', '-o', '%T'], env=own, capture_output=True, text=True, check=False).stdout
      if state.strip() == 'idle':
        break
      time.sleep(1)
    else:
      raise RuntimeError('\n'.join(path.read_text()[-2000:] for path in sorted(folder.glob('*.out'))))
    yield conf
  finally:
    for process in reversed(running):
      process.terminate()
    for process in running:
      with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
      process.kill()
