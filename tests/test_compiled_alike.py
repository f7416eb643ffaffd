"""Which runs share compiled steps: the fields that are said to be free change nothing that a step is compiled from."""

import jax
import numpy as np

import runs
from noisyjax.config import compiled_alike
from noisyjax.config.check import plan_of
from noisyjax.config.flat import flat
from noisyjax.data import prepare

ON = {'mixup': 0.2, 'ema': 0.9, 'optim.clip': 1.0, 'augment.weak': ('crop', 'rotate', 'resized_crop', 'cutout')}
OTHER = {
  'seed': 3,
  'epochs': 5,
  'ema_ramp': 10.0,
  'told': ('noise rate',),
  'select': 'last',
  'tensorboard': True,
  'mixup': 0.4,
  'ema': 0.5,
  'checkpoint.every': '1 epochs',
  'checkpoint.keep': 3,
  'noise.count': 'exact',
  'noise.kind': 'pair',
  'noise.rate': 0.3,
  'noise.seed': 1,
  'stop.patience': 2,
  'stop.metric': 'val_accuracy',
  'stop.delta': 0.1,
  'data.seed': 1,
  'data.trusted': 0.2,
  'data.hold': '0:8',
  'data.val_labels': 'given',
  'data.test_labels': 'true',
  'optim.lr': 1.0,
  'optim.decay': 0.1,
  'optim.momentum': 0.5,
  'optim.b1': 0.5,
  'optim.b2': 0.5,
  'optim.eps': 0.1,
  'optim.clip': 2.0,
  'schedule.warmup': 1.0,
  'schedule.final': 0.1,
  'schedule.factor': 0.5,
  'schedule.restart': 3.0,
  'schedule.peak': 0.5,
  'schedule.patience': 9,
  'augment.rotation': 5.0,
  'augment.brightness': 0.1,
  'augment.contrast': 0.1,
  'augment.saturation': 0.1,
  'augment.hue': 0.3,
  'augment.scale': (0.5, 0.9),
  'augment.ratio': (0.5, 2.0),
  'augment.magnitude': 4.0,
  'augment.probability': 0.5,
  'augment.quality': (20.0, 90.0),
  'augment.cutout': 2.0,
}
# Free, but not changed here: they list phases or files, or need a model whose blocks have an order.
APART = {'phases', 'noise.map', 'noise.path', 'noise.column', 'noise.order', 'data.cache', 'optim.layer_decay'}


def recipe(**fields):
  return plan_of(runs.recipe(**{name.replace('.', '__'): value for name, value in (ON | fields).items()}))


def compiled(plan, found):
  """Returns what the steps of a run are compiled from: static values, and the shapes and types of traced ones."""
  phases = plan.engine_phases(prepare.prepare(plan.config, found=found)[0].train)
  kinds = lambda tree: [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in jax.tree.leaves(tree)]
  return [
    (p.spec, jax.tree.structure((p.strategy, p.hyper)), kinds((p.strategy, p.hyper)), p.per_call, p.chunk)
    for p in phases
  ]


def test_a_free_field_compiles_nothing_again():
  start = recipe()
  found = prepare.load(start.config)
  key, before = compiled_alike.key(start), compiled(start, found)
  free = {f for f in flat(start.config) if compiled_alike.FREE.fullmatch(f) or f in compiled_alike.SWITCHES}
  assert free == OTHER.keys() | APART
  for field, value in OTHER.items():
    assert flat(start.config)[field] != value or field in ('data.val_labels', 'data.test_labels')
    other = recipe(**{field: value})
    assert compiled_alike.key(other) == key, field
    assert compiled(other, found) == before, field


def test_what_compiles_anew_has_another_key():
  key = compiled_alike.key(recipe())
  apart = {'mixup': 0.0, 'batch_size': 16, 'strategy.name': 'gce', 'optim.nesterov': False, 'augment.pad': 3.0}
  assert all(compiled_alike.key(recipe(**{field: value})) != key for field, value in apart.items())


def test_a_strategy_s_traced_numbers_are_free_and_its_others_are_not():
  own = lambda **fields: compiled_alike.key(recipe(**{'strategy.name': 'elr', 'mixup': 0.0} | fields))
  assert own(**{'strategy.elr.beta': 0.5}) == own() == own(**{'strategy.gce.q': 0.1})  # of a method that is not used
  phased = lambda lr, epochs: own(phases=(('naive', 2, {}), ('elr', epochs, {'optim.lr': lr})))
  assert phased(0.1, 2) == phased(0.2, 3) != own()
