import csv
import io
import shutil
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import classification_report

import noisyjax
import runs
from noisyjax.data import origin
from noisyjax.data.origin import Origin
from noisyjax.models.layers import onednn
from noisyjax.runs import predict, predict_files
from noisyjax.system.errors import UserError


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


class Tensor:
  """An array of another library, whose `dtype` has no `kind`, such as PyTorch's."""

  dtype = 'uint8'

  def __init__(self, array):
    self.array = array

  def __array__(self, dtype=None, copy=None):
    return self.array


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
  np.testing.assert_array_equal(predictor(Tensor(images)), labels)
  assert predictor(Tensor(images[3])) == labels[3]
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
  for shape in ((8,), (2, 2, 8, 8, 1), (2, 8, 8, 2)):
    with pytest.raises(UserError, match=r'found shape .*expected'):
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
  )
  runs.fit(runs.recipe(data, phases=plan), tmp_path / 'w', monkeypatch)
  tested = runs.read_json(tmp_path / 'w/result.json')['audit']['selected']
  assert (noisyjax.load(tmp_path / 'w')(images) == runs.arrays()['true'][128:]).mean() == pytest.approx(tested)


def test_what_is_no_finished_run_or_damaged_is_named(data, tmp_path, monkeypatch):
  with pytest.raises(UserError, match='nothing: is not a finished run'):
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
    predict_files.predict_files(members, str(files[0]), str(files[1]))
  found = predict_files.predict_files(members, str(files[0]))
  assert list(found.probs) == ['seed=0', 'cow']


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
    found = predict_files.predict_files(members, str(source), str(labels))
    columns = found.labels
    assert found.names == {i - 1: f'test{i:05}.png' for i in range(1, 41)}
    for member, predicted in zip(members, columns.values()):
      np.testing.assert_array_equal(predicted, member(images))
    np.testing.assert_array_equal(found.truth, runs.arrays()['true'][128:])
  rows = list(csv.reader(io.StringIO(predict_files.course_csv(found))))
  assert rows[0] == ['', 'seed=0', 'seed=1']
  assert rows[1:] == [[str(i), str(a), str(b)] for i, (a, b) in enumerate(zip(*columns.values()))]


def test_runs_of_one_name_have_columns_of_their_own():
  taken = {}
  for name in ('a_2', 'a', 'a', 'a_b', 'a'):
    taken[predict_files._free(name, taken)] = None
  assert list(taken) == ['a_2', 'a', 'a_3', 'a_b', 'a_4']


def said(probs, names=('a.png', 'b.png'), classes=('cat', 'dog')):
  """Predictions as a run may make them."""
  probs = {run: np.asarray(p, np.float32) for run, p in probs.items()}
  return predict_files.Predicted(dict(enumerate(names)), probs, dict.fromkeys(probs, classes), None)


def table(text):
  return list(csv.reader(io.StringIO(text)))


def test_a_class_report_shows_no_control_character_of_a_class_name():
  found = said({'run': [[0.9, 0.1], [0.2, 0.8]]}, classes=('c\nat\x1b[2J', 'dog'))._replace(truth=np.array([0, 1]))
  text = predict_files.reports(found)
  assert 'c\\nat\\x1b[2J ' in text and '\x1b' not in text
  assert len({line.index('1.00') for line in text.splitlines() if '\\x1b' in line or ' dog' in line}) == 1


def test_the_courses_form_is_as_it_was_byte_by_byte():
  one, two = [[0.9, 0.1], [0.2, 0.8]], [[0.9, 0.1], [0.6, 0.4]]
  assert predict_files.course_csv(said({'model_1': one, 'model_2': two})) == ',model_1,model_2\n0,0,0\n1,1,0\n'
  found = said({'lr=0.1,seed=0': one})._replace(names={0: 'a.png', 5: 'f.png'})  # 1 to 4 were left out
  assert predict_files.course_csv(found) == ',"lr=0.1,seed=0"\n0,0\n5,1\n'


def test_one_run_writes_image_label_and_confidence_with_names():
  found = said({'run': [[0.75, 0.25], [0.125, 0.875]]}, names=('a, b.png', 'sub/é.png'))
  assert predict_files.to_csv(found) == 'image,label,confidence\n"a, b.png",cat,0.750000\nsub/é.png,dog,0.875000\n'
  assert table(predict_files.to_csv(found, with_probs=True)) == [
    ['image', 'label', 'confidence', 'cat', 'dog'],
    ['a, b.png', 'cat', '0.750000', '0.750000', '0.250000'],
    ['sub/é.png', 'dog', '0.875000', '0.125000', '0.875000'],
  ]


def test_several_runs_stand_side_by_side():
  found = said({'x': [[0.75, 0.25]] * 2, 'lr=0.1,seed=0': [[0.125, 0.875]] * 2})
  head, row, _ = table(predict_files.to_csv(found))
  assert head == ['image', 'label_x', 'confidence_x', 'label_lr=0.1,seed=0', 'confidence_lr=0.1,seed=0']
  assert row == ['a.png', 'cat', '0.750000', 'dog', '0.875000']
  assert table(predict_files.to_csv(found, True))[0][3:5] == ['cat_x', 'dog_x']


def test_a_class_called_label_has_a_column_of_its_own():
  found = said({'run': [[0.75, 0.25]] * 2}, classes=('label', 'image'))
  assert table(predict_files.to_csv(found, True))[0] == [
    'image',
    'label',
    'confidence',
    'label (class)',
    'image (class)',
  ]


def test_names_that_a_spreadsheet_would_run_are_text():
  found = said({'run': [[0.75, 0.25]] * 2}, names=('=cmd.png', 'b.png'), classes=('@a', 'dog'))
  head, first, _ = table(predict_files.to_csv(found, True))
  assert head[3] == "'@a" and first == ["'=cmd.png", "'@a", '0.750000', '0.750000', '0.250000']


def test_counts_name_each_class_and_cut_long_lists():
  text = predict_files.counts(said({'run': [[0.75, 0.25], [0.5, 0.5]]}))
  cells = [[c.strip() for c in line.split('|')[1:-1]] for line in text.splitlines()]
  assert text.startswith('run: 2 images') and ['cat', '2', '100.0 %', '62.5 %'] in cells
  assert ['dog', '0', '0.0 %', '-'] in cells
  many = np.eye(100)[[99, 99, 98]]
  text = predict_files.counts(said({'run': many}, names='abc', classes=[f'c{i}' for i in range(100)]))
  assert '| c99' in text and '| c98' in text and 'and 80 more classes' in text


def test_labels_may_name_their_images_and_must_fit_them(pair, files, tmp_path):
  folder, _ = files
  member = noisyjax.load(pair[0])
  true = runs.arrays()['true'][128:]
  named = tmp_path / 'named.csv'
  rows = [f'test{i:05}.png,{runs.CLASSES[t]}' for i, t in enumerate(true, 1)]
  named.write_text('\n'.join(['image,label', *reversed(rows[1:])]) + '\n')
  truth = predict_files.predict_files([member], str(folder), str(named)).truth
  np.testing.assert_array_equal(truth, [-1, *true[1:]])  # the image without a label is not scored
  short = tmp_path / 'short.csv'
  short.write_text('\n'.join(map(str, true[:-1])) + '\n')
  with pytest.raises(UserError, match=r'short\.csv: has 39 labels for the 40 images'):
    predict_files.predict_files([member], str(folder), str(short))
  named.write_text('image,label\ntest99999.png,ant\n')
  with pytest.raises(UserError, match=r"none of its 1 rows names an image in .*'test99999\.png'"):
    predict_files.predict_files([member], str(folder), str(named))
  named.write_text('image,label\ntest00001.png,dog\n')
  with pytest.raises(UserError, match=r"named\.csv: row 2: 'dog'"):
    predict_files.predict_files([member], str(folder), str(named))


def test_bad_images_are_listed_or_left_out_with_their_labels(pair, files, images, tmp_path, caplog):
  folder, labels = files
  broken = tmp_path / 'images'
  broken.mkdir()
  for path in folder.iterdir():
    (broken / path.name).write_bytes(path.read_bytes())
  (broken / 'test00002.png').write_bytes(b'no image')
  member = noisyjax.load(pair[0])
  with pytest.raises(UserError, match=r'set --skip_bad to go on without them:\n.*test00002\.png'):
    predict_files.predict_files([member], str(broken), str(labels))
  true = runs.arrays()['true'][128:]
  named = tmp_path / 'named.csv'
  named.write_text('image,label\n' + ''.join(f'test{i:05}.png,{t}\n' for i, t in enumerate(true, 1)))
  for file in (labels, named):
    found = predict_files.predict_files([member], str(broken), str(file), skip_bad=True)
    names = found.names
    assert len(names) == 39 and 'test00002.png' not in names.values()
    assert list(names) == [0, *range(2, 40)]  # the rows of the CSV: a list of labels for all 40 still fits
    assert names[2] == 'test00003.png' and 'left out 1 bad image' in caplog.text
    np.testing.assert_array_equal(found.truth, np.delete(true, 1))
    np.testing.assert_array_equal(found.labels['seed=0'], member(np.delete(images, 1, 0)))


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A run trained on 9x9 grayscale PNG files, and the folder of them."""
  folder = tmp_path_factory.mktemp('photos')
  (folder / 'images').mkdir()
  rows = ['image,label']
  for i in range(40):
    pixels = np.full((9, 9), 80 * (i % 3) + i, np.uint8)
    Image.fromarray(pixels).save(folder / f'images/{i:02}.png')
    rows.append(f'{i:02}.png,{runs.CLASSES[i % 3]}')
  (folder / 'labels.csv').write_text('\n'.join(rows) + '\n')
  config = runs.recipe(
    data__source='images',
    data__path=str(folder),
    data__labels='labels.csv',
    data__verified='',
    data__channels=1,
    data__train=':',
    data__val='0.2',
    data__test='',
    data__trusted=0.0,
    noise__kind='none',
    model__name='histogram',
  )
  with pytest.MonkeyPatch.context() as patch:
    runs.fit(config, folder / 'run', patch)
  return folder


def test_what_a_run_was_trained_on_is_written_beside_its_weights(photos, pair):
  assert runs.read_json(photos / 'run/model.json')['origin'] == {'formats': {'PNG': 1.0}, 'sides': [9, 9, 9], 'gray': 1}
  assert runs.read_json(pair[0] / 'model.json')['origin'] == {'formats': {'arrays': 1.0}, 'sides': [8, 8, 8], 'gray': 1}


def test_a_model_takes_paths_pictures_and_arrays_of_any_size(photos, caplog):
  model = noisyjax.load(photos / 'run')
  path = photos / 'images/01.png'
  pixels = np.asarray(Image.open(path))
  assert model(path) == model(str(path)) == model(Image.open(path)) == model(pixels) == model(pixels[..., None])
  assert model(path.read_bytes()) == model(path) and model.names(path) == runs.CLASSES[model(path)]
  assert 'fitted' not in caplog.text and 'differ' not in caplog.text  # they are as in training
  probs = model.probs(path)
  large = np.repeat(np.repeat(pixels, 4, 0), 4, 1)
  for item in (large, np.stack([large] * 3, -1), Image.fromarray(large), large[:, :30]):
    np.testing.assert_allclose(model.probs(item), probs, atol=1e-6)  # of one colour all over
    assert caplog.text.count('fitted to 9x9 by crop') == 1  # said once
  mixed = model([path, large, pixels, Image.fromarray(large)])
  assert mixed.tolist() == [model(path)] * 4 and model.names([path, large]) == [model.names(path)] * 2
  assert model(np.stack([large] * 2)).shape == (2,) and model([]).shape == (0,)
  assert model(np.array([str(path)] * 2)).tolist() == [model(path)] * 2
  with pytest.raises(UserError, match=r'none\.png.*No such file'):
    model([path, photos / 'none.png'])


def test_predict_says_what_differs_from_the_training_images(photos, tmp_path, caplog):
  (tmp_path / 'new').mkdir()
  for i in range(3):
    Image.new('RGB', (50, 40), (200, 10, 10)).save(tmp_path / f'new/{i}.jpg')
  model = noisyjax.load(photos / 'run')
  found = predict_files.predict_files([model, noisyjax.load(photos / 'run')], str(tmp_path / 'new'))
  assert 'JPEG (trained on PNG); 40 pixels a side (trained on 9); in colour (trained on gray)' in caplog.text
  assert 'fitted to 9x9 by crop; in training all had that size' in caplog.text
  np.testing.assert_allclose(found.probs['run'][0], model.probs(tmp_path / 'new/0.jpg'), atol=1e-6)
  caplog.clear()
  predict_files.predict_files([model], str(photos / 'images'))
  assert not caplog.text


@pytest.mark.parametrize(
  ('trained', 'asked', 'text'),
  [
    (None, Origin({'JPEG': 1.0}, (9, 9, 9), 0), ''),
    (Origin({'JPEG': 0.9, 'PNG': 0.1}, (100, 300, 900), 0), Origin({'JPEG': 1.0}, (90, 400, 1000), 0.1), ''),
    (Origin({'JPEG': 1.0}, (9, 9, 9), 0), Origin({'WEBP': 1.0}, (9, 9, 9), 0), ''),
    (
      Origin({'PNG': 0.9, 'JPEG': 0.1}, (9, 9, 9), 0),
      Origin({'JPEG': 1.0}, (9, 9, 9), 0),
      'JPEG (trained on 90% PNG, 10% JPEG)',
    ),
    (Origin({'JPEG': 1.0}, (9, 9, 9), 0), Origin({'PNG': 1.0}, (9, 9, 9), 0), 'PNG (trained on JPEG)'),
    (
      Origin({'PNG': 1.0}, (100, 200, 300), 0),
      Origin({'PNG': 1.0}, (20, 32, 32), 0),
      '20 to 32 pixels a side (trained on 100 to 300)',
    ),
    (Origin({'PNG': 1.0}, (9, 9, 9), 0), Origin({'arrays': 1.0}, (9, 9, 9), 1), 'gray (trained on colour)'),
  ],
)
def test_only_a_difference_that_matters_is_told(trained, asked, text):
  found = origin.differences(trained, asked)
  assert text in found and bool(text) == bool(found)


def test_a_model_of_oblong_images_takes_those_alone(images):
  model = predict.Predictor(runs.CLASSES, (8, 6, 1), 'oblong', 'exact', '', lambda x: np.ones((len(x), 3)) / 3)
  assert model(np.zeros((2, 8, 6, 1), np.uint8)).shape == (2,)
  with pytest.raises(UserError, match=r'found 8x8 pixels; oblong takes 6x8 alone \(only squares are fitted\)'):
    model(images)


def test_the_command_writes_the_csv_and_prints_scikit_learns_report(pair, files, images, tmp_path):
  folder, labels = files
  code, out, err = runs.launch(
    'predict',
    f'--workdir={pair[0]},{pair[1]}',
    '--ensemble',
    f'--images={folder}',
    f'--labels={labels}',
    '--out=out.csv',
    '--probs',
    cwd=tmp_path,
  )
  assert code == 0, err
  assert out.splitlines()[-1] == 'out.csv'
  rows = table((tmp_path / 'out.csv').read_text())
  assert rows[0][:3] == ['image', 'label_seed=0', 'confidence_seed=0'] and rows[0][-5:-3] == [
    'label_ensemble',
    'confidence_ensemble',
  ]
  assert [row[0] for row in rows[1:]] == sorted(p.name for p in folder.iterdir())
  vote = predict.ensemble([noisyjax.load(p) for p in pair])(images)
  assert [row[-5] for row in rows[1:]] == [runs.CLASSES[v] for v in vote]
  assert f'| {runs.CLASSES[0]}' in out and 'ensemble: 40 images' in out
  assert classification_report(runs.arrays()['true'][128:], vote, target_names=runs.CLASSES, zero_division=0) in out


def test_a_score_on_images_that_were_trained_on_is_told(pair, files, tmp_path, caplog):
  folder, labels = files
  predict_files.predict_files([predict.load(pair[0])], str(folder), str(labels))
  assert 'was trained on' not in caplog.text
  seen = tmp_path / 'seen'
  seen.mkdir()
  for i in range(3):
    Image.fromarray(runs.arrays()['images'][i, ..., 0]).save(seen / f'{i}.png')
  (tmp_path / 'seen.csv').write_text('image,label\n' + ''.join(f'{i}.png,{runs.CLASSES[0]}\n' for i in range(3)))
  predict_files.predict_files([predict.load(pair[0])], str(seen), str(tmp_path / 'seen.csv'))
  assert 'was trained on 3 of these 3 images' in caplog.text


def test_labels_without_names_need_one_order_of_the_images(pair, tmp_path):
  folder = tmp_path / 'images'
  folder.mkdir()
  for i in range(12):
    Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(folder / f'{i}.png')
  labels = tmp_path / 'labels.csv'
  labels.write_text('0\n' * 12)
  with pytest.raises(UserError, match=r"labels\.csv: its rows name no images, .*position 2: '10\.png' or '2\.png'"):
    predict_files.predict_files([predict.load(pair[0])], str(folder), str(labels))


def test_labels_that_are_all_missing_score_nothing(pair, files, tmp_path):
  labels = tmp_path / 'labels.csv'
  labels.write_text('undefined\n' * 40)
  with pytest.raises(UserError, match=r'labels\.csv: has no label for any of the 40 images'):
    predict_files.predict_files([predict.load(pair[0])], str(files[0]), str(labels))


def test_a_run_in_the_current_folder_has_its_name(pair, monkeypatch):
  monkeypatch.chdir(pair[0])
  assert predict.load('.').name == 'seed=0'


def test_files_that_are_left_out_are_said(pair, images, tmp_path, caplog):
  for i, image in enumerate(images[:2]):
    Image.fromarray(image[..., 0]).save(tmp_path / f'{i}.png')
  (tmp_path / 'drawing.xcf').write_bytes(b'')
  predict_files.predict_files([noisyjax.load(pair[0])], str(tmp_path))
  assert 'skipped 1 file(s) that are not images (.xcf: 1)' in caplog.text
