"""The log of noisyjax: messages for the user on stderr. absl, orbax and jax log through absl's own logger.

File and class names come from untrusted sources. All text for a terminal passes through `plain`, so that no name can
send control sequences: move the cursor, change the window title or disguise other text.
"""

import logging
import re
import sys

from absl import logging as absl_logging

log = logging.getLogger('noisyjax')

# Control characters except tab and line feed, line separators, marks that change text direction, and surrogates.
_CONTROL = re.compile('[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')


def plain(text: str) -> str:
  """Returns the text with control characters and bytes that are not UTF-8 replaced by escapes such as "\\x1b"."""
  return _CONTROL.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def say(*texts: object, end: str = '\n') -> None:
  """Prints each text as a line on stdout: the output of a command, as opposed to its log."""
  print(*(plain(f'{text}') for text in texts), sep='\n', end=end)


class _Plain(logging.Formatter):
  """Formats records through `plain`."""

  def format(self, record: logging.LogRecord) -> str:
    return plain(super().format(record))


def show() -> None:
  """Sends `log` to stderr, one line per message, and limits absl's logger to warnings. Commands call it at start."""
  if not log.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain('%(message)s'))
    log.addHandler(handler)
    log.propagate = False
  log.setLevel(logging.INFO)
  absl_logging.set_verbosity('warning')  # hides the start-up messages of jax and orbax
  for stream in (sys.stdout, sys.stderr):  # a terminal whose encoding lacks "→" shows an escape
    if hasattr(stream, 'reconfigure'):
      stream.reconfigure(errors='backslashreplace')
