"""The engine against the official loops: 12 steps of a small network end with the same parameters.

Each test names the class of `official` that follows the official code, and that class names repository, file, lines
and revision. `make test-differential` runs this in an environment of its own; elsewhere, without PyTorch, it is
skipped.
"""

import dataclasses

import numpy as np
import pytest

pytest.importorskip('torch', reason='PyTorch is not installed; make test-differential installs it.')
from official import losses, mixing, selecting, trusted, two_networks
from trajectory import SGD, compare

import tiny
from noisyjax.engine.optim import Optimizer
from noisyjax.strategies import (
  co_teaching,
  co_teaching_plus,
  cores2,
  divide_mix,
  elr,
  elr_plus,
  fixmatch,
  forward,
  gce,
  glc,
  jocor,
  l2rw,
  meta_weight_net,
  mixmatch,
  naive,
  pes,
  pes_semi,
  promix,
  sce,
  sop,
  sop_plus,
  ssr_plus,
)

MATRIX = tuple(map(tuple, (0.7 * np.eye(3) + 0.1).tolist()))
FEW = tiny.data(unlabeled=range(20, 48))
PLAIN = {'optimizer': Optimizer('sgd', momentum=0.0), 'decay': 0.0}
CASES = {
  'naive': (naive.Strategy.build(), losses.CrossEntropy, {}),
  'sce': (sce.Strategy.build(), losses.Symmetric, {'sure': 12.0}),
  'gce': (gce.Strategy.build(truncate=True, k=0.4, start=1.0, every=2.0), losses.Truncated, {}),
  'forward': (forward.Strategy.build(matrix=MATRIX), losses.Forward, {'sure': 12.0}),
  'elr': (elr.Strategy.build(), losses.EarlyLearning, {}),
  'sop': (sop.Strategy.build(scale=0.3, lr_u=0.5, lr_v=0.5), losses.Overparametrized, {}),
  'sop_plus': (sop_plus.Strategy.build(scale=0.3, lr_u=0.5, lr_v=0.5), losses.Overparametrized, {}),
  'cores2': (cores2.Strategy.build(wait=1.0, rise=2.0, sieve=0.0), losses.Confident, PLAIN),
  'co_teaching': (
    co_teaching.Strategy.build(forget=0.4, ramp=3.0, official=True),
    two_networks.CoTeaching,
    {'lr': 0.3},
  ),
  'co_teaching_plus': (
    co_teaching_plus.Strategy.build(forget=0.4, ramp=3.0, warmup=2.0, official=True),
    two_networks.CoTeachingPlus,
    {'lr': 0.3},
  ),
  'jocor': (jocor.Strategy.build(forget=0.4, ramp=3.0, agree=0.6, official=True), two_networks.JoCoR, {}),
  'glc': (glc.Strategy.build(), trusted.GoldLossCorrection, {'norm': False, 'after': naive.Strategy.build()}),
  'meta_weight_net': (meta_weight_net.Strategy.build(hidden=20), trusted.MetaWeightNet, {}),
  'l2rw': (l2rw.Strategy.build(), trusted.Reweighted, {}),
  'mixmatch': (mixmatch.Strategy.build(), mixing.MixMatch, {'data': FEW, 'lr': 0.02}),
  'fixmatch': (fixmatch.Strategy.build(ratio=1, threshold=0.6, together=True), mixing.FixMatch, {'data': FEW}),
  'divide_mix': (divide_mix.Strategy.build(ramp=3.0), mixing.DivideMix, {'lr': 0.02}),
  'elr_plus': (elr_plus.Strategy.build(), mixing.EarlyLearningPlus, {'averaged': True, 'ema_ramp': 20.0}),
  'elr_plus, CIFAR-100': (
    elr_plus.Strategy.build(reweigh=True),
    mixing.EarlyLearningPlus,
    {'averaged': True, 'ema_ramp': 20.0},
  ),
  'pes_semi': (
    pes_semi.Strategy.build(warmup=0, ramp=3.0),
    mixing.Confident,
    {'lr': 0.02, 'optimizer': dataclasses.replace(SGD, freeze=pes.HEAD)},
  ),
  'ssr_plus': (
    ssr_plus.Strategy.build(relabel=0.6, neighbours=9, hidden=12, projected=6),
    selecting.Relabeling,
    {'lr': 0.02},
  ),
  'promix': (
    promix.Strategy.build(rho=0.3, tau=0.5, expand=0.5, fill=0.7, warmup=1, ramp=3.0, bias_momentum=0.9),
    selecting.Progressive,
    {'norm': False, 'lr': 0.02},
  ),
}


@pytest.mark.parametrize('double', [False, True], ids=['float32', 'float64'])
@pytest.mark.parametrize('name', CASES)
def test_the_engine_ends_where_the_official_loop_ends(name, double):
  strategy, official, fields = CASES[name]
  compare(strategy, official, double=double, **fields)


SWITCHES = {
  'co_teaching': {'official': False},
  'co_teaching_plus': {'official': False},
  'jocor': {'official': False},
  'fixmatch': {'together': False},
  'meta_weight_net': {'reuse': True},
  'promix': {'fmix': False},
}


@pytest.mark.parametrize('name', SWITCHES)
def test_a_switch_that_is_off_is_noticed(name):
  strategy, official, fields = CASES[name]
  with pytest.raises(AssertionError):
    compare(dataclasses.replace(strategy, **SWITCHES[name]), official, **fields)


def test_a_renewed_head_that_is_trained_on_is_noticed():
  """What `frozen` of PES (semi) does is a field of the optimizer."""
  strategy, official, fields = CASES['pes_semi']
  with pytest.raises(AssertionError):
    compare(strategy, official, **fields | {'optimizer': SGD})
