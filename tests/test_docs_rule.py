"""The rule of docs/adding_a_rule.md does what the page says, its snippet runs as it stands, and it lists every rule."""

import dataclasses
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from test_every_rule import CLASSES, NAMES, planted

import runs
from noisyjax.rules import apply, rule
from noisyjax.rules.rule import Base
from noisyjax.system import plugins
from noisyjax.tables.rows import LABELED

PAGE = (runs.ROOT / 'docs/adding_a_rule.md').read_text()


@pytest.fixture
def reader(tmp_path, monkeypatch):
  """The folder of a reader who saved the page's rule, in a process that has loaded none."""
  monkeypatch.setattr(plugins, '_files', {})
  monkeypatch.chdir(tmp_path)
  (name, text), *_ = re.findall(r'Save it as `(\w+\.py)`.*?```python\n(.*?)```', PAGE, re.DOTALL)
  (tmp_path / name).write_text(text)


def test_the_rule_of_the_guide_demotes_the_undecided_rows(reader):
  rows, truth, evidence = planted()
  done = apply.dry_run(rule.parsed('./undecided.py:threshold=0.6,agreement=0.9'), evidence, rows, CLASSES, truth)
  wrong = (rows.status == LABELED) & (evidence.predicted != rows.label)
  assert_array_equal(done.proposed.place, np.flatnonzero(wrong & (evidence.agree < 1) & (evidence.margin <= 0.4)))
  assert done.author == 'rule:undecided' and len(done.entry['file']) == 64
  assert {decision.action for decision in done.decisions} == {'unlabel'}
  assert apply.again(done.entry, evidence, rows, CLASSES, truth).decisions == done.decisions
  with pytest.raises(rule.UserError, match='expected this file, loaded by its path'):
    apply.again({**done.entry, 'file': 'f' * 64}, evidence, rows, CLASSES, truth)


def test_the_snippet_of_the_guide_runs(reader, capsys):
  (snippet,) = [text for text in re.findall(r'```python\n(.*?)```', PAGE, re.DOTALL) if 'class ' not in text]
  exec(snippet, {})
  assert 'demote' in capsys.readouterr().out


def test_the_guide_lists_every_rule_and_every_common_parameter():
  listed = PAGE[PAGE.index('## The rules there are') :]
  assert sorted(re.findall(r'`(\w+)`', listed)) == sorted(NAMES)
  common = PAGE[PAGE.index('## What every rule can do') : PAGE.index('## How its precision')]
  assert {field.name for field in dataclasses.fields(Base)} <= set(re.findall(r'`(\w+)`', common))


def test_a_rule_of_the_users_that_is_none_is_refused(reader, tmp_path):
  (tmp_path / 'plain.py').write_text('class Rule:\n  pass\n')
  with pytest.raises(rule.UserError, match='is no frozen dataclass'):
    rule.parsed('./plain.py')
  text = (tmp_path / 'undecided.py').read_text().replace("'unlabel', -1", "'label', 7")
  (tmp_path / 'odd.py').write_text(text)
  rows, _, evidence = planted()
  with pytest.raises(rule.UserError, match='rule odd: proposes a label that is no class'):
    apply.dry_run(rule.parsed('./odd.py'), evidence, rows, CLASSES)
