"""benchmarks/curves.py: the test of equivalence and, with PyTorch (`make test-differential`), the pairs themselves."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import runs

BENCHMARKS = runs.ROOT / 'benchmarks'
sys.path.append(str(BENCHMARKS))
from equivalence import equivalence  # noqa: E402


@pytest.mark.parametrize(
  ('differences', 'equivalent'),
  [([0.3, -0.2, 0.5, 0.1, -0.4], True), ([2.3, 1.8, 2.5, 2.1, 1.6], False), ([4.0, -4.0, 3.0, -3.0, 0.0], False)],
)
def test_equivalence_is_two_one_sided_t_tests(differences, equivalent):
  found = equivalence(differences, 2.0)
  above = stats.ttest_1samp(differences, -2.0, alternative='greater').pvalue
  below = stats.ttest_1samp(differences, 2.0, alternative='less').pvalue
  interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.9)
  assert found.p == pytest.approx(max(above, below)) and (found.low, found.high) == pytest.approx(interval)
  assert found.equivalent == equivalent == (found.low > -2 and found.high < 2)
  assert (found.mean, found.sigma) == pytest.approx((np.mean(differences), np.std(differences, ddof=1)))


@pytest.mark.parametrize('sigma', [0.5, 1.2, 2.0])
def test_the_power_is_how_often_pairs_without_a_difference_are_found_equivalent(sigma):
  base = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
  power = equivalence(sigma * base / base.std(ddof=1), 2.0).power
  drawn = np.random.default_rng(0).normal(0, sigma, (20_000, 5))
  half = stats.t.ppf(0.95, 4) * drawn.std(1, ddof=1) / np.sqrt(5)
  assert power == pytest.approx((np.abs(drawn.mean(1)) + half < 2).mean(), abs=0.015)


def test_equal_pairs_are_equivalent_and_equal_differences_beyond_the_margin_are_not():
  assert equivalence([0.0, 0.0, 0.0], 2.0)[4:] == (0.0, 1.0, True)
  assert not equivalence([3.0, 3.0, 3.0], 2.0).equivalent


def test_the_networks_of_both_sides_have_the_same_logits():
  torch = pytest.importorskip('torch', reason='PyTorch is not installed; make test-differential installs it.')
  from plain_cnn import Model
  from torch_curves import Plain

  model, images = Model(10), np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
  variables = model.init(jax.random.key(0), images, False)
  net, seen = Plain(variables['params'], variables['batch_stats']), torch.tensor(images.transpose(0, 3, 1, 2))
  for train in (True, False):
    ours = model.apply(variables, images, train, mutable=['batch_stats'])[0][0]
    assert_allclose(net.train(train)(seen).detach().numpy(), ours, atol=1e-4)
    net = Plain(variables['params'], variables['batch_stats'])  # with the running statistics of the beginning


def curves(folder, *arguments):
  own = [sys.executable, str(BENCHMARKS / 'curves.py'), '--generated', f'--out={folder}', *arguments]
  done = subprocess.run(own, capture_output=True, text=True, check=False)
  return done.returncode, done.stdout + done.stderr


def test_pairs_stay_together_at_first_and_are_not_trained_again(tmp_path):
  pytest.importorskip('torch', reason='PyTorch is not installed; make test-differential installs it.')
  code, said = curves(tmp_path, '--rows=256', '--seeds=1')
  assert code == 0, said
  written = json.loads((tmp_path / 'curves.json').read_text())
  assert [run['method'] for run in written['runs']] == ['naive', 'elr', 'co_teaching', 'divide_mix', 'fixmatch']
  for run in written['runs']:
    assert abs(run['ours'][0] - run['reference'][0]) <= 0.02, run  # 4 steps, and 2 of DivideMix
  assert curves(tmp_path, '--rows=256', '--seeds=1')[0] == 0
  assert json.loads((tmp_path / 'curves.json').read_text()) == written
  code, said = curves(tmp_path, '--rows=128', '--seeds=1')
  assert code == 1 and 'choose another --out' in said and 'Traceback' not in said
