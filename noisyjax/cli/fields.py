"""fields: lists the fields that --config.field=value can set."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)


def run(values: FlagValues, word: str = '') -> None:
  from noisyjax.config import field_list

  say(field_list.text(word, values.config))


COMMAND = Command(
  'fields',
  '[WORD] [--config=F]',
  'every --config.field (about WORD) with its default, or its value in F, its allowed values and its meaning',
  declare,
  run,
  word=True,
)
