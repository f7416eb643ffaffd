"""Pods of a Kubernetes cluster, each with workers that execute runs one after another. Not run: there was no cluster.

  python launch.py sweep --config=digits --sweep=digits --workdir=/shared/runs/grid \
    --engine=kubernetes:image=REGISTRY/noisyjax:TAG,pods=4,gpus=1,claim=work

The command runs in a pod of the cluster, whose service account may create and delete pods: workers call it back. It and
the workers share a volume, mounted at the same path, and an image with noisyjax and its extra `engines`.

image: of the workers.
namespace, account: of the pods; their service account, '': the default.
pods: most pods at once.
gpus: GPUs of a pod; each has a worker. 0: none.
workers: workers of a pod without GPUs.
cores, memory: of a pod, memory in GiB.
claim, mount: persistent volume claim with the workdir and the data, and the path at which it is mounted.
init: shell line before the workers start.
group: see processes.py.
"""

from noisyjax.runs.engines import scripts
from noisyjax.runs.engines.cluster import Cluster, config
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.system.errors import UserError


def get_engine(
  image='',
  namespace='default',
  account='',
  pods=1,
  gpus=0,
  workers=1,
  cores=4,
  memory=16,
  claim='',
  mount='/shared',
  init='',
  group=0,
):
  if not image or not claim:
    raise UserError(
      '--engine=kubernetes: expected image=REGISTRY/NAME:TAG and claim=NAME of a persistent volume claim.'
    )
  devices = {'nvidia.com/gpu': str(gpus)} if gpus else {}
  provider = scripts.pods(
    image=image,
    namespace=namespace,
    service_account_name=account or None,
    init_blocks=0,
    max_blocks=pods,
    init_cpu=cores,
    max_cpu=cores,
    init_mem=f'{memory}Gi',
    max_mem=f'{memory}Gi',
    extra_requests=devices,
    extra_limits=devices,
    persistent_volumes=[(claim, mount)],
    pod_name='noisyjax',
    worker_init='\n'.join([f'export NOISYJAX_POD="{namespace}/$HOSTNAME"', *([init] if init else [])]),
  )
  return FanOut(Cluster(lambda: config(provider, gpus or workers), 'kubernetes', scripts.pod), group)
