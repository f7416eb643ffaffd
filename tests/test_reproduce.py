"""benchmarks/reproduce.py: the first epochs of a whole recipe, beside the published range."""

import json
import os
import subprocess
import sys

import pytest
from test_published import cifar10

import runs

BENCHMARKS = runs.ROOT / 'benchmarks'
# What makes the recipe small: epochs of one step of a tiny network.
SMALL = (
  'noise.kind=none',
  'noise.path=',
  'noise.column=',
  'model.name=small_cnn',
  'model.small_cnn.widths=4,4,4',
  'batch_size=5',
  'steps_per_epoch=1',
)


def reproduce(home, *arguments):
  """Runs the program with data from `home`; returns its exit code and what it printed."""
  own = [sys.executable, str(BENCHMARKS / 'reproduce.py'), f'--workdir={home / "runs"}', *arguments]
  environment = os.environ | {'NOISYJAX_DATA': str(home)}
  done = subprocess.run(own, cwd=home, env=environment, capture_output=True, text=True, check=False)
  return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_ten_epochs_of_a_whole_recipe_are_trained_judged_and_not_trained_again(tmp_path):
  cifar10(tmp_path / 'cifar-10-batches-py')
  arguments = ('--method=naive', *(f'--set={field}' for field in SMALL))
  code, text = reproduce(tmp_path, *arguments, '--dry_run')
  assert code == 0 and 'launch.py train' in text and '59.4-66.9 %' in text and not (tmp_path / 'runs').exists()
  code, text = reproduce(tmp_path, *arguments)
  assert code == 1 and 'below, outside the published range' in text, text
  assert 'The remaining 90 epochs take about' in text
  folder = tmp_path / 'runs/naive'
  config, log = json.loads((folder / 'config.json').read_text()), (folder / 'audit.jsonl').read_text()
  assert config['epochs'] == 100 and config['schedule']['milestones'] == [60.0]  # the whole recipe's schedule
  assert reproduce(tmp_path, *arguments)[0] == 1 and (folder / 'audit.jsonl').read_text() == log
  code, text = reproduce(tmp_path, '--method=elr')  # without the labels of CIFAR-10N
  assert code == 1 and 'CIFAR-10_human.pt' in text and 'before epoch 10' in text


@pytest.mark.parametrize(
  ('accuracy', 'inside', 'says'), [(59.36, True, 'inside'), (59.3, False, 'below'), (67.0, False, 'above')]
)
@pytest.mark.slow
def test_the_verdict_and_the_time_left(accuracy, inside, says):
  """In a process of its own, because the program defines flags of absl."""
  code = f'import reproduce as r; print(*r.verdict({accuracy}, 59.4, 66.9)); print(r.remaining([60, 36, 36], 103))'
  done = subprocess.run([sys.executable, '-c', code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
  assert done.stdout.startswith(str(inside)) and says in done.stdout and done.stdout.splitlines()[-1] == '1.0'
