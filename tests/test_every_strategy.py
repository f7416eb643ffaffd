"""A whole run of every strategy: trained with its own phases, saved, loaded again, and scored with the same result."""

import json

import numpy as np
import pytest

import noisyjax
import runs
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.data.prepare import prepare
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

NAMES = plugins.names(STRATEGIES, 'Strategy')


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_it_runs_from_data_to_predictions(name, tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  # Small enough for any split that a method makes of 96 rows.
  config = runs.recipe(path, strategy__name=name, epochs=4, batch_size=8, steps_per_epoch=4)
  result = runs.fit(config, tmp_path / 'run', monkeypatch)
  assert 0 <= result['audit']['last'] <= 1 and result['passes'] > 0
  assert {m['strategy'] for m in runs.lines(tmp_path / 'run')} >= {name}
  assert json.loads((tmp_path / 'run' / 'model.json').read_text())['strategy'] == name
  _, audit = prepare(config)
  images, labels = audit.test
  found = noisyjax.load(tmp_path / 'run')(np.asarray(images))
  assert np.mean(found == labels) == pytest.approx(result['audit']['selected'])


@pytest.mark.parametrize('threshold', [1.0, 0.0])
def test_a_split_without_clean_or_without_wrong_rows_goes_on(threshold, tmp_path, monkeypatch):
  path = runs.npz(tmp_path / 'data.npz')
  own = {'strategy__name': 'divide_mix', 'strategy__divide_mix__threshold': threshold, 'batch_size': 32}
  result = runs.fit(runs.recipe(path, epochs=2, **own), tmp_path / 'run', monkeypatch)
  assert result['epochs'] == 2 and result['steps'] == 3 + (1 if threshold else 3)  # an epoch has one step at least


@pytest.mark.parametrize('name', ['fine_tune', 'glc', 'l2rw'])
def test_a_method_that_learns_from_verified_rows_wants_some(name, tmp_path):
  path = runs.npz(tmp_path / 'data.npz', verified=np.full(len(runs.arrays()['true']), -1, np.int32))
  with pytest.raises(UserError, match=f"strategy.name: '{name}' learns from verified rows, and no training row is one"):
    runs.fit(runs.recipe(path, strategy__name=name), tmp_path / 'run')


def test_what_a_config_was_chosen_by_stands_in_the_result(tmp_path, monkeypatch):
  config = runs.recipe(runs.npz(tmp_path / 'data.npz'), epochs=1)
  config.told = ('kind of noise',)
  assert runs.fit(config, tmp_path / 'run', monkeypatch)['knowledge'] == ['kind of noise']
