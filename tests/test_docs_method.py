"""The two methods of docs/adding_a_method.md do what the page says they do, and its snippet runs as it stands there."""

import re

import numpy as np
import pytest
from golden import (
  DATA,
  GIVEN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  mean_error,
  notices,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose, assert_array_equal

import runs
import tiny
from noisyjax.config.build import find_strategy
from noisyjax.system import plugins
from tiny import CLASSES, ROWS

PAGE = (runs.ROOT / 'docs/adding_a_method.md').read_text()
PROGRAMS = dict(re.findall(r'Save it as `(\w+\.py)`.*?```python\n(.*?)```', PAGE, re.DOTALL))


@pytest.fixture
def reader(tmp_path, monkeypatch):
  """The folder of a reader who saved the page's programs, in a process that has loaded none."""
  monkeypatch.setattr(plugins, '_files', {})
  monkeypatch.chdir(tmp_path)
  for name, text in PROGRAMS.items():
    (tmp_path / name).write_text(text)


def check_careful(strategy):
  phase, _, state = entered(strategy, epoch=6)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  logits = logits_of(state.params['net'], PIXELS[index])
  smoothing = 0.3 * (1 - softmax(logits).max(-1, keepdims=True))
  target = (1 - smoothing) * GIVEN[index] + smoothing / CLASSES
  error = mean_error(logits, target, 1.0)
  assert_descended(new, *descended(state.params['net'], PIXELS[index], error))
  assert_allclose(tiny.mean(metrics, 'loss'), cross_entropy(logits, target).mean(), rtol=1e-4)


def check_steady(strategy):
  """The refresh of epoch 6, after that of epoch 0 on entering; then one step."""
  phase, previous, state = entered(strategy, epoch=6)
  hit = logits_of(previous.params['net'], PIXELS)[0].argmax(-1) == DATA.given
  hits = 0.5 * hit + hit  # the same networks were scored twice
  assert_allclose(state.extra['hits'], hits)
  kept = LABELED & (hits >= hits[LABELED].mean())
  assert 3 < kept.sum() < LABELED.sum() - 3
  assert_array_equal(state.targets.trust[0], kept)
  assert_array_equal(state.masks['train'], kept)
  new, _ = tiny.advance(phase, state, DATA)
  index = rows_of(kept)
  logits = logits_of(state.params['net'], PIXELS[index])
  assert_descended(new, *descended(state.params['net'], PIXELS[index], mean_error(logits, GIVEN[index], 1.0)))
  assert_array_equal(new.extra['seen'][0], np.isin(np.arange(ROWS), index))


def test_the_loss_of_the_guide_takes_the_step_that_its_text_says(reader):
  notices(check_careful, find_strategy('./careful.py').build(strength=0.3))


def test_the_refresh_of_the_guide_keeps_the_rows_that_its_text_says(reader):
  notices(check_steady, find_strategy('./steady.py').build(decay=0.5))


def test_the_snippet_of_the_guide_runs(reader):
  (snippet,) = [text for text in re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL) if 'class ' not in text]
  exec(snippet, {})
