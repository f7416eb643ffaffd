import base64
import csv
import io
import json
import re
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from test_table_commands import command

import noisyjax
import runs
from noisyjax.analysis import file_issues, issues, out_of_fold
from noisyjax.config import recipe
from noisyjax.config.check import plan_of
from noisyjax.data import probs as own_probs
from noisyjax.data.training import TrainData
from noisyjax.engine import score, step, train
from noisyjax.engine.state import Snapshot
from noisyjax.estimate import confident, scoring
from noisyjax.reports import pages
from noisyjax.runs import dry_run, in_memory
from noisyjax.system import parquet
from noisyjax.system.errors import UserError

COUNT = 400


def quick(**overrides):
  """A recipe of a second: the model "dense"."""
  c = in_memory.recipe()
  c.model.name, c.epochs, c.optim.lr, c.augment.weak = 'dense', 15, 0.05, ()
  c.model.mean, c.model.std = (78.0,), (96.0,)
  for field, value in overrides.items():
    c[field] = value
  return c


@pytest.fixture(scope='module')
def digits():
  """Images, labels of which 20 % are wrong (three are unlabeled), and the truth; row 7 is a copy of row 3."""
  data = load_digits()
  images = (data.images[:COUNT] * 15.9).astype(np.uint8)
  true = data.target[:COUNT].astype(np.int32)
  images[7], true[7] = images[3], true[3]
  rng = np.random.default_rng(0)
  wrong = rng.random(COUNT) < 0.2
  given = np.where(wrong, (true + rng.integers(1, 10, COUNT)) % 10, true).astype(np.int32)
  given[[5, 50, 250]] = -1
  return images, given, true


@pytest.fixture(scope='module')
def found(digits):
  images, given, _ = digits
  before = step.train_step._cache_size()
  found = issues.find_label_issues(images, given, config=quick(), folds=3)
  assert step.train_step._cache_size() <= before + 1  # all folds share one compiled step
  return found


def random_probs(labels, classes=3, seed=0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(len(labels), classes)) + 2 * np.eye(classes)[np.maximum(labels, 0)]
  return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


# What it finds.


def test_planted_wrong_labels_are_found_out_of_fold(digits, found):
  _, given, true = digits
  scored = found.audit(true)
  assert scored['auroc'] > 0.95 and scored['average_precision'] > 0.85
  assert scored['accuracy_corrected'] > scored['accuracy_given'] + 0.08
  assert 0.15 < found.noise_rate < 0.3
  # By hand, in the order of the rows.
  flagged, corrected = np.zeros(COUNT, bool), found.corrected()
  flagged[found.row] = found.flagged
  wrong = (given != true)[given >= 0]
  assert scored['precision'] == pytest.approx(wrong[flagged[given >= 0]].mean())
  assert scored['recall'] == pytest.approx(flagged[given >= 0][wrong].mean())
  assert scored['accuracy_corrected'] == pytest.approx((corrected == true)[given >= 0].mean())
  np.testing.assert_array_equal(corrected[~flagged], given[~flagged])
  np.testing.assert_array_equal(corrected[flagged], found.probs.argmax(1)[flagged])


def test_the_table_is_sorted_and_unlabeled_rows_come_last(digits, found):
  _, given, _ = digits
  assert sorted(found.row.tolist()) == list(range(COUNT))
  np.testing.assert_array_equal(found.given, given[found.row])
  labeled = found.given >= 0
  assert labeled[:-3].all() and not labeled[-3:].any()
  assert (np.diff(found.score[labeled]) <= 0).all() and np.isnan(found.score[-3:]).all()
  assert not found.flagged[~labeled].any() and (found.suggested >= 0).all()
  assert (found.suggested != found.given)[found.flagged].all()
  assert set(found.columns()) == {'row', 'given', 'suggested', 'score', 'flagged'}
  assert sum(n for _, _, n in found.confusions()) == found.flagged.sum()
  np.testing.assert_allclose(found.probs.sum(1), 1, atol=1e-5)


def test_own_probabilities_give_what_the_confident_filter_gives():
  labels = np.random.default_rng(1).integers(0, 3, 60)
  labels[:2] = -1
  probs = random_probs(np.where(np.arange(60) % 4 == 0, (labels + 1) % 3, labels))
  for kind in ('prune_by_noise_rate', 'confident_learning'):
    found = noisyjax.find_label_issues(None, labels, probs=probs, kind=kind)
    expected = np.asarray(confident.issues(np.float32(probs), labels, labels >= 0, kind))
    np.testing.assert_array_equal(expected[found.row], found.flagged, kind)
    assert expected.any()
  margin = (1 - scoring.margin(probs, labels)) / 2
  np.testing.assert_allclose(found.score, margin[found.row], atol=1e-6)
  joint = np.asarray(confident.joint(np.float32(probs), labels, labels >= 0))
  assert found.noise_rate == pytest.approx(1 - np.trace(joint))


# Honesty.


def test_no_row_is_judged_by_a_network_that_saw_its_label(digits):
  """Whatever becomes of the labels of a fold, the fold's own probabilities stay bit for bit the same."""
  images, given, _ = digits
  rows = np.arange(0, COUNT, 3)
  plan = plan_of(quick(epochs=1))
  bar = type('Bar', (), {'desc': '', 'update': lambda self, n: None})()

  def predict(labels, pixels=images):
    data = TrainData(pixels[..., None], labels, np.full(len(labels), -1, np.int32), 10)
    return out_of_fold._held_out(plan, data, rows, 64, bar)

  honest, poisoned = predict(given), given.copy()
  poisoned[rows] = (given[rows] + 3) % 10
  np.testing.assert_array_equal(honest, predict(poisoned))
  others = given.copy()
  others[1] = (given[1] + 3) % 10
  assert (predict(others) != honest).any()  # the test can see a difference
  # Nor do its pixels reach what is trained: only the predictions of changed images change.
  changed = images.copy()
  changed[rows[-1]] = 255 - changed[rows[-1]]
  honest, moved = predict(given), predict(given, changed)
  np.testing.assert_array_equal(honest[:-1], moved[:-1])
  assert (honest[-1] != moved[-1]).any()


def test_folds_hold_every_row_once_stratified_with_copies_together(digits, monkeypatch):
  images, given, _ = digits
  parts = []

  def held_out(config, data, held, chunk, bar):
    parts.append(held)
    assert chunk <= len(held)
    return np.full((len(held), data.classes), 0.1)

  monkeypatch.setattr(out_of_fold, '_held_out', held_out)
  issues.find_label_issues(images, given, folds=4, seed=3)
  first, parts[:] = list(parts), []
  assert sorted(np.concatenate(first).tolist()) == list(range(COUNT))
  assert all((3 in part) == (7 in part) for part in first)
  counts = np.array([np.bincount(given[p][given[p] >= 0], minlength=10) for p in first])
  assert np.ptp(counts, 0).max() <= 2  # a copy may shift one
  issues.find_label_issues(images, given, folds=4, seed=3)
  assert all((a == b).all() for a, b in zip(first, parts))
  parts[:] = []
  issues.find_label_issues(images, given, folds=4, seed=4)
  assert any(len(a) != len(b) or (a != b).any() for a, b in zip(first, parts))


def test_floats_and_a_classic_estimator_are_taken_too(digits):
  images, given, _ = digits
  config = quick()
  config.model.name, config.mixup = 'histogram', 0.0
  one = issues.find_label_issues(images.astype(float), given, config=config, folds=2)
  two = issues.find_label_issues(images[..., None], given, config=config, folds=2)
  np.testing.assert_array_equal(one.probs, two.probs)


# Mistakes.

LABELS = np.arange(30) % 3
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
PROBS = random_probs(LABELS)


def bent(row, values):
  probs = PROBS.copy()
  probs[row] = values
  return probs


@pytest.mark.parametrize(
  'arguments, message',
  [
    ((PIXELS, LABELS[:-1]), r'labels: has 29 labels for 30 images'),
    ((PIXELS, np.append(LABELS[:-1], -2)), r"labels: row 29 \(from 0\): '-2'; expected an integer of 0 or more"),
    ((PIXELS, LABELS + 0.5), r"labels: row 0 \(from 0\): '0.5'"),
    ((PIXELS, ['x', *LABELS[1:]]), r"row 0 \(from 0\) is the name 'x', and .*row 1 \(from 0\) the number '1'"),
    ((PIXELS,), 'labels: missing'),
    (('photos.zip', LABELS), r'photos\.zip: there is no such folder'),
    ((None, LABELS), 'images: missing'),
    ((PIXELS, LABELS * 0 - 1), 'labels: all 30 rows are unlabeled'),
    ((PIXELS, LABELS * 0), "labels: all labels are '0'; expected labels of two classes"),
    ((PIXELS[:6], LABELS[:6]), r"no class has 5 different images, one per fold \(folds=5\): '0' \(2\)"),
    ((np.repeat(PIXELS[:3], 10, 0), np.repeat([0, 1, 2], 10)), r"no class has 5 different images.*: '0' \(1\)"),
    ((PIXELS / 255, LABELS), 'they seem to be divided by 255'),
    ((PIXELS * 2.0, LABELS), r'images: found values in \[.*\], expected 0 to 255'),
    ((PIXELS[0], LABELS[:4]), r'images: found shape \(4, 4\)'),
    ((None, LABELS), 'images: missing'),
    ((np.zeros((30, 8, 8, 2), np.uint8), LABELS), r'found shape \(30, 8, 8, 2\); expected 1 or 3 channels'),
  ],
)
def test_bad_input_is_one_clear_error(arguments, message):
  with pytest.raises(UserError, match=message):
    issues.find_label_issues(*arguments)


@pytest.mark.parametrize(
  'probs, message',
  [
    (PROBS[:-1], r'labels: has 30 labels, and probs has 29 rows'),
    (PROBS[:, 0], r'probs: found shape \(30,\): one number per image, as a sigmoid.*np.stack'),
    (PROBS[:, :1], r'probs: found shape \(30, 1\): one number per image'),
    (100 * PROBS, r'row 0 \(from 0\) does not sum to 1.*percentages: probs / 100'),
    (bent(4, np.nan), r'probs: row 4 \(from 0\) is not finite'),
    (bent(5, (1.2, -0.1, -0.1)), r'probs: row 5 \(from 0\) has a negative number: \[ 1.2 -0.1 -0.1\]'),
    (bent(6, (0.5, 0.6, 0.1)), r'probs: row 6 \(from 0\) does not sum to 1'),
    (np.log(PROBS), 'has a negative number.*30 such rows'),
    (PROBS[:, :2] / PROBS[:, :2].sum(1, keepdims=True), r"labels: row 2 \(from 0\): '2'; expected one of 2 classes"),
  ],
)
def test_bad_probabilities_are_one_clear_error(probs, message):
  with pytest.raises(UserError, match=message):
    issues.find_label_issues(None, LABELS, probs=probs)


KINDS = {
  'list': LABELS.tolist(),
  'names': np.array(['a', 'b', 'c'])[LABELS],
  'one-hot': np.eye(3)[LABELS],
  'column': LABELS[:, None],
  'one-based': LABELS + 1,
  'uint8': LABELS.astype(np.uint8),
  'with none': [None, *LABELS.tolist()[1:]],
}


def test_rows_of_pandas_in_another_order_are_refused():
  labels, probs = pd.Series(['a', 'b', 'a']), pd.DataFrame(np.eye(2)[[0, 1, 0]], columns=['a', 'b'])
  with pytest.raises(UserError, match=r'probs: has the index of labels in another order; .*probs.loc\[labels.index\]'):
    issues.find_label_issues(labels=labels, probs=probs[::-1])
  assert not issues.find_label_issues(labels=labels[::-1], probs=probs[::-1]).flagged.any()
  assert not issues.find_label_issues(labels=labels.set_axis([7, 8, 9]), probs=probs).flagged.any()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'labels': 'labels.csv'}, "labels: found 'labels.csv'; expected one label per image. `find --labels` reads"),
    ({'classes': {'a', 'b'}}, 'classes: is a set; expected a list of names, in the order of the columns'),
    ({'classes': 'a,b'}, 'classes: is a str; expected a list of names'),
  ],
)
def test_labels_and_classes_are_lists(arguments, message):
  with pytest.raises(UserError, match=message):
    issues.find_label_issues(**{'labels': ['a', 'b'], 'probs': np.eye(2), **arguments})


@pytest.mark.parametrize('kind', KINDS)
def test_labels_of_any_kind_are_judged_alike(kind):
  expected = issues.find_label_issues(None, [None if kind == 'with none' else 0, *LABELS.tolist()[1:]], probs=PROBS)
  found = issues.find_label_issues(labels=KINDS[kind], probs=PROBS)
  for field in ('row', 'given', 'flagged', 'score'):
    np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
  assert found.classes == {'names': ('a', 'b', 'c'), 'one-based': ('1', '2', '3')}.get(kind, ('0', '1', '2'))


def test_columns_called_by_class_need_no_order():
  pandas = pytest.importorskip('pandas')
  names = np.array(['zebra', 'ant', 'bee'])
  frame = pandas.DataFrame(PROBS, columns=names)
  expected = issues.find_label_issues(None, LABELS, probs=PROBS)
  for found in (
    issues.find_label_issues(labels=pandas.Series(names[LABELS]), probs=frame),
    issues.find_label_issues(labels=names[LABELS], probs=PROBS, classes=names.tolist()),
  ):
    np.testing.assert_array_equal(found.flagged, expected.flagged)
    assert found.classes == ('zebra', 'ant', 'bee')
  with pytest.raises(UserError, match=r'probs: has 3 columns for the 2 classes a, b'):
    issues.find_label_issues(labels=['a', 'b'] * 15, probs=PROBS, classes=['a', 'b'])
  with pytest.raises(UserError, match=r'2 classes \(a, b\), but probs has 3 columns. Set the class .*: classes=A,B'):
    issues.find_label_issues(labels=['a', 'b'] * 15, probs=PROBS)


def test_the_order_of_columns_is_said_and_a_wrong_one_is_noticed(caplog):
  names = np.array(['zebra', 'ant', 'bee'])[LABELS]
  issues.find_label_issues(labels=names, probs=np.eye(3)[LABELS])
  assert 'the order ant, bee, zebra is assumed (classes=… sets another)' in caplog.text
  assert "Column order? As zebra, ant, bee, 100% agree; if that is it: classes=['zebra', 'ant', 'bee']." in caplog.text


def test_a_rare_class_goes_on_with_a_note(monkeypatch, caplog):
  monkeypatch.setattr(
    out_of_fold, '_held_out', lambda plan, data, held, *_: np.full((len(held), data.classes), 1 / data.classes)
  )
  found = issues.find_label_issues(PIXELS, np.where(np.arange(30) == 4, 3, LABELS), folds=3)
  assert len(found.classes) == 4
  assert "1 of 4 classes have fewer different images than folds (3): '3' (1)" in caplog.text


def test_options_and_recipes_that_cannot_be(digits):
  images, given, _ = digits
  with pytest.raises(UserError, match='folds: found 1, expected 2 or more'):
    issues.find_label_issues(images, given, folds=1)
  with pytest.raises(UserError, match=r"kind: unknown value 'prune_by_clas'\. Did you mean 'prune_by_class'"):
    issues.find_label_issues(images, given, kind='prune_by_clas')
  config = quick()
  config.stop.patience = 3  # it would look at the rows that are judged
  with pytest.raises(UserError, match=r'stop\.patience'):
    issues.find_label_issues(images, given, config=config, folds=3)
  config = quick(epochs=2)
  config.optim.lr = 1e9
  with pytest.raises(UserError, match='The loss is not finite at step'):
    issues.find_label_issues(images, given, config=config, folds=3)


# The command.

NAMES = ('<b>cat</b>', 'dog, "old"')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """48 PNGs of two classes, bright and dark halves; four labels are wrong, one is missing; and the truth."""
  path = tmp_path_factory.mktemp('find')
  rng = np.random.default_rng(0)
  true = np.arange(48) % 2
  given = np.where(np.isin(np.arange(48), [4, 9, 16, 33]), 1 - true, true)
  (path / 'images').mkdir()
  for i, c in enumerate(true):
    image = rng.integers(0, 90, (10, 12), dtype=np.uint8)
    image[:, 6 * c : 6 * c + 6] += 120
    Image.fromarray(image).save(path / 'images' / f'a&<{i:02d}>.png')
  for name, labels in (('labels.csv', given), ('truth.csv', true)):
    with (path / name).open('w', newline='') as file:
      table = csv.writer(file)
      table.writerow(['image', 'label'])
      for i, c in enumerate(labels):
        table.writerow([f'a&<{i:02d}>.png', 'undefined' if name == 'labels.csv' and i == 47 else NAMES[c]])
  with zipfile.ZipFile(path / 'images.zip', 'w') as archive:
    for image in sorted((path / 'images').iterdir()):
      archive.write(image, image.name)
  return path


def test_a_dry_run_says_what_an_engine_would_start_and_writes_nothing(folder, tmp_path, monkeypatch, capsys):
  kept = []
  monkeypatch.setattr(dry_run, 'estimated', lambda config, _: kept.append(config) or dry_run.Estimated('', 60.0, 0.0))
  where = [f'--images={folder / "images"}', f'--labels={folder / "labels.csv"}', f'--workdir={tmp_path / "w"}']
  true = f'--truth={folder / "truth.csv"}'
  command('find', *where, true, '--folds=3', '--dry_run', '--engine=processes:at_once=3')
  said = capsys.readouterr().out
  assert said.startswith('3 processes on this machine, 3 at once:\n') and said.count('/w/folds/fold=') == 3
  assert 'time: 3:00 ' in said and 'divided by the places: 1:00' in said and not list(tmp_path.iterdir())
  assert float(kept[0].data.val) == pytest.approx(1 / 3)  # a fold trains on the other two
  assert kept[0].data.truth.endswith('truth.csv')
  np.save(tmp_path / 'probs.npy', np.full((48, 2), 0.5))
  with pytest.raises(UserError, match='with --probs nothing is trained'):
    command('find', *where, '--dry_run', f'--probs={tmp_path / "probs.npy"}')


def rows_of(path):
  with path.open(newline='') as file:
    return list(csv.DictReader(file))


def test_the_command_ranks_a_folder_of_images(folder, tmp_path):
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from noisyjax.runs.in_memory import recipe\n\n\ndef get_config():\n  c = recipe()\n'
    '  c.model.name, c.epochs, c.batch_size, c.optim.lr = "dense", 8, 32, 0.05\n'
    '  c.data.cache = False\n  return c\n'
  )
  out = tmp_path / 'out'
  code, text, err = runs.launch(
    'find',
    f'--config={recipe}',
    f'--images={folder / "images"}',
    f'--labels={folder / "labels.csv"}',
    f'--workdir={out}',
    f'--truth={folder / "truth.csv"}',
    '--folds=3',
  )
  assert code == 0, err
  assert sorted(p.name for p in out.iterdir()) == [
    'find.json',
    'find.parquet',
    'issues.csv',
    'issues.html',
    'lock',
    'probs.npy',
  ]
  table = rows_of(out / 'issues.csv')
  assert list(table[0]) == ['file', 'given', 'suggested', 'score', 'flagged', 'image_issues'] and len(table) == 48
  assert {r['file'] for r in table[:4]} == {f'a&<{i:02d}>.png' for i in (4, 9, 16, 33)}
  assert all(r['suggested'] != r['given'] and {r['given'], r['suggested']} == set(NAMES) for r in table[:4])
  last = {'file': 'a&<47>.png', 'given': '', 'suggested': NAMES[1], 'score': '', 'flagged': '0'}
  assert table[-1] == last | {'image_issues': table[-1]['image_issues']}
  scores = [float(r['score']) for r in table[:-1]]
  assert scores == sorted(scores, reverse=True)
  agree = sum(r['given'] == r['suggested'] for r in table) / 47
  assert '48 images, 47 labeled, 2 classes' in text and 'estimated noise rate' in text and 'dog, "old" → ' in text
  assert f'the probabilities agree with {agree:.1%} of the labels' in text
  assert 'audit: precision' in text and 'auroc 1.0000' in text and 'accuracy_given 0.9149' in text
  page = (out / 'issues.html').read_text().partition('<h2>')[0]
  flagged = [r for r in table if r['flagged'] == '1']
  assert page.count('<figure>') == page.count('data:image/png;base64,') == len(flagged) > 0
  assert 'a&amp;&lt;04&gt;.png' in page and '&lt;b&gt;cat&lt;/b&gt;' in page
  assert '<b>cat' not in page and 'a&<' not in page and 'http' not in page  # escaped, and self-contained
  # The probabilities it leaves say the same, from a zip, without training and without the truth.
  found, audit = file_issues.find_files(
    str(folder / 'images.zip'), str(folder / 'labels.csv'), tmp_path / 'again', probs=str(out / 'probs.npy')
  )
  assert audit is None and found.classes == NAMES
  for name in ('issues.csv', 'issues.html'):
    assert (tmp_path / 'again' / name).read_text().replace('images.zip', 'images') == (out / name).read_text()


def test_the_page_shows_the_originals_and_stays_small(tmp_path):
  (tmp_path / 'images').mkdir()
  rng = np.random.default_rng(0)
  for i in range(12):
    pixels = rng.integers(0, 256, (600, 900, 3), dtype=np.uint8) if i < 2 else np.full((9, 9, 3), 20 * i, np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'images/{i:02}.png')
  (tmp_path / 'labels.csv').write_text('image,label\n' + ''.join(f'{i:02}.png,{"ab"[i % 2]}\n' for i in range(12)))
  probs = np.eye(2)[np.arange(12) % 2].astype(np.float32)
  probs[[0, 3]] = probs[[0, 3], ::-1]
  np.save(tmp_path / 'probs.npy', np.clip(probs, 0.05, 0.95))
  file_issues.find_files(
    str(tmp_path / 'images'), str(tmp_path / 'labels.csv'), tmp_path / 'out', probs=str(tmp_path / 'probs.npy')
  )
  page = (tmp_path / 'out/issues.html').read_text()
  found = re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page.partition('<h2>')[0])
  pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for _, data in found]
  assert sorted(p.size for p in pictures) == [(9, 9), (200, 133)] and {kind for kind, _ in found} == {'png', 'jpeg'}
  assert len(page) < 100_000  # of 1.6 MB


def test_odd_images_are_listed_whatever_their_label(tmp_path):
  (tmp_path / 'images').mkdir()
  rng = np.random.default_rng(0)
  for i in range(12):
    pixels = np.full((9, 9, 3), 130, np.uint8) if i == 4 else rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'images/{i:02}.png')
  (tmp_path / 'images/12.png').write_bytes((tmp_path / 'images/00.png').read_bytes())
  (tmp_path / 'labels.csv').write_text('image,label\n' + ''.join(f'{i:02}.png,{"ab"[i % 2]}\n' for i in range(12)))
  with (tmp_path / 'labels.csv').open('a') as file:
    file.write('12.png,b\n')  # 00.png is an "a"
  np.save(tmp_path / 'probs.npy', np.full((13, 2), 0.5, np.float32))
  file_issues.find_files(
    str(tmp_path / 'images'), str(tmp_path / 'labels.csv'), tmp_path / 'out', probs=str(tmp_path / 'probs.npy')
  )
  odd = {row['file']: row['image_issues'] for row in rows_of(tmp_path / 'out/issues.csv') if row['image_issues']}
  assert odd == {'04.png': 'flat', '00.png': 'copies differ', '12.png': 'copies differ'}
  page = (tmp_path / 'out/issues.html').read_text().partition('<h2>')[2]
  assert page.count('<figure>') == 3 and 'flat: 1' in page and 'copies differ: 2' in page


def test_a_data_frame_has_our_columns_and_cleanlabs():
  labels = np.array([0, 1, 0, 1, -1, 1])
  probs = np.eye(2)[[0, 1, 1, 1, 0, 1]] * 0.8 + 0.1
  found = issues.find_label_issues(None, labels, probs=probs, classes=['cat', 'dog'])
  frame = found.to_frame()
  assert list(frame.columns[:5]) == list(found.columns())
  assert frame['row'][0] == 2 and bool(frame['is_label_issue'][0])
  assert frame['given_label'].tolist()[0] == 'cat' and frame['predicted_label'].tolist()[0] == 'dog'
  assert frame['given_label'].isna().tolist() == [False] * 5 + [True]
  np.testing.assert_allclose(frame['label_quality'], 1 - found.score)


def test_the_truth_changes_nothing_but_the_audit(folder, tmp_path):
  probs = tmp_path / 'probs.npy'
  np.save(probs, random_probs(np.arange(48) % 2, 2))
  files = [(str(folder / 'images'), str(folder / 'labels.csv'), tmp_path / name) for name in ('a', 'b')]
  file_issues.find_files(*files[0], probs=str(probs))
  _, audit = file_issues.find_files(*files[1], probs=str(probs), truth=str(folder / 'truth.csv'))
  assert audit['accuracy_given'] == pytest.approx(43 / 47)
  for name in ('issues.csv', 'issues.html', 'probs.npy'):
    assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_class_folders_are_the_labels(folder, tmp_path):
  """A tree and its zip say what a label file of the same images says."""
  lines = ['image,label']
  for i, image in enumerate(sorted((folder / 'images').iterdir())[:20]):
    label = ('cat', 'dog', 'undefined')[2 if i == 5 else i % 2]
    (tmp_path / 'tree' / label).mkdir(parents=True, exist_ok=True)
    (tmp_path / 'tree' / label / image.name).write_bytes(image.read_bytes())
    lines.append(f'{label}/{image.name},{label}')
  (tmp_path / 'labels.csv').write_text('\n'.join(lines))
  with zipfile.ZipFile(tmp_path / 'tree.zip', 'w') as archive:
    for path in (tmp_path / 'tree').rglob('*.png'):
      archive.write(path, path.relative_to(tmp_path).as_posix())
  np.save(tmp_path / 'probs.npy', random_probs(np.arange(20) // 10, classes=2))  # in the order of the paths
  texts = []
  for out, images, labels in (('a', 'tree', str(tmp_path / 'labels.csv')), ('b', 'tree', ''), ('c', 'tree.zip', '')):
    found, _ = file_issues.find_files(str(tmp_path / images), labels, tmp_path / out, probs=str(tmp_path / 'probs.npy'))
    assert found.classes == ('cat', 'dog')
    texts.append((tmp_path / out / 'issues.csv').read_text())
  assert texts[0] == texts[1] == texts[2]
  rows = rows_of(tmp_path / 'a' / 'issues.csv')
  assert all(row['file'].startswith((row['given'] or 'undefined') + '/') for row in rows) and len(rows) == 20


@pytest.mark.parametrize('form', ['npz', 'csv', 'named csv', 'parquet', 'flag'])
def test_probabilities_may_bring_the_order_of_their_columns(folder, tmp_path, form):
  probs, classes = random_probs(np.arange(48) % 2, 2), NAMES[::-1]
  np.save(tmp_path / 'plain.npy', probs)
  files = (str(folder / 'images'), str(folder / 'labels.csv'))
  expected, _ = file_issues.find_files(*files, tmp_path / 'a', probs=str(tmp_path / 'plain.npy'))
  path, swapped, options = tmp_path / f'probs.{form.split()[-1]}', probs[:, ::-1], {}
  names = [f'a&<{i:02d}>.png' for i in range(48)]
  if form == 'npz':
    np.savez(path, probs=swapped, classes=np.array(classes))
  elif form == 'flag':
    path, options = tmp_path / 'p.npy', {'classes': classes}
    np.save(path, swapped)
  elif form == 'parquet':
    parquet.write(path, dict(zip(classes, swapped.T)) | {'image': np.array(names)})
  else:
    order = np.random.default_rng(0).permutation(48) if form == 'named csv' else np.arange(48)
    with path.open('w', newline='') as file:
      table = csv.writer(file)
      table.writerow([*(['image'] if form == 'named csv' else []), *classes])
      table.writerows([*([names[i]] if form == 'named csv' else []), *map(str, swapped[i])] for i in order)
  found, _ = file_issues.find_files(*files, tmp_path / 'b', probs=str(path), **options)
  assert found.classes == classes
  np.testing.assert_array_equal(found.row, expected.row)
  np.testing.assert_allclose(found.score, expected.score, atol=1e-6)


PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])


def test_probabilities_of_an_npz_find_their_images_by_name(tmp_path):
  np.savez(tmp_path / 'p.npz', probs=PROBABILITIES, names=np.array(['c.png', 'a.png', 'b.png']))
  found = own_probs.in_order(own_probs.read(tmp_path / 'p.npz'), ['a.png', 'b.png', 'c.png'], 'photos')
  np.testing.assert_array_equal(found.values, PROBABILITIES[[1, 2, 0]])
  np.savez(tmp_path / 'p.npz', probs=PROBABILITIES, names=np.array(['c.png', 'a.png']))
  with pytest.raises(UserError, match=r'has 2 names for probs of shape \(3, 2\)'):
    own_probs.read(tmp_path / 'p.npz')


def test_a_file_of_predict_is_read_if_it_has_probabilities(tmp_path, caplog):
  lines = [f'{name},cat,0.9,{a},{b}' for name, (a, b) in zip('cab', PROBABILITIES)]
  (tmp_path / 'p.csv').write_text('\n'.join(['image,label,confidence,cat,label (class)', *lines]))
  found = own_probs.read(tmp_path / 'p.csv')
  assert found.classes == ('cat', 'label') and found.images == ['c', 'a', 'b']
  assert 'For images that the run trained on, it agrees with wrong labels, too' in caplog.text
  np.testing.assert_array_equal(found.values, PROBABILITIES)
  (tmp_path / 'p.csv').write_text('image,label,confidence\na.png,cat,0.9\nb.png,dog,0.8\n')
  with pytest.raises(UserError, match=r'holds no probabilities; expected a column of .* `predict --probs` writes'):
    own_probs.read(tmp_path / 'p.csv')


@pytest.mark.parametrize('text', [',run\n0,3\n1,0\n2,1\n', ',a,b\n0,1,1\n1,0,1\n', 'image,label\na.png,0\nb.png,1\n'])
def test_labels_are_no_probabilities(tmp_path, text):
  (tmp_path / 'label_prediction.csv').write_text(text)
  with pytest.raises(UserError, match='holds whole numbers alone, as a file of labels does; expected a column of'):
    own_probs.read(tmp_path / 'label_prediction.csv')


@pytest.mark.parametrize('names', [False, True])
def test_a_class_may_be_called_as_a_column_of_images_is(tmp_path, names):
  rows = [
    ['image', 'name'] if names else ['name'],
    *([f'{i}.png', a] if names else [a] for i, (a, _) in enumerate(PROBABILITIES)),
  ]
  rows = [[*row, last] for row, last in zip(rows, ['photo', *PROBABILITIES[:, 1]])]
  (tmp_path / 'p.csv').write_text('\n'.join(','.join(map(str, row)) for row in rows))
  found = own_probs.read(tmp_path / 'p.csv')
  assert found.classes == ('name', 'photo') and (found.images is not None) == names
  np.testing.assert_array_equal(found.values, PROBABILITIES)
  (tmp_path / 'p.csv').write_text('id,photo,cat,dog\n7,a.png,0.9,0.1\n8,b.png,0.2,0.8\n')
  with pytest.raises(UserError, match='the columns id, photo hold no probabilities; expected one column'):
    own_probs.read(tmp_path / 'p.csv')


def test_probabilities_are_read_as_spreadsheets_and_arrays_hold_them(tmp_path):
  lines = [f'{name}.png;{a};{b}'.replace('0.', '0,') for name, (a, b) in zip('cab', PROBABILITIES)]
  (tmp_path / 'p.csv').write_text('\n'.join(['image;cat;dog', *lines]))
  np.testing.assert_array_equal(own_probs.read(tmp_path / 'p.csv').values, PROBABILITIES)
  np.savez(tmp_path / 'p.npz', probs=PROBABILITIES, classes=np.array([['cat', 'dog']]))
  assert own_probs.read(tmp_path / 'p.npz').classes == ('cat', 'dog')
  np.save(tmp_path / 'p.npy', PROBABILITIES.astype(object))
  with pytest.raises(UserError, match='it holds Python objects, which are not loaded: save numbers as'):
    own_probs.read(tmp_path / 'p.npy')


def test_probabilities_in_shuffled_rows_are_refused(tmp_path):
  lines = [f'{i},{a},{b}\n' for i, (a, b) in zip((3, 7, 9), PROBABILITIES)]  # a part of a frame, in order
  (tmp_path / 'p.csv').write_text(',cat,dog\n' + ''.join(lines))
  np.testing.assert_array_equal(own_probs.read(tmp_path / 'p.csv').values, PROBABILITIES)
  (tmp_path / 'p.csv').write_text(',cat,dog\n' + ''.join(lines[1:] + lines[:1]))  # folds, one below the other
  with pytest.raises(UserError, match='row 4 has the number 3 after 9, so the rows are not in the order of the images'):
    own_probs.read(tmp_path / 'p.csv')


@pytest.mark.parametrize(('wanted', 'used', 'size'), [('exact', 'crop', 0), ('exact', 'crop', 5), ('pad', 'pad', 0)])
def test_the_fit_of_a_config_is_kept_where_it_fits_any_image(folder, tmp_path, wanted, used, size):
  np.save(tmp_path / 'probs.npy', random_probs(np.arange(48) % 2, 2))
  config = in_memory.recipe()
  config.data.fit, config.data.size = wanted, size
  files = (str(folder / 'images'), str(folder / 'labels.csv'), tmp_path / 'w')
  file_issues.find_files(*files, probs=str(tmp_path / 'probs.npy'), config=config)
  assert runs.read_json(tmp_path / 'w/find.json')['config']['data']['fit'] == used


def test_mistakes_on_the_command_line(folder, tmp_path):
  (tmp_path / 'no.npy').write_text('x')
  images, labels = f'--images={folder / "images"}', f'--labels={folder / "labels.csv"}'
  found = runs.launch_all(
    [
      ['find', images],
      ['find', labels],
      ['find', images, labels, f'--probs={tmp_path / "no.npy"}'],
      ['find', images, f'--labels={tmp_path / "labels.csv"}'],
      ['find', images, '--labels=labels.csv', '--config.data.unlabeled=x'],
    ],
    cwd=tmp_path,
  )
  expected = (
    '--labels: missing; expected a label file',
    '--images: missing; expected a folder',
    'cannot be read as',
    '--labels: there is no file',
    "--labels: there is no file 'labels.csv'",
  )
  for (code, out, err), text in zip(found, expected):
    assert code == 2 and not out and text in err and 'Traceback' not in err


# What a run says of wrong labels.


def test_a_run_scores_detection_in_sample_held_out_and_by_decision(tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  overrides = {'strategy__name': 'loss_filter', 'strategy__loss_filter__warmup': 1.0}
  result = runs.fit(runs.recipe(path, **overrides), tmp_path / 'w', monkeypatch)
  found = result['audit']['detection']
  samples, _ = parquet.read(tmp_path / 'w/samples.parquet')
  true, given = runs.arrays()['true'][:128], samples['given']
  held, train = samples['split'] == 'val', (samples['split'] == 'train') & (samples['verified'] < 0)
  for name, values in (('mean_loss', samples['mean_loss']), ('mean_margin', -samples['mean_margin'])):
    expected = scoring.detection_audit(train[train], values[train], given[train], true[train])  # of no verified row
    assert found['in_sample'][name] == {k: expected[k] for k in ('auroc', 'average_precision')}
  dropped = samples['chosen'][train] < 0.5
  expected = scoring.detection_audit(dropped, dropped, given[train], true[train])
  assert found['decision'] == {k: expected[k] for k in ('precision', 'recall', 'f1')}
  flagged = (samples['predicted'] != given)[held]
  expected = scoring.detection_audit(flagged, -samples['margin'][held], given[held], true[held])
  assert found['held_out'] == pytest.approx({'rows': 32} | expected)
  assert json.loads((tmp_path / 'w/result.json').read_text())['audit']['detection'] == found
  shown = pages._detection_section(found)
  assert 'held out: auroc' in shown and 'in sample: mean loss' in shown.replace('_', ' ') and 'audit' in shown


@pytest.mark.parametrize(
  'overrides',
  [
    {},
    {'rows': 'trusted', 'batch_size': 8},
    {'rows': 'trusted', 'labels': 'verified', 'batch_size': 8},
    {'strategy__name': 'fixmatch', 'strategy__fixmatch__source': 'verified', 'batch_size': 8},
  ],
)
def test_a_method_that_has_no_label_to_doubt_decides_nothing(overrides, tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  found = runs.fit(runs.recipe(path, **overrides), tmp_path / 'w', monkeypatch)['audit']['detection']
  assert set(found) == {'in_sample', 'held_out'}


def test_a_run_without_known_wrong_labels_scores_no_detection(tmp_path, monkeypatch):
  data = runs.arrays()
  path = runs.npz(tmp_path / 'data.npz', labels=data['true'])
  assert 'detection' not in runs.fit(runs.recipe(path), tmp_path / 'w', monkeypatch)['audit']


def test_predictions_that_are_not_finite_are_an_error(monkeypatch):
  images, labels = runs.arrays()['images'], runs.arrays()['labels']
  monkeypatch.setattr(score, 'predict', lambda *args: (np.full((len(args[3]), 3), np.nan, np.float32), None))
  monkeypatch.setattr(train, 'fit', lambda *args: (SimpleNamespace(current=Snapshot({}, {})), None))
  with pytest.raises(UserError, match='predictions are not finite'):
    noisyjax.find_label_issues(images, labels, folds=2)


def test_few_images_of_different_shapes_and_a_short_truth_are_named():
  with pytest.raises(UserError, match='no class has 5 different images'):
    noisyjax.find_label_issues([np.zeros((8, 8), np.uint8), np.ones((8, 9), np.uint8)], np.array([0, 1]))
  found = noisyjax.find_label_issues(None, np.array([0, 1, 0]), probs=np.eye(2)[[0, 1, 1]])
  with pytest.raises(UserError, match=r'truth: has 2 labels for 3 images'):
    found.audit(np.array([0, 1]))


def test_the_recipe_as_it_stands_does_what_find_does_without_one(monkeypatch):
  seen = []

  def held_out(plan, data, held, *rest):
    seen.append(plan.config)
    return np.full((len(held), data.classes), 1 / data.classes, np.float32)

  monkeypatch.setattr(out_of_fold, '_held_out', held_out)
  images, labels = np.random.default_rng(0).integers(0, 256, (50, 12, 12, 3), np.uint8), np.arange(50) % 2
  for config in (None, recipe.load('find')):
    issues.find_label_issues(images, labels, config=config, folds=2)
  assert len(seen) == 4 and all(c.to_dict() == seen[0].to_dict() for c in seen)
  assert (seen[0].batch_size, seen[0].steps_per_epoch) == (64, 10)  # 25 rows a fold: walked again


def test_a_batch_larger_than_a_fold_shrinks_for_all_folds_alike(monkeypatch, caplog):
  seen = []
  monkeypatch.setattr(
    out_of_fold, '_held_out', lambda plan, data, held, *_: seen.append(plan.config) or np.full((len(held), 2), 1 / 2)
  )
  config = quick(batch_size=64, steps_per_epoch=0)
  with caplog.at_level('INFO', 'noisyjax'):
    issues.find_label_issues(
      np.random.default_rng(0).integers(0, 256, (51, 8, 8, 1), np.uint8), np.arange(51) % 2, config=config, folds=2
    )
  assert {c.batch_size for c in seen} == {16}
  assert caplog.text.count('batch_size: 64 is larger than the 25 training rows of a fold; 16 is used.') == 1
