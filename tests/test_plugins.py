"""Plug-ins in files of one's own: found by path, recorded by content, and refused when they are no longer what they
were."""

import jax
import numpy as np
import pytest

import noisyjax
import runs
from noisyjax.config.check import checked
from noisyjax.config.override import defaults, override
from noisyjax.config.plan import phases_of
from noisyjax.config.plugin_fields import adopt
from noisyjax.engine import step
from noisyjax.engine.augment import ops
from noisyjax.engine.augment.strength import Strength
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

METHOD = '''
import jax
from noisyjax.engine import losses
from noisyjax.engine.strategy import Strategy as Base, Traced, supervised


class Strategy(Base):
  """Cross-entropy times a number.

  Attributes:
    factor: the number.
  """

  factor: Traced = 1.0
  kind: str = 'plain'

  def loss(self, params, state, batch, ctx):
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])
    return supervised(self.factor * losses.cross_entropy(logits, b['target']), b, logits)
'''
MODEL = """
from flax import linen as nn


class Model(nn.Module):
  classes: int = 10
  hidden: int = 8

  @nn.compact
  def __call__(self, images, train):
    x = nn.relu(nn.Dense(self.hidden, name='hidden')(images.reshape(len(images), -1)))
    return nn.Dense(self.classes, name='head')(x), x
"""
BARE = MODEL.replace('  hidden: int = 8\n', '').replace('classes: int = 10', 'hidden: int\n  classes: int = 10')
SOURCE = """
import numpy as np
from noisyjax.data import dataset


def load(config):
  rng = np.random.default_rng(0)
  labels = np.arange(168, dtype=np.int32) % 3
  images = (rng.integers(0, 100, (168, 8, 8, 1)) + 50 * labels[:, None, None, None]).astype(np.uint8)
  return dataset.make(images, labels, ('ant', 'bee', 'cat')), labels
"""
OP = """
def op(key, image, strength):
  return image * 0 + 7.0
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
  """Each test starts without loaded plug-ins, in a separate folder."""
  monkeypatch.setattr(plugins, '_files', {})
  monkeypatch.setattr(ops, 'OPS', dict(ops.OPS))
  monkeypatch.chdir(tmp_path)


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


def overridden(config, **values):
  override(config, {k.replace('__', '.'): v for k, v in values.items()}, 'test')
  return config


def test_every_kind_of_plug_in_is_found_by_the_path_of_its_file_and_recorded(tmp_path, monkeypatch):
  for name, text in (('a_method', METHOD), ('a_model', MODEL), ('a_source', SOURCE), ('an_op', OP)):
    write(tmp_path / f'{name}.py', text)
  config = overridden(
    runs.recipe(),
    strategy__name='./a_method.py',
    strategy__a_method__factor=0.5,
    model__name='a_model.py',
    model__a_model__hidden=4,
    data__source=str(tmp_path / 'a_source.py'),
    augment__weak=('flip', './an_op.py'),
    augment__strong=('./an_op.py',),
    data__trusted=0.0,
    noise__kind='none',
  )
  assert (config.strategy.name, config.model.name, config.data.source) == ('a_method', 'a_model', 'a_source')
  assert config.augment.weak == ('flip', 'an_op')
  result = runs.fit(config, tmp_path / 'w', monkeypatch)
  assert (result['strategy'], result['model'], result['data']['source']) == ('a_method', 'a_model', 'a_source')
  recorded = runs.read_json(tmp_path / 'w/config.json')
  assert recorded['strategy']['a_method'] == {'factor': 0.5, 'kind': 'plain'} and 'naive' not in recorded['strategy']
  assert {k.rpartition('.')[2]: len(v['sha256']) for k, v in recorded['plugins'].items()} == dict.fromkeys(
    ('a_method', 'a_model', 'a_source', 'an_op'), 64
  )
  keys = jax.random.split(jax.random.key(0), 2)
  pixels = ops.augment(config.augment.weak, Strength(), keys, np.ones((2, 4, 4, 1)))
  assert (np.asarray(pixels) == 7).all()
  assert noisyjax.load(tmp_path / 'w')(np.zeros((8, 8, 1), np.uint8)) in range(3)


def test_a_recipes_plug_in_lies_beside_it_and_may_be_one_of_its_phases(tmp_path):
  write(tmp_path / 'there/mine.py', METHOD)
  config = runs.recipe()
  config.phases = (('naive', 1, {}), ('./mine.py', 2, {'optim.lr': 0.01}))
  with pytest.raises(UserError, match=r"strategy.name: there is no file './mine.py'"):
    checked(config.copy_and_resolve_references())
  adopt(config, tmp_path / 'there')
  assert [name for name, _, _ in phases_of(config)] == ['naive', 'mine']
  assert config.strategy.mine.factor == 1.0


def test_a_plug_in_is_of_the_configs_that_name_it_alone(tmp_path):
  write(tmp_path / 'mine.py', METHOD)
  before = runs.recipe()
  overridden(runs.recipe(), strategy__name='./mine.py')
  defaults.cache_clear()  # as where nothing was checked before
  checked(before)
  assert 'mine' not in runs.recipe().strategy


def test_flags_name_plug_ins_and_their_fields_from_the_current_folder_or_beside_the_recipe(data, tmp_path):
  write(tmp_path / 'there/mine.py', METHOD)
  recipe = runs.recipe_file(tmp_path / 'there/recipe.py', runs.recipe(data))
  write(tmp_path / 'an_op.py', OP)
  named = ('--config.strategy.mine.factor=0.5', '--config.strategy.name=./mine.py')  # in any order
  ops = '--config.augment.weak=crop,./an_op.py'
  train = ['train', f'--config={recipe}']
  wrong = runs.launch_all([[*train, '--config.strategy.name=./mien.py', '--workdir=wrong']], cwd=tmp_path)[0]
  code, out, err = runs.launch(*train, *named, ops, '--config.epochs=1', f'--workdir={tmp_path / "w"}', cwd=tmp_path)
  assert code == 0 and '| mine ' in out, err
  config = runs.read_json(tmp_path / 'w/config.json')
  assert config['strategy'] == {'name': 'mine', 'mine': {'factor': 0.5, 'kind': 'plain'}}
  assert config['augment']['weak'] == ['crop', 'an_op'] and len(config['plugins']) == 2
  assert wrong[0] == 2 and "there is no file './mien.py', nor in" in wrong[2] and not (tmp_path / 'wrong').exists()


def test_an_edited_plug_in_is_refused_by_resume_and_by_load_and_welcome_again_as_it_was(data, tmp_path, monkeypatch):
  file = write(tmp_path / 'mine.py', METHOD)
  config = lambda: overridden(runs.recipe(data, epochs=1), strategy__name='./mine.py')
  result = runs.fit(config(), tmp_path / 'w', monkeypatch)
  file.write_text(METHOD + '# another thought\n')
  with pytest.raises(UserError, match=r'mine\.py: the plug-in has changed \(sha256 \w{12}… → \w{12}…\)'):
    runs.fit(config(), tmp_path / 'w', monkeypatch)
  file.write_text('raise SystemExit("what was not recorded is not run")')
  with pytest.raises(UserError, match=r'mine\.py: the plug-in has changed .* since the run was trained'):
    noisyjax.load(tmp_path / 'w')
  file.unlink()
  with pytest.raises(UserError, match=r'mine\.py: the run was trained with this plug-in, but the file is missing'):
    noisyjax.load(tmp_path / 'w')
  write(tmp_path / 'elsewhere/mine.py', METHOD)
  monkeypatch.chdir(tmp_path / 'elsewhere')  # a moved file is the same file
  assert noisyjax.load(tmp_path / 'w').classes == runs.CLASSES
  again = overridden(runs.recipe(data, epochs=1), strategy__name='./mine.py')
  assert runs.fit(again, tmp_path / 'w', monkeypatch) == result


def test_methods_from_files_share_no_compiled_step(data, tmp_path):
  """Methods with equal fields and different losses are traced separately; an edited one is traced again."""
  write(tmp_path / 'one.py', METHOD)
  file = write(tmp_path / 'two.py', METHOD.replace('self.factor *', '2 * self.factor *'))
  loss = lambda folder: runs.lines(folder)[0]['objective']
  config = lambda name: overridden(runs.recipe(data, epochs=1, optim__lr=0.0, augment__weak=()), strategy__name=name)
  for name in ('one', 'two'):
    runs.fit(config(f'./{name}.py'), tmp_path / name)
  assert loss(tmp_path / 'two') == pytest.approx(2 * loss(tmp_path / 'one'))
  assert step.train_step._cache_size()
  file.write_text(METHOD.replace('self.factor *', '3 * self.factor *'))
  runs.fit(config('./two.py'), tmp_path / 'three')
  assert loss(tmp_path / 'three') == pytest.approx(3 * loss(tmp_path / 'one'))


def test_an_edited_op_is_compiled_anew(tmp_path):
  file = write(tmp_path / 'an_op.py', OP)
  view = jax.jit(ops.augment, static_argnums=0)
  keys = jax.random.split(jax.random.key(0), 1)
  for value in (7, 8):
    file.write_text(OP.replace('7.0', f'{value}.0'))
    config = overridden(runs.recipe(), augment__weak=('./an_op.py',))
    assert (np.asarray(view(config.augment.weak, Strength(), keys, np.ones((1, 4, 4, 1)))) == value).all()


@pytest.mark.parametrize(
  ('field', 'name', 'text', 'said'),
  [
    ('strategy.name', 'none.py', None, r"strategy\.name: there is no file './none\.py'"),
    ('strategy.name', 'elr.py', METHOD, r"'elr' is already used by noisyjax. Rename the file"),
    ('model.name', 'dtype.py', MODEL, r"'dtype' is already used by noisyjax. Rename the file"),
    ('augment.weak', 'flip.py', OP, r"'flip' is already used by noisyjax. Rename the file"),
    ('strategy.name', 'my-method.py', METHOD, r'expected a file name of letters, digits and _'),
    ('strategy.name', 'wrong.py', 'x = 1', r'wrong\.py does not define Strategy; expected a file that does'),
    (
      'strategy.name',
      'base.py',
      'from noisyjax.engine.strategy import Strategy',
      r'Strategy from noisyjax\.engine\.strategy;',
    ),
    ('model.name', 'broken.py', 'x = 1\ny = z', r"broken\.py, line 2: NameError: name 'z' is not defined"),
    ('model.name', 'broken.py', 'def f(:', r'broken\.py, line 1: SyntaxError'),
    ('data.source', 'quits.py', 'raise SystemExit(3)', r'quits\.py, line 1: SystemExit: 3'),
    ('model.name', 'bare.py', BARE, r'Model\.hidden has no default'),
    ('augment.weak', 'op.py', 'OP = 1', r'op\.py does not define op; expected'),
    ('strategy.name', 'plain.py', 'class Strategy: pass', r'Strategy is .* a subclass of noisyjax\.engine'),
    ('model.name', 'plain.py', 'class Model: pass', r'plain\.py: Model is not a Flax module'),
    (
      'strategy.name',
      'worded.py',
      METHOD.replace('factor: Traced = ', 'factor: Traced = "a" or '),
      r"worded\.py: Strategy\.factor is 'a'; expected a number",
    ),
    (
      'strategy.name',
      'undeclared.py',
      METHOD.replace('factor: Traced', 'factor: float'),
      r'strategy\.undeclared\.factor: found the annotation float; expected Traced',
    ),
  ],
)
def test_what_is_no_plug_in_is_a_users_mistake(tmp_path, field, name, text, said):
  if text is not None:
    write(tmp_path / name, text)
  value = f'./{name}' if field != 'augment.weak' else ('crop', f'./{name}')
  with pytest.raises(UserError, match=said):
    override(runs.recipe(), {field: value}, 'test')


def test_two_files_of_one_name_are_told_apart_by_refusal(tmp_path):
  write(tmp_path / 'a/mine.py', METHOD)
  write(tmp_path / 'b/mine.py', METHOD + '# other\n')
  write(tmp_path / 'c/mine.py', METHOD)
  config = overridden(runs.recipe(), strategy__name='a/mine.py')
  overridden(config, strategy__name='c/mine.py')  # the same content
  with pytest.raises(UserError, match=r'b/mine\.py and .*a/mine\.py have the same name; expected different names'):
    overridden(config, strategy__name='b/mine.py')
