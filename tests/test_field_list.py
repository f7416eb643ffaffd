"""`launch.py fields`: every field with the values that `config.check` allows and the comment at its definition."""

import re

import pytest

import runs
from noisyjax.config import defaults, field_list, fields
from noisyjax.config.flat import flat
from noisyjax.system.errors import UserError


def listed(word: str = '') -> dict[str, str]:
  """Returns field → the rest of its line."""
  return dict(re.split(r'\s+', line, maxsplit=1) for line in field_list.text(word).splitlines())


def test_every_field_is_listed_once():
  assert listed().keys() == flat(defaults.get_config()).keys()
  commented = [field for field, line in listed().items() if '  # ' in line]
  assert len(commented) > 0.7 * len(listed())


def test_a_word_is_of_names_and_begins_words_of_comments():
  found = listed('restart')
  assert found.keys() == {'schedule.final', 'schedule.restart'}
  assert found['schedule.restart'].endswith('at least 1e-06  # period of warm_restarts, in epochs')
  assert 'one of: constant step' in listed()['schedule.name']
  assert 'data.size' not in listed('lr')  # "already"
  with pytest.raises(UserError, match=r"no field has 'restrat' in its name or description\. Similar words: .*restart"):
    field_list.text('restrat')


def test_strategies_and_models_say_what_theirs_are_for():
  found = listed()
  assert found['strategy.clean_correction.confidence'].endswith(
    'from 0 to 1  # minimum probability of a correction; rows below it are left out.'
  )
  assert 'below 0: estimated' in found['strategy.co_teaching.forget']
  assert found['model.small_cnn.scale'].endswith('; keeps the predictions soft early in training.')
  assert 'one of: ' in found['model.name'] and ' dense ' in found['model.name']  # a plug-in of the tests too


@pytest.mark.parametrize('field', ['ema', 'optim.momentum', 'data.size', 'epochs', 'model.small_cnn.widths', 'seed'])
def test_what_is_listed_is_what_is_checked(field):
  low = float(re.search(r'(?:from|at least) ([\d.e-]+)', listed(field)[field])[1])
  whole = isinstance(flat(defaults.get_config())[field], int | tuple)
  values = lambda number: (int(number),) if field.endswith('widths') else int(number) if whole else number
  fields.check(field, values(low))
  with pytest.raises(UserError, match=f'^{re.escape(field)}: expected'):
    fields.check(field, values(low - 1))


def test_the_command_takes_one_word():
  several = runs.launch_all([['fields', 'momentum'], ['fields', 'a', 'b'], ['fields', '--config=digits', 'batch_size']])
  assert several[0][0] == 0 and several[0][1].startswith('optim.')
  assert several[1][0] == 2 and "fields: found 'b' beside the command" in several[1][2]
  assert several[2][1].splitlines()[0].split()[:2] == ['batch_size', '64']  # the recipe's
