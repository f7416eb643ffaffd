"""Every strategy as a whole run: trained by its own plan, saved, loaded again, and scored as it said."""

import json

import numpy as np
import pytest

import noisyjax
import runs
from noisyjax import config as configs, plugins
from noisyjax.data.prepare import prepare

NAMES = plugins.names(configs.STRATEGIES, 'Strategy')


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
  found = noisyjax.load(tmp_path / 'run')(images)
  assert np.mean(found == labels) == pytest.approx(result['audit']['selected'])
