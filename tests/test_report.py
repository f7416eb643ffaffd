"""Reports on a synthetic finished workdir: pictures, a page, and tables that mark audit and oracle results."""

import html
import html.parser
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisyjax.estimate import scoring
from noisyjax.estimate.interval import wilson
from noisyjax.reports import collection, pages, record, report
from noisyjax.reports.pictures import axes, calibration, comparison, curves, matrix, style
from noisyjax.system import parquet, storage
from noisyjax.system.errors import UserError


def fake_run(folder, strategy='co_teaching', seed=0, epochs=30, top=0.9, classes=None, validation=True, audit=True):
  """Writes the files of a run whose accuracy peaks at two thirds of its epochs, then falls as it memorizes."""
  folder.mkdir(parents=True)
  rng = np.random.default_rng(seed)
  classes = classes or ['cat', 'dog', '<b>ship</b> & $\\x$', 'truck']
  n, c = 400, len(classes)
  e = np.arange(1, epochs + 1)
  test = top * (1 - np.exp(-e / 4)) - 0.004 * np.maximum(0, e - epochs * 2 / 3) + rng.normal(0, 0.004, epochs)
  val = 0.65 * test + rng.normal(0, 0.004, epochs)
  metrics = storage.JsonLines(folder / 'metrics.jsonl')
  audits = storage.JsonLines(folder / 'audit.jsonl')
  for i in range(epochs):
    warm = i < epochs // 3
    metrics.append(
      {
        'epoch': i + 1,
        'phase': 0 if warm else 1,
        'strategy': 'naive' if warm else strategy,
        'phase_epoch': i + 1,
        'step': 10 * i + 10,
        'loss': 2 * np.exp(-i / 12) + 0.1,
        'accuracy': 0.62 * (1 - np.exp(-e[i] / 6)),
        'lr': 0.05 * (1 + np.cos(np.pi * i / epochs)),
        'seconds': 1.5 * (i + 1),
        'images_per_second': 900.0,
      }
      | ({'val_loss': 1.2 + 0.5 * np.exp(-i / 5), 'val_accuracy': val[i]} if validation else {})
      | ({} if warm else {'chosen': 0.6})
    )
    if audit:
      audits.append(
        {'epoch': i + 1, 'test_accuracy': test[i], 'test_loss': 0.4 + 1.5 * np.exp(-i / 5)}
        | {'test_accuracy_one': test[i] - 0.01, 'train_accuracy_true': test[i] + 0.02, 'target_accuracy': 0.62}
        | ({} if warm else {'selection_precision': 0.9 + 0.001 * i, 'selection_recall': 0.8})
      )
  truth = rng.integers(0, c, n)
  given = np.where(rng.random(n) < 0.4, rng.integers(0, c, n), truth).astype(np.int32)
  predicted = np.where(rng.random(n) < 0.8, truth, rng.integers(0, c, n)).astype(np.int32)
  confidence = np.where(predicted == truth, rng.beta(6, 1.5, n), rng.beta(3, 3, n)).astype(np.float32)
  split = np.where(np.arange(n) < 240, 'train', np.where(np.arange(n) < 280, 'val', 'test'))
  seen = split != 'test'
  row, label = np.arange(n), np.where(seen, given, -1)
  parquet.write(
    folder / 'samples.parquet',
    {'row': row[seen], 'id': row[seen].astype(str), 'split': split[seen], 'given': given[seen]}
    | {'verified': np.full(seen.sum(), -1), 'label': label[seen], 'predicted': predicted[seen]}
    | {'confidence': confidence[seen]},
  )
  summary = scoring.epoch_summary(list(val) if validation else [None] * epochs, list(test))
  if audit:
    columns = {'row': row, 'split': split, 'true': truth, 'predicted': predicted, 'confidence': confidence}
    parquet.write(folder / 'audit.parquet', columns)
    per_class = scoring.report(truth[~seen], predicted[~seen], classes)[1]
  storage.write_json(
    folder / 'result.json',
    {
      'strategy': strategy,
      'model': 'small_cnn',
      'seed': seed,
      'networks': 2,
      'epochs': epochs,
      'steps': 10 * epochs,
      'images_seen': 240 * epochs,
      'passes': 720.0 * epochs,
      'seconds': 40.0 + seed,
      'parameters': 123456,
      'peak_memory_mb': 812.5,
      'device': 'cpu',
      'knowledge': ['noise rate 0.4'] if strategy == 'co_teaching' else [],
      'selected': 'best' if validation else 'last',
      'best_epoch': summary['best_epoch'],
      'validation': {'labels': 'given', 'rows': 40, 'last': val[-1], 'best': val.max()} if validation else None,
      'noise': {'kind': 'symmetric', 'definition': 'Symmetric, exclusive.', 'requested': 0.4},
      'data': {'source': 'digits', 'fingerprint': f'f00{seed}', 'rows': {'train': 240, 'val': 40}, 'classes': classes},
      'audit': {
        **summary,
        'test_rows': 120,
        'test_labels': 'true',
        'selected': test[-1],
        'report': per_class,
        'noise': {'realised': 0.391},
      }
      if audit
      else {'noise': {}, 'test_rows': 0},
    },
  )
  storage.write_json(folder / 'config.json', {'strategy': strategy, 'optimizer': {'lr': 0.1, 'note': '<script>'}})
  storage.write_json(folder / 'environment.json', {'command': 'launch.py train --x="<&>"', 'versions': {'jax': '1'}})
  return folder


def without_class(folder, c):
  """Takes a class out of all rows of a run's tables: no label and no prediction has it."""
  for name in ('samples.parquet', 'audit.parquet'):
    columns, notes = parquet.read(folder / name)
    keep = np.ones(len(columns['row']), bool)
    for field in ('given', 'true', 'predicted'):
      keep &= columns.get(field, np.zeros(len(keep))) != c
    parquet.write(folder / name, {k: v[keep] for k, v in columns.items()}, notes)
  return folder


KINDS = {
  'one epoch': {'epochs': 1},
  'two classes': {'classes': ['cat', 'dog']},
  'no test rows': {'audit': False},
  'one class': {'classes': ['cat']},
  'hundred classes': {'classes': [f'a rather long class name {i}' for i in range(100)]},
}


@pytest.mark.parametrize('kind', [*KINDS, 'class missing'])
def test_every_picture_and_page_survives(tmp_path, kind, monkeypatch):
  folder = fake_run(tmp_path / 'run', **KINDS.get(kind, {}))
  if kind == 'class missing':
    without_class(folder, 1)
  run = record.read(folder)
  for draw in (curves.draw, matrix.confusion, calibration.draw):
    height, width, _ = picture(draw(run)).shape
    assert 200 < height < 1600 and 200 < width < 1600
  if kind in ('one epoch', 'no test rows'):  # classes are not in it
    assert picture(comparison.draw({'a': [run], 'b' * 90: [run]})).shape[1] < 1300
    return
  monkeypatch.setattr(matrix, 'confusion', lambda run: b'')
  assert Page(report.write_report(folder).read_text()).open == []


def figure_of(monkeypatch, draw, *arguments):
  """The figure behind a PNG, before it was printed."""
  kept = []
  monkeypatch.setattr(style, 'png', lambda figure: kept.append(figure) or b'')
  draw(*arguments)
  return kept[0]


def test_every_panel_has_its_axes_named(tmp_path, monkeypatch):
  run = record.read(fake_run(tmp_path / 'run'))
  groups = [({'lr': lr}, [run.result]) for lr in (0.1, 0.2)]
  for draw, arguments in (
    (curves.draw, (run,)),
    (matrix.confusion, (run,)),
    (calibration.draw, (run,)),
    (axes.draw, (groups, ['lr'])),
    (comparison.draw, ({'a': [run]},)),
  ):
    drawn = figure_of(monkeypatch, draw, *arguments).axes
    named = [bool(ax.get_ylabel() or any(t.get_text() for t in ax.get_yticklabels())) for ax in drawn]
    assert drawn and all(named), draw


@pytest.mark.parametrize('others', [1, 40])
def test_legends_lie_beside_the_curves_and_within_the_picture(tmp_path, monkeypatch, others):
  run = record.read(fake_run(tmp_path / 'run'))
  names = [f'a strategy with a name that is long {i}' for i in range(others)]
  groups = [({'lr': lr, 'strategy': name, 'width': 0.5}, [run.result]) for lr in (0.1, 0.2) for name in names]
  for draw, arguments in ((curves.draw, (run,)), (axes.draw, (groups, ['lr']))):
    figure = figure_of(monkeypatch, draw, *arguments)
    figure.draw_without_rendering()
    for ax in figure.axes:
      if legend := ax.get_legend():
        box = legend.get_window_extent()
        assert not box.overlaps(ax.get_window_extent()) and len(legend.get_texts()) <= 11
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1


@pytest.mark.filterwarnings('error')
def test_a_panel_whose_curves_begin_late_shows_the_whole_run(tmp_path, monkeypatch):
  run = record.read(fake_run(tmp_path / 'run', epochs=100))
  for i, line in enumerate(run.metrics):
    line['phase'], line['strategy'] = int(i >= 80), 'first' if i < 80 else 'second'
    if i < 80:
      line.pop('chosen', None)
  run.audit[:] = [{k: v for k, v in line.items() if k.startswith('test') or k == 'epoch'} for line in run.audit]
  figure = figure_of(monkeypatch, curves.draw, run)
  figure.draw_without_rendering()  # a picture that has no room for its panels is a warning
  assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_no_two_curves_of_a_panel_look_alike_even_in_gray(tmp_path, monkeypatch):
  figure = figure_of(monkeypatch, curves.draw, record.read(fake_run(tmp_path / 'run')))
  for ax in figure.axes:
    lines = [
      line for line in ax.get_lines() if line.get_linestyle() != 'None' and line.get_xdata()[0] != line.get_xdata()[-1]
    ]
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == len(lines)


def test_a_cell_of_the_matrix_holds_rows_and_percent(tmp_path, monkeypatch):
  run = record.read(fake_run(tmp_path / 'run', classes=['cat', 'dog']))
  figure = figure_of(monkeypatch, matrix.confusion, run)
  counts = scoring.confusion(run.scored.labels, run.scored.predicted, 2)
  share = 100 * counts / counts.sum(1, keepdims=True)
  assert [t.get_text() for t in figure.axes[0].texts] == [
    f'{counts[i, j]}\n{share[i, j]:.0f} %' for i in range(2) for j in range(2)
  ]
  assert figure.axes[0].get_ylabel() == 'true label'


def test_calibration_shows_the_rows_of_each_bin(tmp_path, monkeypatch):
  folder = fake_run(tmp_path / 'run', audit=False)
  columns, _ = parquet.read(folder / 'samples.parquet')
  held = columns['split'] == 'val'
  columns['confidence'] = np.where(np.arange(len(held)) % 2, 0.95, 0.55).astype(np.float32)
  parquet.write(folder / 'samples.parquet', columns)
  figure = figure_of(monkeypatch, calibration.draw, record.read(folder))
  assert [t.get_text() for t in figure.axes[1].texts] == ['20', '20'] and held.sum() == 40
  assert 'given labels' in figure.axes[0].get_title(loc='left')
  assert len(figure.axes[1].patches) == 15 and '(15 bins)' in figure.axes[0].get_title(loc='left')
  right = (columns['predicted'] == columns['given'])[held]
  sure = columns['confidence'][held] > 0.9
  points = figure.axes[0].get_lines()[1].get_xydata()
  np.testing.assert_allclose(points, [[0.55, right[~sure].mean()], [0.95, right[sure].mean()]], atol=1e-6)
  del columns['confidence']  # a run of old
  parquet.write(folder / 'samples.parquet', columns)
  assert calibration.draw(record.read(folder)) is None and report.write_report(folder).exists()


def test_without_test_rows_the_page_scores_the_classes_on_validation(tmp_path):
  folder = fake_run(tmp_path / 'run', audit=False)
  text = ' '.join(Page(report.write_report(folder).read_text()).text)
  run = record.read(folder)
  held = run.samples['split'] == 'val'
  own = scoring.report(run.samples['given'][held], run.samples['predicted'][held], run.classes)[1]
  assert 'validation accuracy, best epoch' in text and 'same epoch' not in text
  assert 'Validation rows (given labels)' in text and f'{100 * own["cat"]["recall"]:.2f} %' in text
  low, high = wilson(run.result['validation']['best'] * 40, 40)
  assert f'[{100 * low:.2f}, {100 * high:.2f}]' in text and 'audit' not in text.split('Per class')[1].split('Calib')[0]


@pytest.mark.parametrize('selected', ['best', 'last'])
@pytest.mark.parametrize(('values', 'scale'), [((0.1, 0.2), 'linear'), ((0.01, 0.1), 'log'), ((0, 100), 'linear')])
def test_a_swept_number_is_an_axis(monkeypatch, values, scale, selected):
  other = {'best': 'last', 'last': 'best'}[selected]
  one = lambda v: {'selected': selected, 'validation': {selected: v, other: 0.9}, 'audit': {'selected': v - 0.1}}
  groups = [({'lr': x, 'name': 'a'}, [one(0.5 + i / 10), one(0.6 + i / 10)]) for i, x in enumerate(values)]
  figure = figure_of(monkeypatch, axes.draw, groups, ['lr'])
  ax = figure.axes[0]
  assert ax.get_xscale() == scale and len(figure.axes) == 1
  solid, dotted = (container.lines[0].get_xydata() for container in ax.containers)
  np.testing.assert_allclose(solid, [(values[0], 0.55), (values[1], 0.65)])
  np.testing.assert_allclose(dotted, [(values[0], 0.45), (values[1], 0.55)])
  named = [text.get_text() for text in ax.get_legend().get_texts()]
  assert named[-2:] == [f'validation, {selected} epoch', f'test, {selected} epoch (audit)']


def test_ticks_of_a_narrow_range_have_different_names(monkeypatch):
  one = lambda v: {'selected': 'last', 'validation': {'last': v}}
  groups = [({'lr': x}, [one(0.82 + x / 10), one(0.85)]) for x in (0.1, 0.2)]
  ax = figure_of(monkeypatch, axes.draw, groups, ['lr']).axes[0]
  names = [ax.yaxis.get_major_formatter()(tick) for tick in ax.get_yticks()]
  assert len(set(names)) == len(names) > 3 and all(name.endswith('%') for name in names)


def results(*folders):
  return [storage.read_json(folder / 'result.json') for folder in folders]


def picture(png):
  return np.asarray(Image.open(io.BytesIO(png)).convert('RGB'), int)


def has_color(png, color):
  wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
  return (np.abs(picture(png) - wanted).max(-1) < 12).sum() > 20


class Page(html.parser.HTMLParser):
  """Balanced tags, the text, and every attribute of a page."""

  def __init__(self, text):
    super().__init__()
    self.open, self.attributes, self.text = [], [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.attributes += [(tag, *a) for a in attrs]
    if tag not in ('meta', 'img'):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text.append(data)


def test_the_page_is_self_contained_escaped_and_complete(tmp_path):
  path = report.write_report(fake_run(tmp_path / 'run'))
  text = path.read_text()
  page = Page(text)
  assert page.open == []
  sources = [value for _, name, value in page.attributes if name in ('src', 'href')]
  assert len(sources) == 3 and all(s.startswith('data:image/png;base64,') for s in sources)
  assert not re.search(r'https?:|@import|url\(|<script|<b>ship', text)
  shown = ' '.join(page.text)
  for said in (
    'noise rate 0.4',
    'oracle: best by test',
    'not a result',
    'mean of last 10',
    'validated on given labels',
    'optimizer.lr',
    '"<script>"',
    'versions.jax',
    '<b>ship</b> & $\\x$',
    'realised 39.10 %',
    '120 test rows',
    '123,456',
    '240 train, 40 val',
    'Symmetric, exclusive.',
  ):
    assert said in shown, said
  assert {'curves.png', 'confusion.png', 'report.html'} <= {p.name for p in path.parent.iterdir()}


def test_the_noise_table_counts_given_against_true_labels_of_the_rows_trained_on(tmp_path):
  folder = fake_run(tmp_path / 'run')
  samples, truth = (parquet.read(folder / name)[0] for name in ('samples.parquet', 'audit.parquet'))
  wrong = (samples['given'] != truth['true'][:280]).mean()
  assert f'280 rows, {100 * wrong:.2f} % of the given labels are wrong' in report.write_report(folder).read_text()


def test_rows_are_joined_by_number_not_by_position(tmp_path):
  found = pages._lookup(np.array([7, 3, 5]), np.array([70, 30, 50]), np.array([5, 9, 3]))
  assert found.tolist() == [50, -1, 30]


def test_curves_draw_what_there_is_and_only_that(tmp_path):
  full = curves.draw(record.read(fake_run(tmp_path / 'full')))
  assert has_color(full, style.TRAIN) and has_color(full, style.VALIDATION) and has_color(full, style.AUDIT)
  blind = curves.draw(record.read(fake_run(tmp_path / 'blind', audit=False, validation=False)))
  assert has_color(blind, style.TRAIN)
  assert not has_color(blind, style.VALIDATION) and not has_color(blind, style.AUDIT)


def test_no_audit_no_validation_is_said_not_drawn(tmp_path):
  text = report.write_report(fake_run(tmp_path / 'run', audit=False, validation=False)).read_text()
  assert 'There are no test rows with a label' in text and 'No validation rows' in text
  assert 'test rows, scored' not in text and 'of the given labels are wrong' not in text


@pytest.mark.parametrize('epochs', [0, 1])
def test_a_run_without_curves_still_reports(tmp_path, epochs):
  folder = fake_run(tmp_path / 'run', epochs=max(epochs, 1))
  if not epochs:  # the histogram baseline has no epochs
    storage.write_text(folder / 'metrics.jsonl', '')
    storage.write_text(folder / 'audit.jsonl', '')
  assert report.write_report(folder).exists()


def test_null_metrics_are_gaps(tmp_path):
  folder = fake_run(tmp_path / 'run')
  lines = storage.read_lines(folder / 'metrics.jsonl')
  lines[3]['loss'] = None
  assert np.isnan(record.history(lines, 'loss')[1][3])
  assert record.history([{'epoch': 1, 'loss': None}], 'loss') == ([], [])


def test_pictures_repeat_bit_for_bit(tmp_path):
  run = record.read(fake_run(tmp_path / 'run', classes=['cat', 'dog']))
  assert matrix.confusion(run) == matrix.confusion(run)


def test_an_unfinished_workdir_is_named(tmp_path):
  with pytest.raises(UserError, match=r'run: is not a finished run'):
    report.write_report(tmp_path / 'run')
  folder = fake_run(tmp_path / 'cut')
  (folder / 'samples.parquet').write_bytes(b'PAR1 cut')
  with pytest.raises(UserError, match=r'samples\.parquet: not a readable Parquet'):
    report.write_report(folder)


def test_table_groups_over_seeds_with_sample_std():
  runs = [
    {'strategy': s, 'seed': i, 'seconds': 10.0 * (i + 1), 'knowledge': told, 'noise': {'requested': 0.4}}
    | {'audit': {'last': last, 'mean_last_10': last, 'best_by_validation': best, 'oracle': 0.95}}
    for s, told, best, lasts in (
      ('naive', [], None, (0.5, 0.6, 0.7)),
      ('dual|net', ['noise rate 0.4', 'clean rows 100'], 0.9, (0.8,)),
    )
    for i, last in enumerate(lasts)
  ]
  head, rule, naive, dual, *rest = str(report.table(runs, ('strategy', 'noise.requested'))).splitlines()
  assert rest == ['', 'mean ± sample standard deviation (number of runs).']
  cells = [[c.strip() for c in re.split(r'(?<!\\)\|', line)[1:-1]] for line in (head, naive, dual)]
  assert cells[0] == [
    'strategy',
    'noise.requested',
    'last',
    'mean of last 10',
    'best by validation',
    'best by test (oracle)',
    'seconds',
    'told',
  ]
  assert cells[1] == [
    'naive',
    '0.4',
    '60.00 ± 10.00 (3)',
    '60.00 ± 10.00 (3)',
    '-',
    '95.00 ± 0.00 (3) (oracle)',
    '20.0 ± 10.0 (3)',
    'nothing',
  ]
  assert cells[2][0] == r'dual\|net' and cells[2][2] == '80.00 (1)'
  assert cells[2][-1] == 'noise rate 0.4; clean rows 100'
  assert len({len(line) for line in (head, rule, naive, dual)}) == 1


def test_table_says_what_else_differs(tmp_path):
  a, b = fake_run(tmp_path / 'a', epochs=10), fake_run(tmp_path / 'b', strategy='naive', epochs=20)
  text = str(report.table(results(a, b), ('strategy',)))
  assert 'Not equal: passes (budget): 7200, 14,400.' in text and 'Not equal: epochs: 10, 20.' in text
  assert 'device' not in text
  assert 'Not equal' not in str(report.table(results(a, a), ('strategy',)))


def test_table_takes_noise_drawn_per_seed_for_equal_data_if_every_group_has_the_same(tmp_path):
  first, second, other = (fake_run(tmp_path / str(s), seed=s) for s in range(3))
  renamed = [{**r, 'strategy': 'naive'} for r in results(first, second)]
  assert 'Not equal' not in str(report.table(results(first, second) + renamed, ('strategy',)))
  assert 'Not equal: data: f000, f002, f001.' in str(report.table(results(first, other) + renamed, ('strategy',)))


def test_comparison_draws_each_group_in_its_color(tmp_path):
  groups = {
    name: [record.read(fake_run(tmp_path / f'{name}{s}', strategy=name, seed=s, top=top)) for s in range(2)]
    for name, top in (('naive', 0.6), ('co_teaching', 0.9))
  }
  png = comparison.draw(groups)
  assert has_color(png, style.GROUPS[0]) and has_color(png, style.GROUPS[1])
  assert not has_color(png, style.GROUPS[2])
  columns = np.flatnonzero((np.abs(picture(png) - [0x2A, 0x6F, 0xBB]).max(-1) < 12).any(0)) / picture(png).shape[1]
  assert columns.min() < 0.15 and ((columns > 0.2) & (columns < 0.4)).any() and columns.max() > 0.7  # curve; bar, name
  alone = {'alone': [record.read(fake_run(tmp_path / 'alone', audit=False))]}  # no test rows: on validation
  assert has_color(comparison.draw(alone), style.GROUPS[0])
  blind = {'blind': [record.read(fake_run(tmp_path / 'blind', audit=False, validation=False))]}
  with pytest.raises(UserError, match='blind: no run of this group has a validation accuracy'):
    comparison.draw(blind)


def test_pretrained_runs_and_others_share_no_table_and_no_picture(tmp_path):
  for name in ('naive', 'elr', 'gce', 'sce'):
    fake_run(tmp_path / name, strategy=name)
  for name in ('gce', 'sce'):
    path = tmp_path / name / 'result.json'
    storage.write_json(path, storage.read_json(path) | {'knowledge': ['pretrained: ImageNet-1k']})
  folders = [tmp_path / name for name in ('gce', 'naive', 'sce', 'elr')]
  for text in (report.compare(folders), collection.write(tmp_path)):
    scratch, pretrained = text.split('### Pretrained')
    assert scratch.startswith('### From scratch')
    named = lambda part: {line.split()[1] for line in part.splitlines() if line.startswith('| ')} - {'strategy'}
    assert named(scratch) == {'naive', 'elr'} and named(pretrained) == {'gce', 'sce'}
  assert (tmp_path / 'table.md').read_text() == text
  names = {'table.csv': ['elr', 'naive'], 'table_pretrained.csv': ['gce', 'sce']}
  for name, strategies in names.items():
    assert sorted(line.split(',')[0] for line in (tmp_path / name).read_text().splitlines()[1:]) == strategies
  assert has_color((tmp_path / 'comparison_pretrained.png').read_bytes(), style.GROUPS[1])
  assert not has_color((tmp_path / 'comparison.png').read_bytes(), style.GROUPS[2])
  for name in ('naive', 'elr'):
    shutil.rmtree(tmp_path / name)
  assert '###' not in collection.write(tmp_path)
  assert not (tmp_path / 'table_pretrained.csv').exists()
  assert 'gce' in (tmp_path / 'table.csv').read_text()


def test_a_copy_of_a_run_is_no_second_run(tmp_path, caplog):
  fake_run(tmp_path / 'a')
  alone = report.compare([tmp_path / 'a'])
  shutil.copytree(tmp_path / 'a', tmp_path / 'b')
  assert report.compare([tmp_path / 'a', tmp_path / 'b']) == alone
  assert '(1)' in (text := collection.write(tmp_path)) and '(2)' not in text
  assert 'b: is a copy of' in caplog.text


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(tmp_path):
  folders = [fake_run(tmp_path / f'{rate},{seed}', seed=seed) for rate in (0.1, 0.2) for seed in range(2)]
  for folder in folders:
    path = Path(folder) / 'config.json'
    settings = storage.read_json(path)
    settings['seed'] = int(folder.name[-1])
    settings['optim'], settings['noise'] = {'lr': float(folder.name[:3])}, {'seed': settings['seed']}
    storage.write_json(path, settings)
  text = report.compare([*folders, folders[0]])
  head, _, *rows = [[c.strip() for c in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]
  assert 'optim/lr' in head and len(rows) == 2
  assert [row[head.index('optim/lr')] for row in rows] == ['0.1', '0.2']
  assert all(row[head.index('last')].endswith('(2)') for row in rows)
  assert 'runs with the same seed' not in text
  assert 'runs with the same seed are averaged' in str(report.table(results(folders[0], folders[0]), ('strategy',)))
