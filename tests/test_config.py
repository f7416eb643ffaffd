import json

import numpy as np
import pytest

import runs
from configs import base
from noisyjax.config.build import build_model, build_strategy
from noisyjax.config.check import checked
from noisyjax.config.flat import flat
from noisyjax.config.override import defaults, override
from noisyjax.config.plan import ROWS, Plan, phases_of, pixel_statistics
from noisyjax.config.resolved import difference, resolved, restored
from noisyjax.data.training import TrainData
from noisyjax.system.errors import UserError


def refused(match: str, **overrides):
  with pytest.raises(UserError, match=match):
    checked(runs.recipe(**overrides))


def test_a_config_survives_its_file():
  config = runs.recipe(
    strategy__name='co_teaching',
    strategy__co_teaching__forget=0.3,
    model__name='resnet18',
    model__resnet18__width=0.5,
    augment__weak=('crop', 'flip'),
    phases=(('naive', 2, {'optim.lr': 0.1, 'augment.weak': ()}), ('co_teaching', 3, {})),
  )
  written = json.loads(json.dumps(resolved(Plan.of(config))))
  back = restored(written)
  assert not difference(written, json.loads(json.dumps(resolved(Plan.of(back)))))
  assert back.augment.weak == ('crop', 'flip')
  assert build_strategy(back, 'co_teaching') == build_strategy(config, 'co_teaching')
  assert build_model(back, 10) == build_model(config, 10)
  for (name, epochs, own), (name_, epochs_, own_) in zip(phases_of(config), phases_of(back), strict=True):
    assert (name, epochs) == (name_, epochs_)
    assert difference(resolved(Plan.of(own)), resolved(Plan.of(own_))) == []
    assert own_.augment.weak == own.augment.weak  # tuples again, not lists


def test_a_file_of_an_older_version_is_read_with_the_defaults_of_the_fields_that_it_lacks():
  written = json.loads(json.dumps(resolved(Plan.of(runs.recipe()))))
  plugins = ('strategy.name', 'model.name', 'data.source')
  bare = {}
  for field in plugins:
    table, name = field.split('.')
    bare[table] = {name: written[table][name]}
  back = flat(restored(bare))
  assert {k: v for k, v in back.items() if k not in plugins} == {
    k: v for k, v in defaults().items() if k not in plugins
  }


def test_fields_of_another_version_are_named_and_ignored_but_for_those_of_the_network(caplog):
  config = runs.recipe(phases=(('naive', 2, {'optim.lr': 0.1}),))
  written = json.loads(json.dumps(resolved(Plan.of(config))))
  other = json.loads(json.dumps(written))
  other |= {'gone': 1, 'lost': {'a': 2}}
  other['augment']['gone'] = other['strategy']['naive']['gone'] = 3
  other['phases'][0][2] |= {'optim.gone': 4, 'strategy.naive.gone': 5}
  back = restored(other, 'w/config.json')
  assert not difference(written, json.loads(json.dumps(resolved(Plan.of(back)))))
  said, _, fields = caplog.messages[-1].partition(' are ignored: ')
  assert said == 'w/config.json: fields of another version of noisyjax'
  assert set(fields[:-1].split(', ')) == {'gone', 'lost', 'augment.gone', 'strategy.naive.gone', 'optim.gone'}
  for table in (other['model'], other['model'].setdefault(config.model.name, {})):
    table['gone'] = 6
    with pytest.raises(UserError, match=r'w/config.json: this version of noisyjax has no field model\.\S*gone'):
      restored(other, 'w/config.json')
    del table['gone']


def test_a_config_is_not_that_of_a_file_that_lacks_a_field():
  """Even if the field has its default here: the older version may have done something else."""
  here = json.loads(json.dumps(resolved(Plan.of(runs.recipe()))))
  for field in flat(here):
    there = json.loads(json.dumps(here))
    *path, last = field.split('.')
    table = there
    for name in path:
      table = table[name]
    del table[last]
    (line,) = difference(there, here)
    assert line.startswith(f'{field}: no such field → ')


def test_only_tables_that_the_run_uses_are_written():
  plain = resolved(Plan.of(runs.recipe()))
  assert 'naive' in plain['strategy'] and 'co_teaching' not in plain['strategy'] and 'resnet18' not in plain['model']
  two = resolved(Plan.of(runs.recipe(strategy__name='clean_correction')))  # its own plan begins with naive
  assert {'naive', 'clean_correction'} <= two['strategy'].keys()
  one = resolved(Plan.of(runs.recipe(strategy__name='co_teaching', phases=(('naive', 1, {}),))))
  assert {'naive', 'co_teaching'} <= one['strategy'].keys()


def test_a_difference_names_each_field_once():
  old, new = (json.loads(json.dumps(resolved(Plan.of(runs.recipe(**o))))) for o in ({}, {'optim__lr': 0.2, 'ema': 0.5}))
  assert difference(old, new) == ['ema: 0.0 → 0.5', 'optim.lr: 0.05 → 0.2']
  assert difference({}, {'data': {'size': 1}}) == ['data.size: no such field → 1']  # of another version
  assert difference(old, resolved(Plan.of(runs.recipe()))) == []  # a tuple is its list


@pytest.mark.parametrize(
  ('field', 'value', 'stored'),
  [
    ('optim.lr', 1, 1.0),
    ('data.val', 0.1, '0.1'),
    ('augment.weak', ['crop'], ('crop',)),
    ('epochs', 7, 7),
    ('optim.nesterov', False, False),
    ('data.test', '', ''),
    # The texts of flags.
    ('optim.lr', '1e-3', 1e-3),
    ('epochs', '7', 7),
    ('optim.nesterov', 'false', False),
    ('data.unlabeled', '7', '7'),
    ('augment.weak', 'crop,flip', ('crop', 'flip')),
    ('augment.weak', 'crop', ('crop',)),
    ('augment.weak', '', ()),
    ('augment.weak', '()', ()),
    ('augment.weak', '("crop", "flip")', ('crop', 'flip')),
    ('augment.weak', '[crop, flip]', ('crop', 'flip')),
    ('data.classes', '1,2,10', ('1', '2', '10')),
    ('data.classes', ' blue, light green ,red', ('blue', 'light green', 'red')),
    ('data.classes', '07,1e3', ('07', '1e3')),
    ('data.classes', (1, 2, 10), ('1', '2', '10')),
    ('data.classes', "rock'n'roll,jazz", ("rock'n'roll", 'jazz')),
    ('data.classes', '"a,b",c', ('a,b', 'c')),
    ('schedule.milestones', '50,75', (50.0, 75.0)),
    ('model.mean', '0.5, 1', (0.5, 1.0)),
    ('model.small_cnn.widths', [8, 16, 32], (8, 16, 32)),
    ('noise.map', 'cifar10', ('cifar10',)),
    ('noise.map', '(0,1),(2,0)', ((0, 1), (2, 0))),
    ('phases', '(("naive", 2, {"optim.lr": 0.1}),)', (('naive', 2, {'optim.lr': 0.1}),)),
  ],
)
def test_an_override_takes_the_type_of_its_field(field, value, stored):
  config = base.get_config()
  override(config, {field: value}, 'test')
  found = flat(config)[field]
  assert found == stored and type(found) is type(stored)


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('optim.lr', 'high'),
    ('epochs', 1.5),
    ('epochs', True),
    ('optim.nesterov', 1),
    ('augment.weak', 3),
    ('seed', ''),
  ],
)
def test_an_override_of_another_type_is_refused(field, value):
  with pytest.raises(UserError, match=f'point 3: {field}={value!r}: expected '):
    override(base.get_config(), {field: value}, 'point 3')


def test_a_field_that_does_not_exist_is_refused_with_its_neighbours():
  for field, near, beside in (
    ('optim.lrr', 'optim.lr', 'Fields of optim: b1, b2, clip'),
    ('optm.lr', 'optim.lr', 'Fields: augment, balance, batch_size'),
    ('strategy.co_teaching.forgot', 'strategy.co_teaching.forget', 'Fields of strategy.co_teaching: forget, official'),
    ('epoch', 'epochs', 'Fields: augment'),
  ):
    with pytest.raises(UserError) as error:
      override(base.get_config(), {field: 1}, 'here')
    assert f'here: there is no field {field!r}. Did you mean {near!r}? {beside}' in str(error.value)


def test_a_recipe_cannot_invent_a_field():
  with pytest.raises(AttributeError):
    base.get_config().epoch = 3
  with pytest.raises(AttributeError):
    runs.recipe().optim.learning_rate = 3.0


def test_unknown_names_list_the_choices_and_suggest_the_nearest():
  refused(
    r"strategy\.name: unknown value 'co_teching'\. Did you mean 'co_teaching'\? Choices: active.* and \d\d more",
    strategy__name='co_teching',
  )
  refused(r"model\.name: unknown value 'resnet81'\. Did you mean 'resnet18'\? Choices: .*cnn9", model__name='resnet81')
  refused(r"optim\.name: unknown value 'adm'.*Choices: adam, adamw, nadam, sgd", optim__name='adm')
  refused(r"schedule\.name: unknown value 'cosin'\. Did you mean 'cosine'", schedule__name='cosin')
  refused(r"rows: unknown value 'clean'.*Choices: all, labeled, trusted, untrusted", rows='clean')
  refused(r"augment\.weak\[0\]: unknown value 'crp'", augment__weak=('crp',))
  refused(r"select: unknown value 'oracle'.*Choices: best, last", select='oracle')


def test_contradictions_and_values_out_of_range_name_their_field():
  refused(r"mixup: 0.2 contradicts strategy 'co_teaching'", mixup=0.2, strategy__name='co_teaching')
  refused(
    r"phases\[0\]: 'clean_correction' uses the networks of the previous phase", phases=(('clean_correction', 2, {}),)
  )
  refused(
    "schedule.name: 'plateau' needs validation rows, and data.val is empty", schedule__name='plateau', data__val=''
  )
  refused('epochs: expected at least 1, found 0', epochs=0)
  refused('batch_size: expected at least 1, found -1', batch_size=-1)
  refused(r'batch_size: expected at least 1, found 0', phases=(('naive', 1, {'batch_size': 0}),))
  refused(r'ema: expected at least 0 and below 1, found 1.0', ema=1.0)
  refused(r'optim\.lr: expected at least 0, found -0.1', optim__lr=-0.1)
  refused(r'optim\.lr=nan: expected a finite number', optim__lr=float('nan'))
  refused(r'optim\.lr: expected at least 0, found -1.0', phases=(('naive', 1, {'optim.lr': -1.0}),))
  refused(r'optim\.momentum: expected at least 0 and below 1, found 5.0', optim__momentum=5.0)
  refused(r'schedule\.factor: expected at least 0, found -1.0', schedule__factor=-1.0)
  refused(r'schedule\.restart: expected at least 1e-06, found 0.0', schedule__restart=0.0)
  refused(r"schedule\.milestones=\('a',\): expected a list, each .* a finite number", schedule__milestones=('a',))
  refused(
    r'model\.cnn9\.dropout: expected at least 0 and below 1, found -0.25',
    model__name='cnn9',
    model__cnn9__dropout=-0.25,
  )
  refused(r'model\.resnet18\.width: expected from 0.01 to 100', model__name='resnet18', model__resnet18__width=-1.0)
  refused(r'model\.std: expected at least 1e-06', model__std=(0.0,))
  refused(r'seed: expected at most 4294967295, found 4294967296', seed=2**32)
  refused(r'per_call: expected at least 0, found -1', per_call=-1)
  refused(r'devices: expected at least 0, found -1', devices=-1)
  refused("data.classes: found 'undefined', which data.unlabeled defines", data__classes=('cat', 'undefined'))
  refused(r'data\.trusted: expected from 0 to 1', data__trusted=1.5)
  refused(r"checkpoint\.every: .*'often'; expected a number greater than 0 and a unit", checkpoint__every='often')
  refused(r'checkpoint\.keep: expected at least 1, found 0', checkpoint__keep=0)
  refused(r"freeze: '\(conv' is not a regular expression", freeze='(conv')
  refused("model.name: 'histogram' is fitted at once", model__name='histogram', strategy__name='co_teaching')
  refused("model.name: 'histogram' is fitted at once", model__name='histogram', rows='trusted')


def test_phases_are_checked_one_by_one():
  refused(r'phases\[0\]: expected \(strategy, epochs, overrides\), found', phases=(('naive', 3),))
  refused(
    r"phases\[1\]: expected at least 1 epoch, as a whole number, found '3'",
    phases=(('naive', 3, {}), ('naive', '3', {})),
  )
  refused(r'phases\[0\]: expected at least 1 epoch, as a whole number, found 0', phases=(('naive', 0, {}),))
  refused("strategy.name: unknown value 'naiv'. Did you mean 'naive'", phases=(('naiv', 3, {}),))
  refused(r"phases\[0\]: there is no field 'optim.rate'", phases=(('naive', 3, {'optim.rate': 1.0}),))
  for field, value in (('data.val', ''), ('seed', 1), ('epochs', 3), ('strategy.name', 'naive'), ('noise.rate', 0.1)):
    refused(rf'phases\[0\]: {field} is of the whole run; a phase cannot set it', phases=(('naive', 3, {field: value}),))


def test_phases_hold_what_they_override_and_nothing_of_each_other():
  config = runs.recipe(
    optim__lr=0.3, phases=(('naive', 2, {'optim.lr': 0.1, 'rows': 'trusted'}), ('loss_filter', 3, {'ema': 0.9}))
  )
  (name, epochs, first), (other, more, second) = phases_of(config)
  assert (name, epochs, other, more) == ('naive', 2, 'loss_filter', 3)
  assert (first.optim.lr, first.rows, first.ema) == (0.1, 'trusted', 0.0)
  assert (second.optim.lr, second.rows, second.ema) == (0.3, 'all', 0.9)
  assert (config.optim.lr, config.rows, config.ema) == (0.3, 'all', 0.0)


def test_a_strategys_own_plan_is_used_where_the_config_has_none():
  config = runs.recipe(strategy__name='clean_correction', epochs=5)
  plan = [(name, epochs, own.rows, own.labels, own.reset) for name, epochs, own in phases_of(config)]
  assert plan == [('naive', 2, 'trusted', 'verified', 'none'), ('clean_correction', 3, 'all', '', 'all')]


def _rows(**labels) -> TrainData:
  images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
  fields = {'given': [0, 1, 2, -1, -1, 0], 'verified': [-1, -1, 1, 2, -1, 0]} | labels
  return TrainData(images, *(np.array(fields[k], np.int32) for k in ('given', 'verified')), 3)


def test_rows_of_a_phase_follow_given_and_verified_labels():
  data = _rows()
  found = {name: np.flatnonzero(rule(data.given, data.verified)).tolist() for name, rule in ROWS.items()}
  assert found == {'all': [0, 1, 2, 3, 4, 5], 'labeled': [0, 1, 2, 5], 'trusted': [2, 3, 5], 'untrusted': [0, 1, 4]}
  with pytest.raises(UserError, match="rows: 'trusted' leaves no row to phase 'naive'"):
    Plan.of(runs.recipe(rows='trusted')).engine_phases(_rows(verified=[-1] * 6))


def test_pixel_statistics_are_the_training_images_own_unless_given():
  data = _rows()
  config = runs.recipe(model__mean=(), model__std=())
  model = build_model(config, 3)
  mean, std = pixel_statistics(config, model, data)
  np.testing.assert_allclose([*mean, *std], [np.mean(data.images), np.std(data.images)], atol=0.51)
  given = runs.recipe(model__mean=(1.0,), model__std=(2.0,))
  assert pixel_statistics(given, model, data) == ((1.0,), (2.0,))
  wrong = runs.recipe(model__mean=(1.0, 2.0))
  with pytest.raises(UserError, match=r'model\.mean: found 2 numbers, expected 1, one per channel'):
    pixel_statistics(wrong, model, data)
  raw = runs.recipe(model__name='model_1')
  assert pixel_statistics(raw, build_model(raw, 3), data) == ((0.0,), (1.0,))


def test_more_devices_than_there_are_is_an_error():
  with pytest.raises(UserError, match=r'devices: found 99, expected at most \d'):
    Plan.of(runs.recipe(devices=99)).engine_phases(_rows())


def test_every_number_of_a_config_reaches_its_phase():
  rows = TrainData(np.zeros((4, 8, 8, 1), np.uint8), *np.zeros((2, 4), np.int32), 3)
  config = runs.recipe(
    optim__nesterov=False,
    optim__kernels_only=False,
    optim__b1=0.11,
    optim__b2=0.12,
    optim__eps=0.13,
    optim__clip=0.14,
    optim__lr=0.21,
    optim__decay=0.22,
    optim__momentum=0.23,
    freeze='head',
    stop__metric='val_accuracy',
    stop__delta=0.15,
    stop__patience=9,
    balance=True,
    steps_per_epoch=7,
    ema=0.24,
    mixup=0.25,
    schedule__name='milestones',
    schedule__warmup=2.0,
    schedule__peak=0.3,
    schedule__factor=0.4,
    schedule__restart=6.0,
    schedule__final=0.05,
    schedule__milestones=(3.0,),
    augment__weak=('crop',),
    augment__strong=('cutout',),
  )
  (phase,) = Plan.of(config).engine_phases(rows)
  h, spec = phase.hyper, phase.spec
  o, s = h.optimizer, h.schedule
  assert (o.nesterov, o.kernels_only, o.freeze, o.schedule) == (False, False, 'head', 'milestones')
  assert (phase.watch, phase.balance, phase.steps, spec.ema, spec.mixup) == ('val_accuracy', True, 7, True, True)
  assert dict(spec.pipelines) == {'weak': ('crop',), 'strong': ('cutout',), 'none': ()}
  found = [o.b1, o.b2, o.eps, o.clip, o.lr, o.decay, o.momentum, *h.stop, h.ema, h.mixup]
  np.testing.assert_allclose(found, [0.11, 0.12, 0.13, 0.14, 0.21, 0.22, 0.23, 9, 0.15, 0.24, 0.25], rtol=1e-6)
  found = [s.warmup, s.peak, s.factor, s.restart, s.final, *s.milestones]
  np.testing.assert_allclose(found, [2, 0.3, 0.4, 6, 0.05, 3], rtol=1e-6)


def test_no_field_takes_what_training_would_only_fail_on_later():
  config = base.get_config()
  for field, default in flat(config).items():
    kind = type(default)
    wrong = [None, (1, 2, None), (None,), {'a': 1}, np.zeros(2)]
    wrong += [float('nan'), float('inf'), 1e30, 10**400, 'text'] if kind in (int, float) else []
    wrong += [1.5, 2**63, -(2**63)] if kind is int else [-1e30] if kind is float else []
    wrong += ['maybe', 2] if kind is bool else ['nul\0', '\udcff', True] if kind is str else []
    for value in wrong:
      own = config.copy_and_resolve_references()
      with pytest.raises(UserError) as error:
        override(own, {field: value}, 'here')
        checked(own)
      assert field in str(error.value) or field.split('.')[0] in ('phases', 'noise'), (field, value, error.value)
