"""The requests that ask a scheduler for workers, as text for a dry run: a job of Slurm, a pod of Kubernetes."""

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml


def batch(provider: Any, start: str) -> str:
  """Returns the script of a job of Slurm.

  Args:
    provider: a `SlurmProvider`.
    start: the command that starts the workers.
  """
  submit, folder = provider.execute_wait, provider.script_dir
  with tempfile.TemporaryDirectory() as scratch:
    provider.script_dir = scratch
    provider.execute_wait = lambda command, timeout=None: (0, 'Submitted batch job 0', '')
    try:
      provider.submit(start, 1, 'noisyjax')
      (path,) = Path(scratch).iterdir()
      return path.read_text().replace(f'{scratch}/', '').replace(path.name, 'noisyjax')
    finally:
      provider.execute_wait, provider.script_dir = submit, folder
      provider.resources.pop('0', None)


def pod(provider: Any, start: str) -> str:
  """Returns the spec of a pod of Kubernetes.

  Args:
    provider: a `KubernetesProvider`.
    start: the command that starts the workers.
  """
  from kubernetes.client import ApiClient

  class Client:
    """Takes the place of a cluster's."""

    def create_namespaced_pod(self, body: Any, **unused: Any) -> Any:
      self.body = body
      return body

  own, provider.kube_client = provider.kube_client, Client()
  try:
    job = provider.submit(start, 1, 'noisyjax')
    spec = json.dumps(ApiClient().sanitize_for_serialization(provider.kube_client.body)).replace(job, 'BLOCK')
    return yaml.safe_dump({'apiVersion': 'v1', 'kind': 'Pod'} | json.loads(spec), sort_keys=False)
  finally:
    provider.kube_client = own
    provider.resources.clear()


def pods(**fields: Any) -> Any:
  """Returns Parsl's provider of pods; where there is no cluster, one that can only write specs.

  Args:
    **fields: arguments of `KubernetesProvider`.
  """
  from parsl.providers import KubernetesProvider
  from parsl.providers.kubernetes import kube

  try:
    return KubernetesProvider(**fields)
  except kube.config.ConfigException:
    pass
  load = kube.config.load_kube_config
  kube.config.load_kube_config = lambda: None
  try:
    return KubernetesProvider(**fields)
  finally:
    kube.config.load_kube_config = load
