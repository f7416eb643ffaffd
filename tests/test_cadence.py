import pytest

from noisyjax.system.cadence import Cadence
from noisyjax.system.errors import UserError


def turns(spec, steps=range(1, 21), seconds=lambda step: step * 0.5):
  cadence = Cadence(spec, steps_per_epoch=4, total_steps=20)
  return [step for step in steps if cadence.due(step, seconds(step))]


@pytest.mark.parametrize(
  'spec, expected',
  [
    ('1 epoch', [4, 8, 12, 16, 20]),
    ('2 epochs', [8, 16]),
    ('0.5 epochs', list(range(2, 21, 2))),
    ('7 steps', [7, 14]),
    ('25 percent', [5, 10, 15, 20]),
    ('30 percent', [6, 12, 18]),
    ('3 seconds', [6, 12, 18]),
  ],
)
def test_every_multiple_is_due_once(spec, expected):
  assert turns(spec) == expected


def test_percents_do_not_drift():
  cadence = Cadence('1.1 percent', steps_per_epoch=1, total_steps=300)  # 3.3 steps
  assert [s for s in range(1, 301) if cadence.due(s, 0)] == [-(-33 * k // 10) for k in range(1, 91)]


def test_several_steps_per_call_lose_no_turn():
  assert turns('5 steps', steps=range(3, 21, 3)) == [6, 12, 15]


@pytest.mark.parametrize('spec', ['1 epoch', '7 steps', '25 percent', '3 seconds'])
def test_a_resumed_run_goes_on_where_it_stopped(spec):
  whole = turns(spec)
  assert [s for s in whole if s > 13] == turns(spec, steps=range(14, 21))


def test_time_before_the_first_call_is_not_due():
  assert turns('3 seconds', seconds=lambda step: 100 + step * 0.5) == [4, 10, 16]  # 102, 105, 108 seconds


@pytest.mark.parametrize('spec', ['', '1', 'epoch', '1epoch', '0 steps', '-1 steps', '1 week', '1e3 steps'])
def test_a_malformed_spec_is_quoted_with_examples(spec):
  with pytest.raises(UserError, match="'60 seconds'") as error:
    Cadence(spec, 4, 20)
  assert repr(spec) in str(error.value)
