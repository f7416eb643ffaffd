"""What docs/faithfulness.md claims beside its views, noise and selections, which tests of their own hold.

The trajectories themselves need PyTorch (`test_trajectories.py`); here, the table of the page is compared with them.
"""

import ast
import math
import re
import types

import jax.numpy as jnp
import numpy as np
import pytest
from test_recipes import RECIPES, get

import runs
import tiny
from noisyjax.config.flat import flat
from noisyjax.config.plan import phases_of
from noisyjax.engine import between_epochs, step
from noisyjax.engine.spec import run_keys
from noisyjax.strategies import divide_mix, elr_plus, pes
from tiny import CLASSES, ROOT

PAGE = (runs.ROOT / 'docs/faithfulness.md').read_text()
TESTS = runs.ROOT / 'tests'


def rows_of(header: str) -> list[list[str]]:
  """Returns the cells of the table whose first line begins with `header`."""
  lines = PAGE[PAGE.index(f'\n{header}') + 1 :].split('\n\n')[0].splitlines()[2:]
  return [[cell.strip() for cell in line.strip('|').split(' | ')] for line in lines]


def references() -> dict[str, str]:
  """Returns method → docstring of the class of `official` that its trajectory is compared with."""
  docs = {}
  for path in (TESTS / 'official').glob('*.py'):
    for node in ast.parse(path.read_text()).body:
      if isinstance(node, ast.ClassDef):
        docs[path.stem, node.name] = ' '.join((ast.get_docstring(node) or '').split())
  tree = ast.parse((TESTS / 'test_trajectories.py').read_text())
  (cases,) = [
    node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'CASES'
  ]
  found = {}
  for key, case in zip(cases.keys, cases.values):
    module, _, name = ast.unparse(case.elts[1]).partition('.')
    found[ast.literal_eval(key)] = docs[module, name]
  return found


def test_each_method_of_the_table_has_a_trajectory_of_the_code_that_it_names():
  known, named, code = references(), set(), ''
  for methods, where, read, _ in rows_of('| method | official code'):
    code = code if where == 'the same' else where
    repository, _, revision = code.partition(', ')
    for method in re.findall(r'`(\w+)`', methods):
      assert repository in known[method] and f'revision {revision}' in known[method], method
      assert any(file.split('/')[-1] in known[method] for file in re.findall(r'`([\w/.-]+\.py)`', read)), method
      named.add(method)
  assert named == {name.partition(',')[0] for name in known} - {'naive'}


def test_the_files_that_the_page_names_are_there():
  files = re.findall(r'`((?:tests|benchmarks|configs)/[\w/.]*)`', PAGE)
  assert len(files) > 10 and all((runs.ROOT / file).exists() for file in files)


# Recipes whose official code keeps PyTorch's initialization; that of all others sets another one, or is not PyTorch's.
TORCH = {'cores2', 'divide_mix', 'elr', 'elr_plus', 'gce', 'pes', 'pes_semi', 'sop', 'sop_plus', 'ssr_plus'}


USB = {
  'model.name': 'wrn28_2',
  'schedule.name': 'quarter_cosine',
  'schedule.final': math.cos(7 * math.pi / 16),
  'data.trusted_by': 'true',
}
# What the official code does, and is a field here.
SETTINGS = {
  'co_teaching': {'strategy.co_teaching.official': True},
  'co_teaching_plus': {'strategy.co_teaching_plus.official': True},
  'jocor': {'strategy.jocor.official': True},
  'fixmatch': USB | {'strategy.fixmatch.together': True},
  'flexmatch': USB | {'strategy.flexmatch.together': True},
  'mixmatch': USB,
  'posterior_match': USB,
  'elr_plus': {'ema': 0.997, 'ema_ramp': 40000.0},
  'meta_weight_net': {'data.trusted_by': 'true'},
  'pes': {'strategy.pes.frozen': True},
  'pes_semi': {'strategy.pes_semi.frozen': True},
  'promix': {'strategy.promix.fmix': True},
}
# What differs on CIFAR-100. USB: config/classic_cv/…/…_cifar100_10000_0.yaml; loss-correction: models.py 258-287,
# experiment.py 58-62; Active-Passive-Losses: configs/cifar100/sym/nce+rce.yaml; SCE: train_models.py 57-60 and 220-225,
# util.py 52-60, and the rerun's train.py; revisions as in docs/faithfulness.md.
CORRECTED = {'epochs': 300, 'schedule.milestones': (80.0, 120.0), 'optim.decay': 2e-3}
HUNDRED = {
  'active_passive': {
    'model.name': 'resnet50',
    'model.resnet50.stem': 'cifar',
    'strategy.active_passive.alpha': 10.0,
    'strategy.active_passive.beta': 0.1,
    'optim.lr': 0.1,
    'optim.decay': 1e-5,
    'epochs': 200,
  },
  'backward': CORRECTED | {'strategy.backward.percentile': 100.0},
  'fixmatch': {'optim.decay': 1e-3},
  'flexmatch': {'optim.decay': 1e-3},
  'forward': CORRECTED | {'strategy.forward.percentile': 100.0},
  'mixmatch': {'optim.decay': 1e-3, 'strategy.mixmatch.lambda_u': 150.0},
  'posterior_match': {'optim.decay': 1e-3},
  'sce': {
    'model.name': 'resnet34',
    'model.resnet34.initial': 'torch',
    'strategy.sce.alpha': 6.0,
    'strategy.sce.beta': 0.1,
    'optim.lr': 0.1,
    'epochs': 150,
    'schedule.milestones': (80.0, 120.0),
  },
}
SWITCHES = ('official', 'together', 'frozen', 'fmix')


@pytest.mark.parametrize('form', ['worse', 'asym40', 'c100-sym50'])
@pytest.mark.parametrize('name', RECIPES)
def test_a_full_recipe_has_the_official_settings_and_a_short_one_no_switch_on(name, form):
  c, short = flat(get(name, form)), flat(get(name, f'{form}-short'))
  wanted = {'ema_ramp': 0.0, 'data.trusted_by': 'given'} | SETTINGS.get(name, {})
  if form.startswith('c100'):
    wanted |= HUNDRED.get(name, {})
  assert {field: c[field] for field in wanted} == wanted
  initial = f'model.{c["model.name"]}.initial'
  assert c.get(initial, 'he') == wanted.get(initial, 'torch' if name in TORCH else 'he')
  switches = [f'strategy.{name}.{switch}' for switch in SWITCHES if f'strategy.{name}.{switch}' in c]
  assert not any(short[field] for field in (*switches, 'ema_ramp'))
  if name != 'posterior_match':  # ours: there is no official code
    assert all(wanted.get(field) for field in switches)


@pytest.mark.parametrize(
  'name, ten, hundred', [('co_teaching', 80, 100), ('jocor', 80, 100), ('co_teaching_plus', 80, 80)]
)
def test_the_rate_of_co_teaching_falls_from_the_official_epoch_on(name, ten, hundred):
  assert [phases_of(get(name, form))[0][1] for form in ('worse', 'c100-sym50')] == [ten, hundred]


@pytest.mark.parametrize('form', ['worse', 'sym50', 'c100-noisy'])
def test_pes_semi_has_390_steps_an_epoch_and_leaves_the_renewed_head_alone(form):
  *stages, (name, _, last) = phases_of(get('pes_semi', form))
  assert {own.steps_per_epoch for _, _, own in (*stages, (name, 0, last))} == {390}
  assert [own.batch_size for _, _, own in (*stages, (name, 0, last))] == [128, 128, 64]
  assert last.freeze == stages[-1][-1].reset == pes.HEAD
  *stages, (_, _, last) = phases_of(get('pes', form))
  assert last.freeze == '|'.join(own.reset for _, _, own in stages[1:])


@pytest.mark.parametrize('form', ['worse', 'c100-sym50'])
def test_promix_adds_rows_by_agreement_in_the_last_250_epochs(form):
  _, (name, epochs, own) = phases_of(get('promix', form))
  assert epochs * own.strategy[name].expand == pytest.approx(250)


def test_two_networks_have_orders_and_crops_of_their_own():
  """DivideMix and ELR+: whatever says for each network which rows it has."""
  method, data, keys = elr_plus.Strategy.build(), tiny.data(), run_keys(ROOT)
  phase = tiny.phase(method, tiny.spec(2, tiny.Linear(), ops=('flip',)))
  state = between_epochs.begin_epoch(method, tiny.start(phase, data), phase.rows)
  walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
  batch, _ = step.batches(phase.spec, method, phase.hyper, state, walks, jnp.asarray(data.images), keys)
  one, two = np.asarray(batch['train']['index'])
  assert (one != two).mean() > 0.7
  views = np.asarray(batch['train']['weak'])
  shared = [(i, j) for i, row in enumerate(one) for j, other in enumerate(two) if row == other]
  same = [np.array_equal(views[0, i], views[1, j]) for i, j in shared]
  assert len(same) > 3 and 0 < np.mean(same) < 1
  trust = types.SimpleNamespace(targets=types.SimpleNamespace(trust=jnp.ones((2, 5))))
  assert {mask.shape for mask in divide_mix.Strategy.build().members(trust).values()} == {(2, 5)}
