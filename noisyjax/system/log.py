"""The package's own log: sentences for a person, on stderr. (absl's is left to absl, orbax and jax.)

Names of files and classes come from anywhere: what reaches a terminal goes through `plain`, so that none of them can
move its cursor, change its title or stand for another text.
"""

import logging
import re
import sys

from absl import logging as absl_logging

log = logging.getLogger('noisyjax')

# Control characters but tab and line feed, separators of lines, and marks that turn the direction of text.
_CONTROL = re.compile('[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')


def plain(text: str) -> str:
  """Returns the text with control characters, and bytes that are no UTF-8, written out: "\\x1b"."""
  return _CONTROL.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def say(*texts: object, end: str = '\n') -> None:
  """Prints a line for each, on stdout; what a command has to say beside its log."""
  print(*(plain(f'{text}') for text in texts), sep='\n', end=end)


class _Plain(logging.Formatter):
  def format(self, record: logging.LogRecord) -> str:
    return plain(super().format(record))


def show() -> None:
  """Lets `log` speak, one plain line a message; what the commands do on starting."""
  if not log.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain('%(message)s'))
    log.addHandler(handler)
    log.propagate = False
  log.setLevel(logging.INFO)
  absl_logging.set_verbosity('warning')  # what jax and orbax have to say of their start-up
  for stream in (sys.stdout, sys.stderr):  # a terminal that has no "→" shows an escape
    if hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
