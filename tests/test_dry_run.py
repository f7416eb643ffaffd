"""`train --dry_run`: the plan of a run is what the run then does, and nothing is written."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import runs
from noisyjax.engine import passes
from noisyjax.runs import dry_run
from noisyjax.system.errors import UserError


def table(text: str) -> list[dict[str, str]]:
  """Returns the rows of the Markdown table in the text."""
  head, _, *rows = [[c.strip() for c in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
  return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize('timed', [False, True])
def test_the_plan_is_what_the_run_does(tmp_path, monkeypatch, timed):
  monkeypatch.setattr(dry_run, 'MEASURED', 0.0)
  monkeypatch.chdir(tmp_path)
  data = runs.npz(tmp_path / 'data.npz')
  phases = (('naive', 2, {'rows': 'trusted', 'labels': 'verified', 'batch_size': 8}), ('loss_filter', 3, {}))
  config = runs.recipe(data, phases=phases, strategy__loss_filter__rate=0.3)
  text, _, passes = dry_run.estimated(config, timed)
  assert [p.name for p in tmp_path.iterdir()] == ['data.npz']
  result = runs.fit(config, tmp_path / 'w', monkeypatch)
  first, second = table(text)
  number = lambda row, name: int(row[name].replace(',', ''))
  assert (first['phase'], second['phase']) == ('naive', 'loss_filter')
  assert number(first, 'steps') + number(second, 'steps') == result['steps']
  assert number(first, 'passes') + number(second, 'passes') == result['passes'] == pytest.approx(passes, abs=1)
  assert (number(first, 'rows'), number(second, 'rows')) == (24, 96)
  assert '96 training rows of 8x8x1 in 3 classes (24 verified, 0 unlabeled), 32 validation rows, 40 test rows' in text
  assert re.search(r'time: about \d+:\d\d on cpu', text) and re.search(r'memory: about [\d,]+ MB', text)
  changed, rest = text.split('config, the rest:')
  assert "data.source = 'npz'  (default 'digits')" in changed and 'seed = 0' in rest and 'seed = 0' not in changed


def test_rows_without_a_label_count_only_where_a_method_uses_them(tmp_path):
  labels = np.where((np.arange(168) % 3 == 1) & (np.arange(168) < 96), -1, runs.arrays()['labels'])
  data = runs.npz(tmp_path / 'data.npz', labels=labels, verified=np.full(168, -1))
  counts = {}
  for name in ('naive', 'fixmatch'):
    text = dry_run.text(runs.recipe(data, strategy__name=name))
    counts[name] = int(table(text)[-1]['rows'])
    unlabeled = int(re.search(r'(\d+) unlabeled', text)[1])
  assert unlabeled and counts == {'naive': 96 - unlabeled, 'fixmatch': 96}


def test_what_keeps_a_run_from_starting_is_said(tmp_path):
  config = runs.recipe(runs.npz(tmp_path / 'data.npz', verified=np.full(168, -1)), rows='trusted')
  with pytest.raises(UserError, match="rows: 'trusted' leaves no row"):
    dry_run.text(config)


def test_operations_and_memory_of_a_function():
  square = jnp.ones((64, 64))
  assert passes.operations(jnp.matmul, square, square) == pytest.approx(2 * 64**3, rel=0.02)
  row = jnp.ones(1000)  # 4,000 bytes
  assert passes.peak(lambda x: (x + 1) * 2, row) == 12_000
  assert passes.peak(lambda x: ((x + 1) * 2 - 3) / 4, row) == 12_000  # what is used no more is dropped
  assert passes.peak(lambda x: (x + 1) + (x * 2), row) == 16_000


def test_the_command_needs_no_workdir_and_knows_its_values():
  wrong, _ = runs.launch_all([['train', '--config=digits', '--dry_run=soon'], ['train', '--version']])
  assert wrong[0] == 2 and 'dry_run' in wrong[2]


@pytest.mark.slow
def test_the_command(tmp_path):
  for flag in ('--dry_run', '--dry_run=timed'):
    code, out, err = runs.launch('train', '--config=digits', flag, cwd=tmp_path)
    assert code == 0, err
    assert table(out)[0]['steps'] == '420' and out.rstrip().endswith('Nothing was written.')
    assert ('measured on a few steps' in out) == (flag == '--dry_run=timed')
  assert not list(tmp_path.iterdir())
