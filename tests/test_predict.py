import csv
import shutil
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report

import noisyjax
import runs
from noisyjax import predict
from noisyjax.errors import UserError
from noisyjax.models import onednn


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(scope='module')
def pair(data, tmp_path_factory):
  """Two runs that differ by seed."""
  folder = tmp_path_factory.mktemp('runs')
  with pytest.MonkeyPatch.context() as patch:
    for seed in range(2):
      runs.fit(runs.recipe(data, seed=seed), folder / f'seed={seed}', patch)
  return folder / 'seed=0', folder / 'seed=1'


@pytest.fixture(scope='module')
def images():
  return runs.arrays()['images'][128:]  # [40, 8, 8, 1]


@pytest.fixture(scope='module')
def files(images, tmp_path_factory):
  """The seed's hidden test folder: test00001.png …, and their labels in that order."""
  folder = tmp_path_factory.mktemp('test') / 'images'
  folder.mkdir()
  for i, image in reversed(list(enumerate(images, 1))):
    Image.fromarray(image[..., 0]).save(folder / f'test{i:05}.png')
  labels = folder.parent / 'labels.csv'
  labels.write_text('\n'.join(map(str, runs.arrays()['true'][128:])) + '\n')
  return folder, labels


# One run as a function.


@pytest.mark.skipif(not onednn.available(), reason='no oneDNN')
def test_a_run_of_another_machines_convolutions_predicts_here(data, images, tmp_path, monkeypatch):
  config = runs.recipe(data, model__name='small_cnn', model__conv='amx', epochs=1)
  config.model.small_cnn.widths = (4,)
  runs.fit(config, tmp_path / 'run', monkeypatch)
  there = noisyjax.load(tmp_path / 'run').probs(images)
  monkeypatch.setattr(onednn, '_library', lambda: None)
  jax.clear_caches()  # nothing stays of what oneDNN computed
  np.testing.assert_allclose(noisyjax.load(tmp_path / 'run').probs(images), there, atol=0.02)


def test_one_image_gives_one_label_and_a_batch_an_array(pair, images):
  predictor = noisyjax.load(pair[0])
  assert predictor.classes == runs.CLASSES and predictor.shape == (8, 8, 1)
  labels, probs = predictor(images), predictor.probs(images)
  assert labels.shape == (40,) and labels.dtype == np.int32
  assert probs.shape == (40, 3)
  np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
  one = predictor(images[3])
  assert type(one) is int and one == labels[3]
  np.testing.assert_allclose(predictor.probs(images[3]), probs[3], rtol=1e-5)
  assert predictor(images[:0]).shape == (0,) and predictor.probs(images[:0]).shape == (0, 3)


def test_uint8_and_floats_up_to_255_are_the_same(pair, images):
  predictor = noisyjax.load(pair[0])
  for dtype in (np.float32, np.float64, np.int64):
    np.testing.assert_array_equal(predictor(images.astype(dtype)), predictor(images))
  np.testing.assert_allclose(predictor.probs(images.astype(np.float32)), predictor.probs(images), rtol=1e-5)


def test_a_predictor_is_accurate_where_the_run_was(pair, images):
  result = runs.read_json(pair[0] / 'result.json')
  accuracy = (noisyjax.load(pair[0])(images) == runs.arrays()['true'][128:]).mean()
  assert accuracy == pytest.approx(result['audit']['selected'])
  assert accuracy > 0.6  # it learnt what there is to learn, so the tests above compare something


def test_what_is_no_image_in_0_to_255_is_refused(pair, images):
  predictor = noisyjax.load(pair[0])
  with pytest.raises(UserError, match=r'floats in \[0, 0\.\d+\]: they seem to be divided by 255'):
    predictor(images / 255)
  with pytest.raises(UserError, match=r'found values in \[-1, .*expected 0 to 255'):
    predictor(images.astype(np.float32) / 127.5 - 1)
  with pytest.raises(UserError, match='expected 0 to 255'):
    predictor(np.full((8, 8, 1), np.nan))
  for shape in ((8, 8), (8, 8, 3), (16, 16, 1), (2, 2, 8, 8, 1)):
    with pytest.raises(UserError, match=r'found shape .*expected \(8, 8, 1\) or \(n, 8, 8, 1\)'):
      predictor(np.zeros(shape, np.uint8))
  assert isinstance(predictor(np.zeros((8, 8, 1), np.float32)), int)  # black is no sign of a division


def test_best_and_last_are_the_epochs_they_say(data, tmp_path, monkeypatch, images):
  runs.fit(runs.recipe(data, epochs=6, optim__lr=3.0), tmp_path / 'w', monkeypatch)
  tested = [a['test_accuracy'] for a in runs.lines(tmp_path / 'w', 'audit.jsonl')]
  best = runs.read_json(tmp_path / 'w/result.json')['best_epoch']
  true = runs.arrays()['true'][128:]
  accuracy = lambda select: (noisyjax.load(tmp_path / 'w', select)(images) == true).mean()
  assert accuracy('best') == accuracy('') == pytest.approx(tested[best - 1])
  assert accuracy('last') == pytest.approx(tested[-1])
  with pytest.raises(UserError, match=r"select: unknown value 'lst'\. Did you mean 'last'"):
    noisyjax.load(tmp_path / 'w', 'lst')


def test_the_networks_of_the_last_phase_are_loaded_as_they_were(data, tmp_path, monkeypatch, images):
  plan = (
    ('naive', 1, {}),
    ('naive', 2, {'reset': 'all', 'model.dense.width': 8, 'strategy.naive.networks': 2}),
  )  # fmt: skip
  runs.fit(runs.recipe(data, phases=plan), tmp_path / 'w', monkeypatch)
  tested = runs.read_json(tmp_path / 'w/result.json')['audit']['selected']
  assert (noisyjax.load(tmp_path / 'w')(images) == runs.arrays()['true'][128:]).mean() == pytest.approx(tested)


def test_what_is_no_finished_run_or_damaged_is_named(data, tmp_path, monkeypatch):
  with pytest.raises(UserError, match='nothing: not a finished run'):
    noisyjax.load(tmp_path / 'nothing')
  runs.fit(runs.recipe(data), tmp_path / 'w', monkeypatch)
  for path in (tmp_path / 'w/weights/best').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:10])
  with pytest.raises(UserError, match='weights/best: no readable weights'):
    noisyjax.load(tmp_path / 'w')


# Several runs.


def test_the_soft_vote_is_the_mean_of_probabilities(pair, images):
  members = [noisyjax.load(folder) for folder in pair]
  vote = predict.ensemble(members)
  mean = np.mean([m.probs(images) for m in members], axis=0)
  np.testing.assert_allclose(vote.probs(images), mean, rtol=1e-6)
  np.testing.assert_array_equal(vote(images), mean.argmax(1))
  assert (members[0](images) != members[1](images)).any()  # or any mixture would do


def test_runs_of_other_classes_cannot_vote_or_be_scored_together(pair, tmp_path, monkeypatch, files):
  path = runs.npz(tmp_path / 'data.npz', classes=np.array(('ant', 'bee', 'cow')))
  runs.fit(runs.recipe(path), tmp_path / 'cow', monkeypatch)
  members = [noisyjax.load(pair[0]), noisyjax.load(tmp_path / 'cow')]
  with pytest.raises(UserError, match=r"ensemble: .*cow has classes \('ant', 'bee', 'cow'\), and seed=0 "):
    predict.ensemble(members)
  with pytest.raises(UserError, match='cannot score runs of different classes'):
    predict.predict_files(members, str(files[0]), str(files[1]))
  columns, _, _ = predict.predict_files(members, str(files[0]))
  assert list(columns) == ['seed=0', 'cow']


def test_runs_in_folders_of_one_name_are_told_apart_by_their_paths(pair, tmp_path):
  copies = [shutil.copytree(pair[0], tmp_path / 'copies' / f / 'seed=0') for f in ('one', 'other')]
  assert [m.name for m in predict.load_all([str(c) for c in copies])] == ['one/seed=0', 'other/seed=0']
  assert [m.name for m in predict.load_all([str(p) for p in pair])] == [p.name for p in pair]


def test_predictions_follow_the_names_and_the_csv_is_the_seeds(pair, files, images, tmp_path):
  folder, labels = files
  archive = tmp_path / 'images.zip'
  with zipfile.ZipFile(archive, 'w') as out:
    for path in sorted(folder.iterdir(), reverse=True):  # another order on disk
      out.write(path, f'images/{path.name}')
  members = [noisyjax.load(p) for p in pair]
  for source in (folder, archive):
    columns, truth, names = predict.predict_files(members, str(source), str(labels))
    assert names == {i - 1: f'test{i:05}.png' for i in range(1, 41)}
    for member, predicted in zip(members, columns.values()):
      np.testing.assert_array_equal(predicted, member(images))
    np.testing.assert_array_equal(truth, runs.arrays()['true'][128:])
  predict.write_csv(tmp_path / 'label_prediction.csv', columns, names)
  with (tmp_path / 'label_prediction.csv').open(newline='') as file:
    rows = list(csv.reader(file))
  assert rows[0] == ['', 'seed=0', 'seed=1']
  assert rows[1:] == [[str(i), str(a), str(b)] for i, (a, b) in enumerate(zip(*columns.values()))]


def test_runs_of_one_name_have_columns_of_their_own():
  taken = {}
  for name in ('a_2', 'a', 'a', 'a_b', 'a'):
    taken[predict._free(name, taken)] = None
  assert list(taken) == ['a_2', 'a', 'a_3', 'a_b', 'a_4']


def test_a_name_with_a_comma_stays_one_column(tmp_path):
  predict.write_csv(tmp_path / 'p.csv', {'optim.lr=0.1,seed=0': np.array([1, 2])}, range(2))
  with (tmp_path / 'p.csv').open(newline='') as file:
    assert list(csv.reader(file)) == [['', 'optim.lr=0.1,seed=0'], ['0', '1'], ['1', '2']]


def test_labels_may_name_their_images_and_must_fit_them(pair, files, tmp_path):
  folder, _ = files
  member = noisyjax.load(pair[0])
  true = runs.arrays()['true'][128:]
  named = tmp_path / 'named.csv'
  rows = [f'test{i:05}.png,{runs.CLASSES[t]}' for i, t in enumerate(true, 1)]
  named.write_text('\n'.join(['image,label', *reversed(rows[1:])]) + '\n')
  _, truth, _ = predict.predict_files([member], str(folder), str(named))
  np.testing.assert_array_equal(truth, [-1, *true[1:]])  # the image without a label is not scored
  short = tmp_path / 'short.csv'
  short.write_text('\n'.join(map(str, true[:-1])) + '\n')
  with pytest.raises(UserError, match=r'short\.csv: has 39 labels, expected 40, one an image'):
    predict.predict_files([member], str(folder), str(short))
  named.write_text('image,label\ntest99999.png,ant\n')
  with pytest.raises(UserError, match=r"names 1 images that are not in .*'test99999\.png'"):
    predict.predict_files([member], str(folder), str(named))
  named.write_text('image,label\ntest00001.png,dog\n')
  with pytest.raises(UserError, match=r"named\.csv: row 2: 'dog'"):
    predict.predict_files([member], str(folder), str(named))


def test_bad_images_are_listed_or_left_out_with_their_labels(pair, files, images, tmp_path, caplog):
  folder, labels = files
  broken = tmp_path / 'images'
  broken.mkdir()
  for path in folder.iterdir():
    (broken / path.name).write_bytes(path.read_bytes())
  (broken / 'test00002.png').write_bytes(b'no image')
  member = noisyjax.load(pair[0])
  with pytest.raises(UserError, match=r'set --skip_bad to go on without them:\n.*test00002\.png'):
    predict.predict_files([member], str(broken), str(labels))
  true = runs.arrays()['true'][128:]
  named = tmp_path / 'named.csv'
  named.write_text('image,label\n' + ''.join(f'test{i:05}.png,{t}\n' for i, t in enumerate(true, 1)))
  for file in (labels, named):
    columns, truth, names = predict.predict_files([member], str(broken), str(file), skip_bad=True)
    assert len(names) == 39 and 'test00002.png' not in names.values()
    assert list(names) == [0, *range(2, 40)]  # the rows of the CSV: a list of labels for all 40 still fits
    assert names[2] == 'test00003.png' and 'left out 1 bad image' in caplog.text
    np.testing.assert_array_equal(truth, np.delete(true, 1))
    np.testing.assert_array_equal(columns['seed=0'], member(np.delete(images, 1, 0)))


def test_images_of_another_size_are_refused_by_name(pair, tmp_path):
  Image.new('L', (9, 8)).save(tmp_path / 'wide.png')
  with pytest.raises(UserError, match=r'wide\.png'):
    predict.predict_files([noisyjax.load(pair[0])], str(tmp_path))


def test_the_command_writes_the_csv_and_prints_scikit_learns_report(pair, files, images, tmp_path):
  folder, labels = files
  code, out, err = runs.launch(
    'predict', f'--workdir={pair[0]},{pair[1]}', '--ensemble', f'--images={folder}', f'--labels={labels}',
    cwd=tmp_path,
  )  # fmt: skip
  assert code == 0, err
  with (tmp_path / 'label_prediction.csv').open(newline='') as file:
    rows = list(csv.reader(file))
  assert rows[0] == ['', 'seed=0', 'seed=1', 'ensemble'] and len(rows) == 41
  vote = np.array([int(row[3]) for row in rows[1:]])
  np.testing.assert_array_equal(vote, predict.ensemble([noisyjax.load(p) for p in pair])(images))
  assert classification_report(runs.arrays()['true'][128:], vote, target_names=runs.CLASSES, zero_division=0) in out


def test_labels_without_names_need_one_order_of_the_images(pair, tmp_path):
  folder = tmp_path / 'images'
  folder.mkdir()
  for i in range(12):
    Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / f'{i}.png')
  labels = tmp_path / 'labels.csv'
  labels.write_text('0\n' * 12)
  with pytest.raises(UserError, match=r"labels\.csv: its rows name no images, .*position 2: '10\.png' or '2\.png'"):
    predict.predict_files([predict.load(pair[0])], str(folder), str(labels))


def test_labels_that_are_all_missing_score_nothing(pair, files, tmp_path):
  labels = tmp_path / 'labels.csv'
  labels.write_text('undefined\n' * 40)
  with pytest.raises(UserError, match=r'labels\.csv: has no label for any of the 40 images'):
    predict.predict_files([predict.load(pair[0])], str(files[0]), str(labels))


def test_a_run_in_the_current_folder_has_its_name(pair, monkeypatch):
  monkeypatch.chdir(pair[0])
  assert predict.load('.').name == 'seed=0'
