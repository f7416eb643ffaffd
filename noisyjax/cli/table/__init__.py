"""The commands of label tables, `noisyjax table …`."""

from noisyjax.cli.table import (
  add,
  branch,
  commit,
  curate,
  decide,
  diff,
  init,
  log,
  merge,
  propose,
  revert,
  show,
  transfer,
  undo,
  verify,
)

_ONE_EACH = (init, add, log, show, diff, propose, decide, undo, commit, curate, revert, branch, merge, verify)
COMMANDS = (*(module.COMMAND for module in _ONE_EACH), transfer.EXPORT, transfer.IMPORT)
