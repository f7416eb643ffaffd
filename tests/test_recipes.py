"""Every strategy has a recipe, and every form of every recipe is valid."""

import functools
import importlib
import itertools
import pickle
import re
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

import runs
from configs import base, published
from configs.recipes import common
from noisyjax.config import check
from noisyjax.config.build import build_strategy, find_strategy
from noisyjax.config.check import checked
from noisyjax.config.flat import flat
from noisyjax.config.override import override
from noisyjax.config.plan import phases_of
from noisyjax.config.plugin_fields import SOURCES, STRATEGIES
from noisyjax.data import dataset, prepare
from noisyjax.data.noise import inject
from noisyjax.experiments import grid
from noisyjax.runs import run
from noisyjax.strategies.shared.small_loss import keep_rate
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

NAMES = sorted(plugins.names(STRATEGIES, 'Strategy'))
RECIPES = sorted({p.stem for p in Path(common.__file__).parent.glob('*.py')} - {'__init__', 'common'})
OPTIONS = ('', '-short', '-held', '-short-held')
TRUSTED = {
  'clean_correction': 4000,
  'fine_tune': 1000,
  'fixmatch': 4000,
  'flexmatch': 4000,
  'glc': 1000,
  'l2rw': 1000,
  'meta_weight_net': 1000,
  'mixmatch': 4000,
  'posterior_match': 4000,
  'pseudo_label': 4000,
}


def recipe(name: str):
  return importlib.import_module(f'configs.recipes.{name}')


@pytest.fixture(scope='module', autouse=True)
def plugins_looked_up_once():
  names = mock.patch.object(plugins, 'names', functools.cache(plugins.names))
  with names, mock.patch.object(check, 'complete', lambda *_: None):  # `defaults` below cuts tables off
    yield


@functools.cache
def everything():
  return base.get_config()


@functools.cache
def defaults(name: str):
  """Base's config without the tables of the other strategies that have recipes: it is copied ten times as fast."""
  c = everything().copy_and_resolve_references()
  with c.unlocked():
    for other in set(RECIPES) - {name, 'naive'}:
      del c.strategy[other]
  return c


def get(name: str, form: str):
  """Returns the recipe's config."""
  with mock.patch.object(common.base, 'get_config', defaults(name).copy_and_resolve_references):
    return recipe(name).get_config(form)


def test_every_strategy_has_a_recipe():
  """Except strategies that are only a phase of another strategy's plan."""
  assert set(RECIPES) <= set(NAMES)
  planned = {phase for name in NAMES for phase, *_ in find_strategy(name).build().phases(name, 100) if phase != name}
  assert set(NAMES) - set(RECIPES) <= planned


@pytest.mark.parametrize('name', RECIPES)
def test_every_form_would_train(name):
  for noise, option in itertools.product(common.NOISE, OPTIONS):
    c = get(name, noise + option)
    assert c.strategy.name == name
    checked(c)
    planned = phases_of(c)
    epochs = sum(phase[1] for phase in planned)
    assert planned[-1][0] == name
    if 'short' in option:
      assert epochs == c.epochs == 20
      assert {own.model.name for _, _, own in planned} == {'small_cnn'}
      assert flat(c)['augment.weak'] == ('crop', 'flip')
    else:
      assert epochs == c.epochs > 20
    assert ('held' in option) == (c.data.source == 'images')
    needs = {need for which, _, own in planned for need in build_strategy(own, which).needs}
    rows = 42750 if 'held' in option else 47500
    assert round(c.data.trusted * rows) == (TRUSTED[name] if 'verified' in needs else 0)


@pytest.mark.parametrize('name', RECIPES)
def test_every_form_of_cifar100_would_train(name):
  for noise, option in (('sym90', ''), ('asym40', ''), ('noisy', ''), ('inst40', '-short')):
    c = get(name, f'c100-{noise}{option}')
    checked(c)
    planned = phases_of(c)
    assert planned[-1][0] == name and sum(phase[1] for phase in planned) == c.epochs
    assert (c.data.source, Path(c.data.path).name, c.data.test) == ('cifar', 'cifar-100-python', 'source')
    assert round(c.data.trusted * 47500) == TRUSTED.get(name, 0)
  with pytest.raises(UserError, match=r"form: unknown value 'worse'"):
    get(name, 'c100-worse')
  with pytest.raises(UserError, match=r"form: unknown value 'held'"):
    get(name, 'c100-sym50-held')


@pytest.fixture(scope='module')
def cifar100(tmp_path_factory):
  """The layout of CIFAR-100 with 10 training images of each class, one test image, and CIFAR-100N's labels."""
  home = tmp_path_factory.mktemp('home')
  root = home / 'cifar-100-python'
  root.mkdir()
  rng = np.random.default_rng(0)
  for part, count in (('train', 1000), ('test', 100)):
    data = rng.integers(0, 256, (count, 3072), np.uint8)
    batch = {'fine_labels': (np.arange(count) % 100).tolist(), 'coarse_labels': [0] * count, 'data': data}
    (root / part).write_bytes(pickle.dumps(batch))
  (root / 'meta').write_bytes(pickle.dumps({'fine_label_names': [f'fine {i}' for i in range(100)]}))
  human = {'noisy_label': rng.integers(0, 100, 1000), 'clean_label': np.arange(1000) % 100}
  with zipfile.ZipFile(home / 'CIFAR-100_human.pt', 'w') as archive:  # as PyTorch writes it
    archive.writestr('archive/data.pkl', pickle.dumps(human, 2))
    archive.writestr('archive/version', '3\n')
  return home


@pytest.mark.parametrize('noise', common.NOISE_100)
def test_cifar100_has_the_noise_of_its_form(noise, cifar100, monkeypatch):
  monkeypatch.setenv('NOISYJAX_DATA', str(cifar100))
  c = get('naive', f'c100-{noise}')
  prepared, audit = prepare.prepare(c)
  given, truth = prepared.train.given, audit.truth[prepared.rows]
  assert prepared.train.classes == 100 and 900 <= len(given) < 1000 and len(audit.test[1]) == 100
  found = (given != truth).mean()
  assert abs(found - (0.99 if noise == 'noisy' else common.rate(f'c100-{noise}'))) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_every_recipe_begins_on_cifar100(name, cifar100, tmp_path, monkeypatch):
  monkeypatch.setenv('NOISYJAX_DATA', str(cifar100))
  c = recipe(name).get_config('c100-sym50-short4')
  c.model.name, c.batch_size, c.steps_per_epoch = 'dense', 50, 2
  c.data.trusted = 0.5 if c.data.trusted else 0.0
  assert runs.fit(c, tmp_path / 'run')['epochs'] == 4


PROTOCOL = re.compile(r'(best|last)\b.*; [\d,a-z ]+ training rows, .+ epochs, .*\bstem\b.*; \S.*')


@pytest.mark.parametrize('name', RECIPES)
def test_published_numbers_are_of_forms_and_say_their_protocol(name):
  published = recipe(name).PUBLISHED
  assert set(published) <= {*common.NOISE, *(f'c100-{noise}' for noise in common.NOISE_100)}
  for text in published.values():
    number, _, protocol = text.removesuffix(')').partition(' (')
    assert number[0].isdigit() and text.endswith(')') and PROTOCOL.fullmatch(protocol), text
  assert f'configs/recipes/{name}.py:worse' in recipe(name).__doc__


@pytest.mark.parametrize(
  'name', ['naive', 'co_teaching_plus', 'forward', 'divide_mix', 'elr_plus', 'ssr_plus', 'promix']
)
def test_90_percent_noise_and_cifar100_are_quoted_where_the_source_has_them(name):
  assert {'sym90', 'c100-sym20', 'c100-sym50', 'c100-sym80', 'c100-sym90'} <= set(recipe(name).PUBLISHED)


@pytest.mark.parametrize('name', RECIPES)
def test_a_number_quoted_in_a_docstring_has_a_protocol(name):
  """It is in PUBLISHED, or the paragraph says rows, epochs, stem, and best or last."""
  paragraph = next(part for part in recipe(name).__doc__.split('\n\n') if part.startswith('Published'))
  paragraph = ' '.join(paragraph.split())
  quoted = set(re.findall(r'\d\d\.\d+', paragraph))
  if not quoted <= set(re.findall(r'\d\d\.\d+', ' '.join(recipe(name).PUBLISHED.values()))):
    for word in ('training rows', 'epochs', 'stem', r'best|last'):
      assert re.search(word, paragraph), (name, word)


# What the rerun's "benchmark" logs report of CIFAR-10N (clean, aggre, random1, worse): another stem, rows and epoch.
BENCHMARK_LOGS = {
  '85.50',
  '83.50',
  '81.96',
  '75.48',
  '86.56',
  '85.26',
  '75.62',
  '88.56',
  '87.76',
  '86.75',
  '81.50',
  '87.08',
  '86.62',
  '87.63',
  '84.12',
  '90.09',
  '89.50',
  '88.82',
  '85.18',
  '89.12',
  '88.12',
  '87.31',
  '83.04',
  '89.59',
  '89.36',
  '89.34',
  '86.82',
  '91.53',
  '90.72',
  '90.57',
  '88.99',
}


def test_numbers_of_the_rerun_are_of_its_original_configurations():
  every = [item for name in RECIPES for item in recipe(name).PUBLISHED.items()]
  found = [(form, text) for form, text in every if 'KlemenVovk' in text]
  assert sum(form == 'c100-noisy' for form, _ in found) == 9 and len(found) > 40
  for form, text in found:
    assert 'logs of the original configurations' in text and 'best / last test epoch' in text
    assert form.startswith('c100') or not set(re.findall(r'\d\d\.\d\d', text)) & BENCHMARK_LOGS, text


@pytest.mark.parametrize('name', RECIPES)
def test_a_measured_figure_says_that_the_code_has_changed_since(name):
  """The figures are of one leaderboard, which is older than the departures that were mended after it."""
  paragraph = next(part for part in recipe(name).__doc__.split('\n\n') if part.startswith('Measured'))
  assert 'not yet' in paragraph or ' '.join(paragraph.split()).endswith('The code has changed since.')


def test_a_number_without_a_protocol_fails():
  for text in ('93.10 / 92.49', 'ReScience 2026', 'best test epoch; ProMix, README'):
    assert not PROTOCOL.fullmatch(text)


def test_what_a_method_is_told_is_the_forms():
  for name, noise in itertools.product(('co_teaching', 'co_teaching_plus', 'jocor'), common.NOISE):
    for option in OPTIONS:
      assert get(name, noise + option).strategy[name].forget == common.rate(noise)
  settings = lambda name, field: [get(name, n).strategy[name][field] for n in common.NOISE[:4]]
  assert common.NOISE[:4] == ('sym20', 'sym50', 'sym80', 'asym40')
  assert settings('divide_mix', 'lambda_u') == [0, 25, 25, 0]
  assert settings('promix', 'rho') == [0.7, 0.5, 0.5, 0.5]
  assert settings('jocor', 'agree') == [0.9, 0.9, 0.65, 0.9]
  assert settings('elr', 'strength') == settings('elr_plus', 'strength') == [3, 3, 3, 1]
  assert settings('ssr_plus', 'relabel') == [0.9, 0.8, 0.8, 0.9]
  assert [get('divide_mix', n).strategy.naive.penalty for n in ('sym50', 'asym40')] == [0, 1]


def test_a_recipe_that_follows_the_noise_says_so():
  follows = {}
  for name in RECIPES:
    tables = [flat(get(name, noise)) for noise in common.NOISE]
    numbers = lambda t: {k: v for k, v in t.items() if k.split('.')[0] in ('strategy', 'schedule', 'optim', 'epochs')}
    if any(numbers(t) != numbers(tables[0]) for t in tables):
      c = get(name, 'worse')
      needs = {need for which, _, own in phases_of(c) for need in build_strategy(own, which).needs}
      follows[name] = set(c.told) or 'rate' in needs
  assert follows and all(follows.values())
  assert get('divide_mix', 'worse').told == ('kind of noise', 'noise rate') and get('naive', 'worse').told == ()


@pytest.mark.parametrize('name', RECIPES)
def test_a_short_form_has_the_epochs_it_names(name):
  for epochs in (2, 7):
    c = get(name, f'worse-short{epochs}-held')
    checked(c)
    assert sum(phase[1] for phase in phases_of(c)) == c.epochs == epochs


def test_a_short_form_keeps_the_method_and_shrinks_its_warm_ups():
  c = get('elr_plus', 'worse-short')
  assert (c.ema, c.strategy.elr_plus.alpha) == (0.997, 1.0)
  c = get('cores2', 'worse-short')
  assert tuple(c.strategy.cores2[f] for f in ('wait', 'rise', 'sieve')) == (2.0, 6.0, 6.0)
  assert c.optim.momentum == 0.9
  c = get('divide_mix', 'asym40-short')
  assert (c.strategy.divide_mix.warmup, c.strategy.divide_mix.ramp) == (2, 2.0)
  assert [(name, epochs) for name, epochs, _ in phases_of(c)] == [('naive', 2), ('divide_mix', 18)]
  assert c.strategy.naive.penalty == 1.0


@pytest.mark.parametrize('name', ['co_teaching', 'co_teaching_plus', 'jocor'])
def test_co_teachings_ramp_is_not_walked_twice(name):
  (_, _, first), (_, _, second) = phases_of(get(name, 'worse'))
  assert (first.strategy[name].ramp, second.strategy[name].ramp) == (10.0, 0.0)
  assert keep_rate(0.0, 0.4, 0.0) == pytest.approx(0.6)
  assert keep_rate(0.0, 0.4, 10.0) == 1.0
  assert (first.optim.b1, second.optim.b1) == (0.9, 0.1)


COURSE = sorted(p.stem for p in (Path(common.__file__).parents[1] / 'weak_supervision').glob('[a-z]*.py'))


@pytest.mark.parametrize('form', ('benchmark', 'full'))
@pytest.mark.parametrize('name', [name for name in COURSE if name != 'common'])
def test_the_course_project_s_recipes_would_train(name, form):
  c = importlib.import_module(f'configs.weak_supervision.{name}').get_config(form)
  checked(c)
  assert c.data.test == ('45000:50000' if form == 'benchmark' else '')
  assert not c.data.val or c.data.val_labels == 'verified'  # never the noisy labels


def test_data_that_are_not_there_are_named_with_the_files_expected(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for root, said in ((None, 'not set now'), (tmp_path / 'data', r"'.*/data' now")):
    monkeypatch.delenv('NOISYJAX_DATA', raising=False)
    if root:
      monkeypatch.setenv('NOISYJAX_DATA', str(root))
    c = importlib.import_module('configs.weak_supervision.model_1').get_config()
    expected = rf"data\.path: there is no folder or zip '.*weak_supervision'.*images\.zip, noisy_labels\.csv.*{said}"
    with pytest.raises(UserError, match=expected):
      dataset.load(c.data)
    c = common.get_config('worse-held')
    with pytest.raises(UserError, match=r'noise\.path: there is no file .*worse_label\.npy.*image_order_c10\.npy'):
      inject(np.zeros(3, np.int32), c.noise, np.zeros((3, 2, 2, 3), np.uint8), ('a', 'b'))


def photo_folder(root, labeled=12, unlabeled=6):
  """Makes a folder of photos of several sizes, dark and bright ones, and labels.csv; returns it."""
  random = np.random.default_rng(0)
  (root / 'images').mkdir(parents=True)
  lines = ['image,label']
  for i in range(labeled + unlabeled):
    pixels = random.integers(0, 100, (14 + i % 3, 17, 3)) + 150 * (i % 2)
    Image.fromarray(pixels.astype(np.uint8)).save(root / 'images' / f'{i:02d}.jpg')
    lines.append(f'{i:02d}.jpg,{("dark", "bright")[i % 2] if i < labeled else "undefined"}')
  (root / 'labels.csv').write_text('\n'.join(lines) + '\n')
  return root


@pytest.mark.parametrize('form', published.FORMS)
def test_the_recipe_of_published_data_would_train(form):
  config = checked(published.get_config(form))
  assert form in plugins.names(SOURCES, 'load')
  assert (config.data.source, config.data.test) == (form, 'source')


def test_the_photo_recipe_fits_itself_to_a_folder_of_photos(tmp_path):
  c = importlib.import_module('configs.photos').get_config()
  override(
    c,
    {
      'data.path': str(photo_folder(tmp_path / 'photos')),
      'epochs': 2,
      'steps_per_epoch': -3,
      'data.cache': False,
      'augment.weak': ('crop',),
      'augment.strong': ('crop',),
      'model.small_cnn.widths': (4, 4, 4),
    },
    'test',
  )
  checked(c)
  prepared, audit = prepare.prepare(c)
  assert prepared.train.images.shape[1:] == (15, 15, 3)  # the median short side
  assert len(prepared.val_rows) == 2 and set(prepared.validation[1]) == {0, 1} and audit.test is None
  assert (prepared.train.given < 0).sum() == 6  # the photos without a label are at hand for methods that use them
  result = run.run(c, tmp_path / 'run')
  assert (result['epochs'], result['steps']) == (2, 6)


def test_the_best_cpu_recipe_is_the_benchmark_s_winner():
  c = importlib.import_module('configs.weak_supervision.best_cpu').get_config()
  own = c.strategy.clean_correction
  assert (own.soft, own.posterior, own.every_epoch) == (True, True, True)
  assert [(name, rows.get('rows')) for name, _, rows in c.phases] == [('naive', 'trusted'), ('clean_correction', None)]


def test_a_sweep_file_s_points_are_of_its_recipe():
  for path in (Path(common.__file__).parents[1] / 'sweeps').glob('[a-z]*.py'):
    points = grid.generated(str(path))
    assert points
    for point in points:
      c = everything().copy_and_resolve_references()
      override(c, point, str(path))
