"""The networks, or the fitted model, of a finished run at the epoch that the run reports."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.build import build_model, build_strategy
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import restored
from noisyjax.data.images import Images
from noisyjax.engine import score
from noisyjax.engine.net import Net
from noisyjax.engine.state import PyTree, Snapshot
from noisyjax.engine.strategy import Strategy
from noisyjax.models.layers import conv
from noisyjax.models.protocol import is_trained
from noisyjax.runs import checkpoint, classic
from noisyjax.system import formats, seal
from noisyjax.system.errors import UserError, check_choice


class Selected(NamedTuple):
  """A finished run with its weights.

  Attributes:
    plan: plan of the run.
    config: config of its last phase.
    facts: content of model.json.
    result: content of result.json.
    select: "best" or "last", the epoch of the weights.
    strategy: strategy of the last phase.
    model: its model.
    net: its networks; None for a classic estimator.
    weights: `Snapshot` of the networks; for a classic estimator, the arrays that its `fit` returned.
    id: digest of config, data and model.json, which names the run.
  """

  plan: Plan
  config: ConfigDict
  facts: dict[str, Any]
  result: dict[str, Any]
  select: str
  strategy: Strategy
  model: Any
  net: Net | None
  weights: PyTree
  id: str

  def look(self, images: Images | Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns probabilities float32 [n, C], and the penultimate layers of the networks, one after another [n, M * F].

    Args:
      images: `Images` as the networks take them, or an array; nothing is resized. The second result is None for a
        classic estimator.
    """
    if self.net is None:
      return self.model.predict_proba(self.weights, np.asarray(images)).astype(np.float32), None
    return score.embed(self.net, self.strategy, self.weights, images, self.config.eval_batch_size)

  def sha256(self) -> str:
    """Returns the sha256 (hex) of the weights."""
    leaves = jax.tree_util.tree_leaves_with_path(self.weights)
    return seal.sealed(formats.WEIGHTS, {jax.tree_util.keystr(p): np.asarray(v) for p, v in leaves}, {})['sha256']


def load(folder: Path, select: str = '') -> Selected:
  """Reads a finished run and its weights.

  Args:
    folder: folder of the run.
    select: epoch of the weights, "best" (by validation) or "last"; "": the one that the run reports.

  Raises:
    UserError: there is no finished run, or the weights are missing or damaged, or belong to another run.
  """
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: is not a finished run; expected a result.json in it.')
  settings, facts, result = (
    formats.read_json(formats.RUN, folder / name) for name in ('config.json', 'model.json', 'result.json')
  )
  plan = Plan.of(restored(settings, folder / 'config.json'))
  config = plan.last.config  # the networks depend on the overrides of the last phase
  strategy = build_strategy(config, facts['strategy'])
  if config.model.conv not in conv.kinds():  # auto, or a kind that this machine lacks; the parameters are the same
    config.model.conv = 'auto'
  model = build_model(config, len(facts['classes']) + strategy.extra_classes)
  select = check_choice('select', select or facts['selected'], ('best', 'last'))
  net = None
  if is_trained(model):
    if not (folder / 'weights' / select).exists():
      raise UserError(f'{folder}: has no {select!r} weights; the run had no validation (data.val).')
    net = Net(model, tuple(facts['mean']), tuple(facts['std']), facts['networks'], size=facts.get('size', 0))
    images = np.zeros((2, *facts['shape']), np.uint8)
    template = jax.eval_shape(functools.partial(_template, net, images))
    weights, sealed = checkpoint.load_weights(folder / 'weights' / select, template)
  else:
    weights, sealed = classic.load_weights(folder / 'weights.npz')
  here = {'config': formats.digest(settings), 'model': formats.digest(facts), 'data': result['data']['fingerprint']}
  if other := [name for name in sealed if sealed[name] != here[name]]:
    names = {'config': 'config.json', 'model': 'model.json', 'data': 'result.json'}
    raise UserError(f'{folder / names[other[0]]}: is not the one that the weights beside it were written with.')
  return Selected(plan, config, facts, result, select, strategy, model, net, weights, formats.digest(here)[:16])


def _template(net: Net, images: np.ndarray) -> Snapshot:
  """Returns networks of the shapes that were saved."""
  return Snapshot(*net.init(jax.random.key(0), images))
