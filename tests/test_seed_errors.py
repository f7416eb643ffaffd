"""The errors of the course project that this package began with, and for each a test that it cannot occur here."""

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

import noisyjax
import runs
from noisyjax.data import prepare
from noisyjax.models import histogram
from noisyjax.runs import predict_files
from noisyjax.system import parquet
from noisyjax.system.errors import UserError

CORRECTION = {'strategy__name': 'clean_correction', 'batch_size': 24, 'epochs': 4}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


def test_a_run_is_evaluated_with_its_own_networks(data, tmp_path):
  # The seed's error: `model_II` called `model1.predict`, so the scores printed for Model II were Model I's.
  images, true = runs.arrays()['images'], runs.arrays()['true']
  predicted = {}
  for name, overrides in {'model_I': {'epochs': 1}, 'model_II': CORRECTION}.items():
    result = runs.fit(runs.recipe(data, **overrides), tmp_path / name)
    predicted[name] = noisyjax.load(tmp_path / name)(images)
    assert (predicted[name] == true)[128:].mean() == pytest.approx(result['audit']['selected'])
    samples, _ = parquet.read(tmp_path / name / 'samples.parquet')
    np.testing.assert_array_equal(samples['predicted'], predicted[name][:128])
  assert (predicted['model_I'] != predicted['model_II']).any()
  members = [noisyjax.load(tmp_path / name) for name in predicted]
  folder = tmp_path / 'images'
  folder.mkdir()
  for i, image in enumerate(images[128:], 1):
    Image.fromarray(image[..., 0]).save(folder / f'test{i:05}.png')
  columns = predict_files.predict_files(members, str(folder)).labels
  for name in predicted:
    np.testing.assert_array_equal(columns[name], predicted[name][128:])


def test_a_run_is_asked_on_the_pixels_it_was_trained_on(data, tmp_path):
  # The seed's error: trained on 0..255, its functions divided by 255 before they asked the model.
  runs.fit(runs.recipe(data), tmp_path / 'w')
  predictor, images = noisyjax.load(tmp_path / 'w'), runs.arrays()['images']
  samples, _ = parquet.read(tmp_path / 'w/samples.parquet')
  np.testing.assert_array_equal(predictor(images[:128]), samples['predicted'])
  np.testing.assert_array_equal(predictor(images[:128].astype(np.float32)), samples['predicted'])
  with pytest.raises(UserError, match='they seem to be divided by 255'):
    predictor(images[0] / 255)


@pytest.mark.parametrize('train', ['0:96', '40:96', '10:20,60:90'])
def test_images_and_labels_are_taken_by_the_same_rows(data, train):
  # The seed's error: `noisy_labels[10000:]` beside `imgs[:10000]`: every image with another one's label.
  arrays = runs.arrays()
  prepared, audit = prepare.prepare(runs.recipe(data, data__train=train))
  number = {image.tobytes(): row for row, image in enumerate(arrays['images'])}
  parts = [
    (prepared.rows, prepared.train.images, prepared.train.given, arrays['labels']),
    (prepared.rows, prepared.train.images, prepared.train.verified, arrays['verified']),
    (prepared.val_rows, *prepared.validation, arrays['labels']),
    (audit.test_rows, *audit.test, arrays['true']),
  ]
  for rows, images, labels, source in parts:
    found = np.array([number[image.tobytes()] for image in np.asarray(images)])  # which image it is, by its pixels
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(labels, source[found])
  assert len({*prepared.rows} | {*prepared.val_rows} | {*audit.test_rows}) == sum(len(p[0]) for p in parts[1:])


def test_accuracy_is_measured_on_labels_that_no_model_made(data, tmp_path):
  # The seed's error: Model II's "65 %" was measured on a part of the labels that its own corrector had written.
  result = runs.fit(runs.recipe(data, **CORRECTION), tmp_path / 'w')
  arrays = runs.arrays()
  samples, _ = parquet.read(tmp_path / 'w/samples.parquet')
  train = samples['split'] == 'train'
  assert (samples['label'] != samples['given'])[train].any()  # the corrector did write labels …
  held = ~train
  assert (samples['label'][held] == -1).all()  # … none of a held row
  np.testing.assert_array_equal(samples['given'][held], arrays['labels'][96:128])
  accuracy = (samples['predicted'] == arrays['labels'][:128])[held].mean()
  best = runs.lines(tmp_path / 'w')[result['best_epoch'] - 1]
  assert result['validation']['labels'] == 'given' and result['validation']['best'] == pytest.approx(accuracy)
  assert best['val_accuracy'] == pytest.approx(accuracy)
  tested = (noisyjax.load(tmp_path / 'w')(arrays['images'][128:]) == arrays['true'][128:]).mean()
  assert result['audit']['selected'] == pytest.approx(tested) and result['audit']['test_labels'] == 'true'


def test_validation_is_a_stratified_draw_or_says_which_rows_and_labels_it_is(tmp_path):
  # The seed's error: `validation_split=0.1` takes the end of the array, where all labels were noisy.
  arrays = runs.arrays()
  order = np.argsort(arrays['labels'], kind='stable')  # sorted by class: the end of it is one class only
  path = runs.npz(tmp_path / 'sorted.npz', **{k: v[order] for k, v in arrays.items() if k != 'classes'})
  config = runs.recipe(path, data__train=':', data__val='0.25', data__test='')
  prepared, _ = prepare.prepare(config)
  counts = np.bincount(prepared.validation[1], minlength=3)
  assert counts == pytest.approx(np.bincount(arrays['labels']) / 4, abs=1)
  assert (np.diff(prepared.val_rows) > 1).any() and prepared.val_rows[-1] - prepared.val_rows[0] > 100
  # Clean validation is asked for by name, needs rows that have such labels, and is on record as such.
  clean = runs.recipe(path, data__train=':', data__val='0.25', data__test='', data__val_labels='verified')
  prepared, _ = prepare.prepare(clean)
  np.testing.assert_array_equal(prepared.validation[1], prepared.data.verified[prepared.val_rows])
  assert (prepared.validation[1] >= 0).all()
  result = runs.fit(clean, tmp_path / 'w')
  assert result['validation']['labels'] == 'verified'
  assert f'{len(prepared.val_rows)} verified validation labels' in result['knowledge']
  unchecked = np.flatnonzero(prepared.data.verified < 0)[:3]
  rows = ','.join(f'{r}:{r + 1}' for r in unchecked)
  with pytest.raises(UserError, match=r'data\.val_labels: .verified., but 3 of the 3 rows of data\.val have no'):
    prepare.prepare(runs.recipe(path, data__val=rows, data__val_labels='verified'))


def test_features_and_test_images_stay_in_order(data, tmp_path):
  # The seed's error: features or test images in another order than the labels beside them (a shuffled feature matrix,
  # a folder in whatever order the disk lists it).
  arrays = runs.arrays()
  features = histogram.histograms(arrays['images'], 5)
  for row in (0, 17, 167):
    expected = np.histogram(arrays['images'][row], bins=np.linspace(0, 255, 6))[0]
    np.testing.assert_array_equal(features[row], expected)
  runs.fit(runs.recipe(data, model__name='histogram'), tmp_path / 'w')
  predictor = noisyjax.load(tmp_path / 'w')
  oracle = LogisticRegression(max_iter=100, random_state=0).fit(features[:96], arrays['labels'][:96])
  np.testing.assert_array_equal(predictor(arrays['images']), oracle.predict(features))
  order = np.random.default_rng(0).permutation(40)
  folder = tmp_path / 'images'
  folder.mkdir()
  for i in order:  # made in another order than that of their names
    Image.fromarray(arrays['images'][128 + i, ..., 0]).save(folder / f'test{i + 1:05}.png')
  found = predict_files.predict_files([predictor], str(folder))
  columns, names = found.labels, found.names
  assert list(names.values()) == sorted(names.values())
  np.testing.assert_array_equal(columns['w'], predictor(arrays['images'][128:]))
