"""benchmarks/tuned.py: which runs are missing, and which setting is chosen, by validation alone."""

import json

import pytest

import runs


@pytest.fixture
def tuned(monkeypatch, tmp_path):
  monkeypatch.syspath_prepend(str(runs.ROOT / 'benchmarks'))
  import leaderboard
  import tuned

  monkeypatch.setattr(leaderboard, 'WORKDIR', type('Flag', (), {'value': str(tmp_path)}))
  return tuned


def method(tuned, name='naive'):
  made = tuned.Method.__new__(tuned.Method)
  made.name, made.epochs, made.settings = name, 40, tuned.TRIALS[name]
  return made


def finish(one, setting, seed, validation, test):
  folder = one.folder(setting, seed)
  folder.mkdir(parents=True)
  result = {'validation': {'best': validation}, 'audit': {'last': test}}
  (folder / 'result.json').write_text(json.dumps(result))


def test_the_setting_with_the_best_noisy_validation_gets_the_other_seeds(tuned):
  one = method(tuned)
  assert list(one.missing()) == [(0, 0), (1, 0), (2, 0)] and one.chosen() is None
  finish(one, 0, 0, 0.55, 0.99)  # the best by test rows
  finish(one, 2, 0, 0.58, 0.60)
  assert list(one.missing()) == [(1, 0)] and one.results() == []
  finish(one, 1, 0, 0.57, 0.98)
  assert one.chosen() == 2 and list(one.missing()) == [(2, 1), (2, 2)]
  finish(one, 2, 1, 0.50, 0.50)  # a worse second seed does not change the choice
  assert one.chosen() == 2 and list(one.missing()) == [(2, 2)]
  assert [r['audit']['last'] for r in one.results()] == [0.60, 0.50]


def test_every_method_has_equally_many_settings_and_the_first_is_the_recipes(tuned):
  assert len(tuned.TRIALS) == 10
  assert {len(settings) for settings in tuned.TRIALS.values()} == {3}
  assert all(settings[0] == {} for settings in tuned.TRIALS.values())
