"""The package's own log: sentences for a person, on stderr. (absl's is left to absl, orbax and jax.)"""

import logging

from absl import logging as absl_logging

log = logging.getLogger('noisyjax')


def show() -> None:
  """Lets `log` speak, one plain line a message; what the commands do on starting."""
  if not log.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter('%(message)s'))
    log.addHandler(handler)
    log.propagate = False
  log.setLevel(logging.INFO)
  absl_logging.set_verbosity('warning')  # what jax and orbax have to say of their start-up
