"""benchmarks/tuned.py: which runs are missing, and which setting is chosen, by validation alone."""

from types import SimpleNamespace

import pytest

import runs
from noisyjax.system.errors import UserError


@pytest.fixture
def tuned(monkeypatch):
  monkeypatch.syspath_prepend(str(runs.ROOT / 'benchmarks'))
  import tuned

  for flag, value in (('ROWS', 10_000), ('WIDTHS', ['32']), ('CONV', 'auto')):
    monkeypatch.setattr(tuned.leaderboard, flag, SimpleNamespace(value=value))
  return tuned


def method(tuned, finished=()):
  return tuned.Method('naive', 40, finished)


def finish(one, setting, seed, validation, test):
  audit = dict.fromkeys(('last', 'mean_last_10', 'best_by_validation', 'oracle'), test)
  run = {'method': 'naive', 'setting': one.settings[setting], 'seed': seed, 'epochs': 40, 'passes': 9, 'seconds': 1.0}
  one.finished.append(run | {'knowledge': [], 'validation': validation, 'audit': audit, 'curve': [1.0, 100 * test]})


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


def test_a_sweep_goes_on_from_its_record_alone(tuned, tmp_path):
  one = method(tuned)
  finish(one, 0, 0, 0.5, 0.5)
  assert tuned.write([one], 9, tmp_path) == ''  # no table yet
  again = method(tuned, tuned.read(tmp_path))
  assert list(again.missing()) == [(1, 0), (2, 0)]
  finish(again, 1, 0, 0.4, 0.6)
  finish(again, 2, 0, 0.3, 0.7)
  assert 'as published' in tuned.write([again], 9, tmp_path)
  assert list(method(tuned, tuned.read(tmp_path)).missing()) == [(0, 1), (0, 2)]


def test_runs_of_another_protocol_share_no_record(tuned, tmp_path, monkeypatch):
  tuned.write([method(tuned)], 9, tmp_path)
  monkeypatch.setattr(tuned.leaderboard, 'ROWS', SimpleNamespace(value=500))
  with pytest.raises(UserError, match=r"tuned.json: holds runs of \{'rows': 10000, .* expected \{'rows': 500"):
    tuned.read(tmp_path)


def test_every_method_has_equally_many_settings_and_the_first_is_the_recipes(tuned):
  assert len(tuned.TRIALS) == 10
  assert {len(settings) for settings in tuned.TRIALS.values()} == {3}
  assert all(settings[0] == {} for settings in tuned.TRIALS.values())
