"""What the README promises a reader: its example strategy runs as it stands there, and a method is a short file."""

import ast
import re
from pathlib import Path

import numpy as np

import noisyjax.strategies
from configs import digits
from noisyjax.config.override import override
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.runs import run
from noisyjax.system import plugins


def test_example_strategy_runs(tmp_path):
  readme = (Path(__file__).parent.parent / 'README.md').read_text()
  (source,) = [code for code in re.findall(r'```python\n(.*?)```', readme, re.S) if 'class Strategy' in code]
  (tmp_path / 'hard_bootstrap.py').write_text(source)
  c = digits.get_config()
  named = {'strategy.name': str(tmp_path / 'hard_bootstrap.py'), 'strategy.hard_bootstrap.beta': 0.6}
  override(c, named, 'test')
  c.epochs = 12
  c.noise.kind = 'none'
  result = run.run(c, tmp_path / 'run')
  for file in plugins.loaded(STRATEGIES, ['hard_bootstrap']):  # other tests count the package's own
    plugins.forget(file)
  assert result['strategy'] == 'hard_bootstrap'
  assert result['audit']['last'] > 0.8  # clean digits: it learns
  assert np.isfinite(result['audit']['last'])


# One of each family, those that a reader meets first.
CORE = (
  'naive',
  'gce',
  'elr',
  'forward',
  'clean_correction',
  'glc',
  'loss_filter',
  'co_teaching',
  'fixmatch',
  'divide_mix',
)


def code_lines(path):
  """Returns how many lines of a file are neither docstrings nor imports."""
  text = path.read_text()
  nodes = list(ast.walk(ast.parse(text)))
  documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
  apart = [n.body[0] for n in nodes if isinstance(n, documented) and ast.get_docstring(n) is not None]
  apart += [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
  return len(text.splitlines()) - sum(n.end_lineno - n.lineno + 1 for n in apart)


def test_a_method_is_a_short_file():
  folder = Path(next(iter(noisyjax.strategies.__path__)))
  lines = {path.stem: code_lines(path) for path in folder.glob('*.py')}
  assert max(lines.values()) <= 110
  assert all(lines[name] <= 70 for name in CORE)
