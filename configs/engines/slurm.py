"""Jobs of a Slurm cluster, each with workers that execute runs one after another: one wait in the queue for many runs.

  python launch.py sweep --config=digits --sweep=digits --workdir=runs/grid \
    --engine=slurm:partition=gpu,nodes=2,gpus=4,hours=4

The command waits until all runs have finished (start it in tmux or screen on a login node); if it ends early, the same
command goes on. Nodes, login node and workdir share a file system, and the environment that starts the command.

partition, account, qos: those of the jobs; '': Slurm's default.
nodes: most jobs at once, of one node each.
gpus: GPUs of a node; each has a worker, which sees it alone. 0: none.
workers: workers of a node without GPUs.
cores: cores of a node that a job asks for; 0: Slurm's default.
memory: GB of memory of a node that a job asks for; 0: Slurm's default.
hours: longest duration of a job; a run that is not finished then goes on in the next.
requeue: whether Slurm puts a job that it preempts back into the queue; False: it cancels the job, and the engine asks
  for another one.
options: further line for the scripts, such as '#SBATCH --constraint=a100'.
init: shell line before the workers start, such as 'module load cuda'.
poll: seconds between two looks at the queue.
group: see processes.py.
"""

from noisyjax.runs.engines import scripts
from noisyjax.runs.engines.cluster import Cluster, config, worker_init
from noisyjax.runs.engines.fan_out import FanOut


def get_engine(
  partition='',
  account='',
  qos='',
  nodes=1,
  gpus=0,
  workers=1,
  cores=0,
  memory=0,
  hours=1.0,
  requeue=True,
  options='',
  init='',
  poll=60,
  group=0,
):
  from parsl.launchers import SimpleLauncher
  from parsl.providers import SlurmProvider

  class Slurm(SlurmProvider):
    status_polling_interval = poll

  provider = Slurm(
    partition=partition or None,
    account=account or None,
    qos=qos or None,
    gres=f'gpu:{gpus}' if gpus else None,
    cores_per_node=cores or None,
    mem_per_node=memory or None,
    init_blocks=0,
    max_blocks=nodes,
    walltime='{}:{:02}:00'.format(*divmod(round(60 * hours), 60)),
    scheduler_options=f'#SBATCH --{"" if requeue else "no-"}requeue\n{options}'.rstrip(),
    worker_init=worker_init(*([init] if init else [])),
    exclusive=False,
    launcher=SimpleLauncher(),
  )
  return FanOut(Cluster(lambda: config(provider, gpus or workers, min(5, poll)), 'slurm', scripts.batch), group)
