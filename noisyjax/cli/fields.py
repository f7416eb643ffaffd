"""fields: what --config.field=value may set."""

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
  'every --config.field (about WORD), its default or value in F, its range and meaning',
  declare,
  run,
  word=True,
)
