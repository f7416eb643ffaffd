"""Features of images as rows of a run: extracted once, cached, written, read; every kind of method runs on them."""

import csv
import importlib
from types import SimpleNamespace

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import runs
from noisyjax.analysis import file_issues, issues
from noisyjax.config import defaults
from noisyjax.config.override import override
from noisyjax.data import dataset, feature_files, features
from noisyjax.data.training import TrainData
from noisyjax.engine.augment.features import feature_view
from noisyjax.engine.augment.strength import Strength
from noisyjax.engine.net import Net
from noisyjax.models import linear, mlp, small_cnn
from noisyjax.models.layers import standardise
from noisyjax.models.resnet import ResNet
from noisyjax.models.weights import pretrained
from noisyjax.runs import dry_run, in_memory, predict, predict_files
from noisyjax.runs.classifier import NoisyClassifier
from noisyjax.system import parquet, plugins, storage
from noisyjax.system.errors import UserError

MEAN, STD = (10.0, 20.0, 30.0), (40.0, 50.0, 60.0)


@pytest.fixture
def weights(tmp_path, monkeypatch):
  """The text that names a ResNet of one block as an extractor, which wants images of 16 pixels; a cache of its own."""
  resnet18 = importlib.import_module('noisyjax.models.resnet18').Model
  monkeypatch.setattr(resnet18, 'blocks', (1, 0, 0, 0))
  monkeypatch.setattr(ResNet, 'input', pretrained.Input(16, MEAN, STD))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  draw = np.random.RandomState(0).standard_normal
  kept = {'conv1.weight': draw((64, 3, 7, 7)) / 12}
  for i in (1, 2):
    kept[f'layer1.0.conv{i}.weight'] = draw((64, 64, 3, 3)) / 24
  for norm in ('bn1', 'layer1.0.bn1', 'layer1.0.bn2'):
    ones, zeros = np.ones(64), np.zeros(64)
    kept |= dict(zip([f'{norm}.{n}' for n in ('weight', 'bias', 'running_mean', 'running_var')], (ones, zeros) * 2))
    kept[f'{norm}.running_mean'], kept[f'{norm}.running_var'] = zeros, ones
  np.savez(tmp_path / 'net.npz', **kept)
  return f'resnet18:{tmp_path / "net.npz"}'


def pictures(count, seed=0):
  return np.random.RandomState(seed).randint(0, 256, (count, 8, 8, 3)).astype(np.uint8)


def test_features_are_those_of_the_network_that_begins_from_the_weights(weights):
  by = features.extractor(weights)
  images = pictures(5)
  net = Net(by.model, MEAN, STD, size=16, weights=by.weights)
  expected = net.look(*net.init(jax.random.key(0), images[:2]), images)[1][0]
  found = features.extract(images, by)
  assert found.shape == (5, 1, 1, 64) and found.dtype == np.float16
  assert_allclose(found[:, 0, 0], expected, rtol=2e-3, atol=2e-3)


def test_a_size_after_the_name_is_that_of_the_images(weights):
  by, small = features.extractor(weights), features.extractor(f'{weights}@24')
  assert (by.weights.size, small.weights.size) == (16, 24) and by.weights.sha256 == small.weights.sha256
  images = pictures(3)
  found = features.extract(images, by)
  assert np.abs(features.extract(images, small) - found).max() > 1e-3  # and the cache does not take one for the other
  assert features.extractor('efficientnet_lite0@96').weights.size == 96
  with pytest.raises(UserError, match=r"'imagenet@8': expected images of 16 to 1024 pixels, such as @96"):
    features.extractor('efficientnet_lite0@8')


def test_views_differ_and_belong_to_the_image_wherever_it_stands(weights):
  by = features.extractor(weights, views=2)
  images = pictures(4)
  found = features.extract(images, by, use_cache=False)
  assert found.shape == (4, 3, 1, 64)
  assert np.abs(np.diff(found, axis=1)).max((2, 3)).min() > 1e-3
  assert_array_equal(features.extract(images[::-1], by, use_cache=False)[::-1], found)


def test_an_interrupted_extraction_goes_on_where_it_was(weights, monkeypatch):
  monkeypatch.setattr(features, 'BLOCK', 2)
  by, images, calls = features.extractor(weights), pictures(6), []
  compute = features._computed

  def counting(block, by):
    calls.append(len(block))
    if len(calls) == 3:
      raise KeyboardInterrupt
    return compute(block, by)

  monkeypatch.setattr(features, '_computed', counting)
  with pytest.raises(KeyboardInterrupt):
    features.extract(images, by)
  first = features.extract(images, by)
  assert calls == [2, 2, 2, 2]  # the third block was tried twice, the first two once
  assert_array_equal(features.extract(images, by), first)
  assert len(calls) == 4


def test_features_of_a_plug_in_are_those_of_its_code(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  path, computed = tmp_path / 'own_extractor.py', []
  monkeypatch.setattr(features, '_computed', lambda images, by: computed.append(1) or np.full(1, len(computed)))
  by = features.Extractor(str(path), None, SimpleNamespace(sha256='0', size=8))
  for code in ('', '# edited', '# edited'):
    path.write_text(f'class Model:\n  pass\n{code}')
    file = plugins.load('noisyjax.models', str(path), 'Model', 'data.features')
    seen = features._cached(pictures(1), by, True)
  plugins.forget(file)
  assert seen == [2] and len(computed) == 2


def test_a_folder_becomes_a_file_that_a_run_reads(weights, tmp_path):
  (tmp_path / 'photos').mkdir()
  for i, image in enumerate(pictures(4)):
    Image.fromarray(image).save(tmp_path / 'photos' / f'{i}.png')
  shape = feature_files.write(tmp_path / 'photos', tmp_path / 'f.npz', weights)
  kept = feature_files.read(tmp_path / 'f.npz')
  assert shape == (4, 64) and kept['features'].shape == (4, 1, 1, 64)
  assert kept['names'].tolist() == [f'{i}.png' for i in range(4)] and len(set(kept['ids'].tolist())) == 4
  assert str(kept['weights']) == features.extractor(weights).weights.sha256 and str(kept['trained_on']) == 'net.npz'


def test_a_file_that_could_not_be_written_or_read_is_refused_before_the_work(weights, tmp_path, monkeypatch):
  monkeypatch.setattr(feature_files, 'extract', lambda *_: pytest.fail('extracts'))
  for name in ('f', 'f.csv'):
    with pytest.raises(UserError, match=rf'--out: found .*{name}; expected a file that ends in \.npz'):
      feature_files.write(tmp_path, tmp_path / name, weights)
  (tmp_path / 'file').touch()
  with pytest.raises(UserError, match='file: cannot create this folder'):
    feature_files.write(tmp_path, tmp_path / 'file' / 'f.npz', weights)


@pytest.mark.parametrize(
  'name, said',
  [
    ('small_cnn', "^--features: model 'small_cnn' cannot start from weights"),
    ('resnet18', "^--features: 'resnet18' comes without weights; expected a file of them too, resnet18:FILE"),
    ('resnet18:gone.pth', '^--features: .*gone.pth'),
    ('efficientnet_lite0:best', "^--features: model 'efficientnet_lite0' has no weights 'best'"),
    ('efficientnet_lite0@5', '^--features: .*expected images of 16 to 1024 pixels'),
  ],
)
def test_a_message_about_an_extractor_names_the_flag_that_named_it(name, said):
  with pytest.raises(UserError, match=said):
    features.extractor(name, where='--features')


def test_every_format_holds_the_same_features(tmp_path):
  values = np.random.RandomState(0).standard_normal((5, 7)).astype(np.float32)
  np.save(tmp_path / 'f.npy', values)
  np.savez(tmp_path / 'f.npz', embeddings=values)
  pq.write_table(pa.table({'embedding': list(values), 'label': range(5)}), tmp_path / 'f.parquet')
  for name in ('f.npy', 'f.npz', 'f.parquet'):
    assert_allclose(feature_files.read(tmp_path / name)['features'][:, 0, 0], values, rtol=1e-6)


@pytest.mark.parametrize(
  'arrays, said',
  [
    ({'pixels': np.zeros((3, 4))}, 'holds pixels; expected features'),
    ({'features': np.zeros(3)}, r'float64 \(3,\); expected numbers'),
    ({'features': np.array(['a', 'b'])}, 'expected numbers'),
    ({'features': np.zeros((0, 4))}, r'float64 \(0, 4\); expected numbers'),
    ({'features': np.zeros((3, 0, 4))}, r'float64 \(3, 0, 4\); expected numbers'),
    (
      {'features': np.eye(3), 'names': np.array(['a', 'b'])},
      r'names has shape \(2,\); expected one for each of 3 rows',
    ),
    ({'features': np.eye(2), 'names': np.array(['a', ''])}, r'row 1 \(from 0\) of names is empty'),
    ({'features': np.array([[1, 2], [np.nan, 1]])}, r'row 1 \(from 0\) of features is not finite'),
  ],
)
def test_a_file_that_holds_no_features_is_named(tmp_path, arrays, said):
  np.savez(tmp_path / 'f.npz', **arrays)
  with pytest.raises(UserError, match=said):
    feature_files.read(tmp_path / 'f.npz')


def labeled_by(tmp_path, labels, **config):
  """Returns the data set of `f.npz` in `tmp_path` with the labels of a CSV beside it, and the true labels."""
  (tmp_path / 'labels.csv').write_text(labels)
  c = defaults.get_config().data
  c.update({'source': 'features', 'path': str(tmp_path / 'f.npz'), 'labels': 'labels.csv', 'verified': ''} | config)
  return dataset.load(c)


def test_labels_beside_features_find_their_rows_by_name(tmp_path):
  names = np.array(['c.png', 'a.png', 'b.png'])
  np.savez(tmp_path / 'f.npz', features=np.eye(3), names=names.astype('S'), trained_on=np.array(['web'] * 3))
  by_name = 'image,label\na.png,cat\nb.png,dog\nc.png,owl\n'
  data, _ = labeled_by(tmp_path, by_name)
  assert [data.classes[c] for c in data.given] == ['owl', 'cat', 'dog']
  assert data.names.tolist() == names.tolist() and data.pretrained == 'web'
  data, _ = labeled_by(tmp_path, 'label\nowl\ncat\ndog\n')  # without names, in the order of the rows
  assert [data.classes[c] for c in data.given] == ['owl', 'cat', 'dog']
  with pytest.raises(UserError, match='has 2 labels for 3 rows of features'):
    labeled_by(tmp_path, 'label\nowl\ncat\n')
  with pytest.raises(
    UserError, match=r"labels\.csv: 1 of 3 rows of features have no row, the first is 'c.png'; expected"
  ):
    labeled_by(tmp_path, by_name.replace('c.png,owl\n', ''), unlisted='refuse')
  data, _ = labeled_by(tmp_path, by_name.replace('c.png,owl\n', ''))
  assert data.given.tolist() == [-1, 0, 1] and '1 of 3 rows of features have no row' in '\n'.join(data.notes)
  data, true = labeled_by(tmp_path, by_name.replace('c.png,owl\n', ''), unlisted='skip')
  assert (data.names.tolist(), data.given.tolist(), len(data.images), len(true)) == (['a.png', 'b.png'], [0, 1], 2, 2)


def test_rows_of_features_without_names_are_named_by_their_number(tmp_path):
  np.savez(tmp_path / 'f.npz', features=np.eye(12))
  lines = [f'{i},{"cat" if i < 5 else "dog"}\n' for i in range(12)]
  data, _ = labeled_by(tmp_path, 'row,label\n' + ''.join(reversed(lines)))
  assert data.given.tolist() == [0] * 5 + [1] * 7
  one_based = ''.join(f'{i + 1},cat\n' for i in range(12))
  for wrong, said in ((one_based, "'12'"), ('a.png,cat\nb.png,dog\n', "'a.png'")):
    with pytest.raises(UserError, match=rf'names {said}, and the rows of .*f.npz have no names; expected row numbers'):
      labeled_by(tmp_path, 'image,label\n' + wrong)


def test_truth_beside_features_with_labels_is_read_and_other_labels_are_said_to_be_ignored(tmp_path):
  np.savez(tmp_path / 'f.npz', features=np.eye(3), labels=[0, 1, 1])
  np.save(tmp_path / 'truth.npy', [1, 1, 0])
  data, true = labeled_by(tmp_path, 'label\n1\n1\n1\n', truth='truth.npy')
  assert (data.given.tolist(), true.tolist()) == ([0, 1, 1], [1, 1, 0])
  assert 'data.labels: labels.csv is ignored: f.npz has labels of its own.' in data.notes


def test_features_that_float16_cannot_hold_are_refused(weights, monkeypatch):
  monkeypatch.setattr(features, '_forward', lambda by, variables, images, seeds: np.full((len(images), 1, 4), 1e6))
  with pytest.raises(UserError, match=r'resnet18 with .*net\.npz gives features that are not finite'):
    features.extract(pictures(2), features.extractor(weights))


def rows(count=96, width=6, classes=3):
  """Features of three classes that can be told apart, in two views, and 20 % wrong labels."""
  random = np.random.RandomState(0)
  true = np.arange(count) % classes
  values = random.standard_normal((count, 2, 1, width)) + 4 * np.eye(classes, width)[true][:, None, None]
  given = np.where(random.rand(count) < 0.2, (true + 1) % classes, true)
  return np.float16(values), np.int32(given), np.int32(true)


@pytest.mark.parametrize('method, model', [('co_teaching', 'linear'), ('fixmatch', 'mlp')])
def test_methods_learn_from_features(method, model):
  values, given, true = rows()
  given[::4] = -1 if method == 'fixmatch' else given[::4]
  config = defaults.get_config()
  override(config, {'strategy.name': method, 'model.name': model, 'epochs': 6, 'batch_size': 16, 'data.val': ''}, '')
  override(config, {'optim.lr': 1.0 if model == 'linear' else 0.3}, '')
  trained = in_memory.fit(config, TrainData(values, given, np.full(len(given), -1, np.int32), 3))
  assert (trained.probs(values).argmax(1) == true).mean() > 0.8


def test_a_run_computes_features_says_so_and_predicts_images(weights, tmp_path, monkeypatch):
  images = runs.arrays()['images'].repeat(3, -1)
  config = runs.recipe(
    runs.npz(tmp_path / 'data.npz', images=images),
    data__features=weights,
    data__views=1,
    model__name='linear',
    model__mean=(),
    model__std=(),
    optim__lr=1.0,
  )
  result = runs.fit(config, tmp_path / 'run', monkeypatch)
  assert result['knowledge'] == ['pretrained: net.npz'] and result['pretrained'][0]['size'] == 16
  predictor = predict.load(tmp_path / 'run')
  assert predictor.shape == (8, 8, 3)
  samples = parquet.read(tmp_path / 'run' / 'samples.parquet')[0]
  assert_array_equal(predictor(images[samples['row']]), samples['predicted'])
  np.save(tmp_path / 'f.npy', np.zeros((2, 64)))
  with pytest.raises(UserError, match=r'f\.npy is a file of features, and run predicts from images'):
    predict_files.predict_files([predictor], str(tmp_path / 'f.npy'))


def test_a_dry_run_computes_no_features(weights, tmp_path, monkeypatch):
  monkeypatch.setattr(features, '_computed', None)
  path = runs.npz(tmp_path / 'data.npz', images=runs.arrays()['images'].repeat(3, -1))
  said = dry_run.text(runs.recipe(path, data__features=weights, data__views=1, model__name='linear'))
  assert '96 training rows of 2x1x64' in said and f'all images pass once through {weights}' in said


def test_a_file_of_features_is_a_source(tmp_path, monkeypatch, caplog):
  values, given, true = rows(168)
  classes = np.array(['chihuahua', 'muffin', 'pit'])
  kept = {'labels': given, 'true': true, 'classes': classes, 'trained_on': np.array('ImageNet-1k')}
  np.savez(tmp_path / 'f.npz', features=values[:, 0, 0], **kept)
  config = runs.recipe(tmp_path / 'f.npz', model__name='linear', model__mean=(), model__std=(), optim__lr=1.0)
  config.data.source = 'features'
  with caplog.at_level('INFO', 'noisyjax'):
    result = runs.fit(config, tmp_path / 'run', monkeypatch)
  assert result['audit']['selected'] > 0.9
  assert result['knowledge'] == ['ImageNet-1k has classes of these names: chihuahua', 'pretrained: ImageNet-1k']
  assert 'told: ImageNet-1k has classes of these names: chihuahua; pretrained: ImageNet-1k.' in caplog.text

  predictor = predict.load(tmp_path / 'run')
  kept = parquet.read(tmp_path / 'run' / 'samples.parquet')[0]
  expected = kept['predicted']
  assert_array_equal(predictor(values[kept['row'], :1]), expected)  # [n, V, 1, F]
  assert_array_equal(predictor(values[kept['row'], 0, 0]), expected)  # [n, F]
  assert predictor(values[kept['row'][0], 0, 0]) == expected[0]  # [F]
  with pytest.raises(UserError, match=r'run: found float16 \(168, 5\); expected features of 6 numbers'):
    predictor(values[:, 0, 0, :5])
  with pytest.raises(UserError, match=r'run: row 2 \(from 0\) of the features is not finite'):
    predictor(np.where(np.arange(168)[:, None] == 2, np.nan, values[:, 0, 0]))
  named = '\n'.join(f'{i},{classes[label]}' for i, label in enumerate(true))
  (tmp_path / 'truth.csv').write_text(f'file,label\n{named}\n')
  found = predict_files.predict_files([predictor], str(tmp_path / 'f.npz'), str(tmp_path / 'truth.csv'))
  assert_array_equal(found.labels['run'][kept['row']], expected)
  assert_array_equal(found.truth, true)
  np.save(tmp_path / 'truth.npy', true)  # in the order of the rows
  found = predict_files.predict_files([predictor], str(tmp_path / 'f.npz'), str(tmp_path / 'truth.npy'))
  assert_array_equal(found.truth, true)
  with pytest.raises(
    UserError, match=r'run was trained on a file of features.*\(.npz, .npy, .parquet\) with 6 features'
  ):
    predict_files.predict_files([predictor], str(tmp_path))


def test_gray_images_have_the_features_of_their_color_copies(weights):
  by, gray = features.extractor(weights), pictures(3)[..., :1]
  assert_array_equal(features.extract(gray, by), features.extract(gray.repeat(3, -1), by))
  with pytest.raises(UserError, match='images have 4 channels; expected 3'):
    features.extract(np.zeros((1, 8, 8, 4), np.uint8), by)


def test_models_and_rows_of_different_kinds_are_refused(weights):
  config = defaults.get_config()
  config.data.val = ''
  values, given, _ = rows()
  with pytest.raises(UserError, match="'small_cnn' cannot learn from features of 6 numbers; expected linear or mlp"):
    in_memory.fit(config, TrainData(values, given, given, 3))
  config.data.features = weights
  with pytest.raises(UserError, match=r'takes images; with data\.features=.*expected linear or mlp'):
    in_memory.fit(config, TrainData(values, given, given, 3))
  config.data.features, config.model.name = '', 'linear'
  with pytest.raises(UserError, match=r"'linear' cannot learn from images of 8x8; expected data\.features"):
    in_memory.fit(config, TrainData(pictures(96), given, given, 3))


def test_a_view_is_drawn_into_the_place_where_models_look():
  image = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
  drawn = {float(feature_view(jax.random.key(i), image, Strength())[0, 0, 0]) for i in range(20)}
  assert drawn == {0.0, 2.0, 4.0}


def test_features_are_standardised_by_the_training_rows():
  values = np.float32(np.random.RandomState(0).standard_normal((50, 1, 1, 4)) * [1, 2, 3, 4] + [5, 6, 7, 8])
  net = Net(linear.Model(3), (0.0,), (1.0,))
  params, stats = net.init(jax.random.key(0), values)
  seen = np.asarray(net.look(params, stats, values)[1][0]) * np.sqrt(4)
  assert_allclose(seen.mean(0), 0, atol=1e-5)
  assert_allclose(seen.std(0), 1, rtol=1e-4)


def test_find_and_the_classifier_learn_from_features(weights, tmp_path):
  """Dark and bright photos, two of them under the other's name."""
  bright = np.arange(24) % 2
  images = (pictures(24) // 4 + 120 * bright[:, None, None, None]).astype(np.uint8)
  images[23] = images[21]
  wrong = np.array([3, 10])
  given = bright.copy()
  given[wrong] = 1 - given[wrong]
  for i, image in enumerate(images):
    folder = tmp_path / 'photos' / ('dark', 'light')[given[i]]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / f'{i:02}.png')
  found, _ = file_issues.find_files(tmp_path / 'photos', '', tmp_path / 'found', features=weights, folds=3)
  names = [line.split(',')[0] for line in (tmp_path / 'found' / 'issues.csv').read_text().splitlines()[1:3]]
  assert {name.split('/')[1] for name in names} == {'03.png', '10.png'} and found.flagged[:2].all()

  rows = list(csv.DictReader((tmp_path / 'found' / 'issues.csv').open()))
  assert {row['file']: row['duplicate_group'] for row in rows if row['duplicate_group']} == {
    'light/21.png': 'light/21.png',
    'light/23.png': 'light/21.png',
  }
  assert all(float(row['knn_agreement']) < 0.2 for row in rows[:2]) and all(float(row['outlier']) > 0 for row in rows)
  frame = found.to_frame()
  assert [f'{value:.3f}' for value in frame.knn_agreement] == [row['knn_agreement'] for row in rows]
  plain = issues.find_label_issues(labels=found.given, probs=found.probs[found.row])
  assert_array_equal(plain.row, np.arange(24))  # ranked by the probabilities alone
  page = (tmp_path / 'found' / 'issues.html').read_text()
  assert 'neighbours with this label' in page and 'told: pretrained: net.npz' in page
  assert storage.read_json(tmp_path / 'found' / 'find.json')['told'] == ['pretrained: net.npz']

  classifier = NoisyClassifier(features=weights, epochs=2).fit(images, bright)
  assert classifier.told_ == ('pretrained: net.npz',) and NoisyClassifier(epochs=1).fit(images, bright).told_ == ()
  assert classifier.shape_ == (8, 8, 3) and (classifier.predict(images) == bright).all()


def test_features_are_standardised_by_the_moments_of_float64():
  rows = np.random.default_rng(0).standard_normal((5000, 96)).astype(np.float32)
  rows = (rows * np.linspace(0.01, 5, 96, dtype=np.float32) + 1000).astype(np.float32)  # the mean is far from zero
  rows[:, 7] = 3.0
  found = standardise.standardised({'batch_stats': {}}, rows)['batch_stats']['standardise']
  exact = rows.astype(np.float64)
  np.testing.assert_allclose(found['mean'], exact.mean(0), rtol=1e-7)
  np.testing.assert_allclose(found['deviation'], np.maximum(exact.std(0), 1e-3), rtol=1e-6)


def test_a_million_rows_of_features_are_not_all_looked_at():
  looks = lambda model, shape: Net(model, (0.0,), (1.0,)).shown(shape)
  assert looks(mlp.Model(2), (1, 1, 1280)) == 52_428
  assert looks(mlp.Model(2), (4, 1, 1280)) == 13_107  # four views a row
  assert looks(small_cnn.Model(2), (32, 32, 3)) == 8192  # images are limited by their pixels
