"""If stderr is not a terminal, log lines report the progress of a run."""

import logging
import re

import numpy as np
import pytest

import runs
from noisyjax.analysis import out_of_fold
from noisyjax.system import progress


@pytest.fixture
def clock(monkeypatch):
  """A clock that stands until it is set, and a stderr that is no terminal."""
  now = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr('sys.stderr.isatty', lambda: False, raising=False)
  return now


def test_lines_are_spaced_and_silent_on_a_terminal(clock, caplog, monkeypatch):
  said = lambda: [r.message for r in caplog.records]
  with caplog.at_level(logging.INFO, 'noisyjax'):
    lines = progress.Lines()
    for clock[0] in range(25):
      lines.say(f'epoch {clock[0]}', '', 'loss 1')
    assert said() == ['epoch 0 · loss 1', 'epoch 10 · loss 1', 'epoch 20 · loss 1']
    monkeypatch.setattr('sys.stderr.isatty', lambda: True, raising=False)
    progress.Lines().say('a bar is drawn instead')
  assert len(said()) == 3


def test_what_is_left_is_of_the_units_after_the_first(clock):
  watch = progress.Clock()
  clock[0] = 50
  watch.tick()
  assert watch.left(10) == 'at most 8:20 left'
  watch, clock[0] = progress.Clock(), 0
  for clock[0] in (100, 110, 130):
    watch.tick()
  assert watch.left(10) == '2:30 left' and watch.left(0) == ''
  assert [progress.duration(s) for s in (0.4, 59.6, 130, 7322)] == ['0:00', '1:00', '2:10', '2:02:02']


def test_a_run_tells_of_its_epochs(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(progress, 'EVERY', 0.0)
  monkeypatch.setattr('sys.stderr.isatty', lambda: False, raising=False)
  data = runs.npz(tmp_path / 'data.npz')
  config = runs.recipe(data, phases=(('naive', 1, {}), ('gce', 2, {})))
  with caplog.at_level(logging.INFO, 'noisyjax'):
    runs.fit(config, tmp_path / 'w', monkeypatch)
  lines = [r.message for r in caplog.records if r.message.startswith('epoch')]
  form = r'epoch {} \({}\) · loss \d+\.\d{{3}} · val \d+\.\d % \(given\) · \d+ images/s{}'
  times = (*[r' · at most \d+:\d\d left'] * 2, '')  # the first epoch of each phase compiles
  for line, epoch, phase, left in zip(lines, ('1/3', '2/3', '3/3'), ('naive', 'gce', 'gce'), times, strict=True):
    assert re.fullmatch(form.format(epoch, phase, left), line), line


def test_an_epoch_of_a_later_phase_counts_by_its_rows(tmp_path, monkeypatch):
  units = []
  monkeypatch.setattr(progress.Clock, 'left', lambda _, n: units.append(n) or '')
  config = runs.recipe(runs.npz(tmp_path / 'data.npz'), phases=(('naive', 2, {}), ('gce', 3, {'steps_per_epoch': 20})))
  config.batch_size, config.steps_per_epoch = 8, 5
  runs.fit(config, tmp_path / 'w', monkeypatch)
  assert units == [1 + 3 * 4, 3 * 4, 2, 1, 0]  # 20 steps take as long as 4 epochs of 5 steps


def test_find_tells_of_its_folds(caplog, monkeypatch):
  monkeypatch.setattr(progress, 'EVERY', 0.0)
  monkeypatch.setattr('sys.stderr.isatty', lambda: False, raising=False)
  monkeypatch.setattr(out_of_fold, '_held_out', lambda plan, data, held, *_: np.ones((len(held), 2)))
  images = np.arange(40 * 64).reshape(40, 8, 8, 1) % 251
  with caplog.at_level(logging.INFO, 'noisyjax'):
    out_of_fold.out_of_fold(images.astype(np.uint8), np.arange(40) % 2, ('a', 'b'), folds=4)
  lines = [r.message for r in caplog.records if r.message.startswith('fold')]
  assert [line.split(' · ')[0] for line in lines] == [f'fold {i} of 4' for i in (1, 2, 3, 4)]
