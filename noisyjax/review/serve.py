"""Serves the review page on 127.0.0.1 until it is interrupted."""

import contextlib
import secrets
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from noisyjax.loop import table_images
from noisyjax.review import app, curate, details, evidence, proposals, training
from noisyjax.review.columns import Content
from noisyjax.review.ledger import Ledger
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.review.training import Trainings
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def serve(
  folder: Path,
  author: str,
  workdirs: Sequence[Path] = (),
  *,
  branch: str = 'main',
  images: str = '',
  port: int = 0,
  read_only: bool = False,
  curated: int = 0,
) -> None:
  """Opens a table for review, prints the address of the page, and serves it until Ctrl-C.

  Args:
    folder: folder of the table.
    author: who decides on the page, "person:NAME".
    workdirs: runs that are evidence, and folders of proposals.
    branch: branch of the table.
    images: folder or archive of the images; '' = that of the table's source.
    port: port; 0 = a free one.
    read_only: whether the page refuses decisions.
    curated: number of rows that are drawn to be labeled for validation; 0 = the page is not about that.

  Raises:
    UserError: the table, its images or a run cannot be read, or the port is taken.
  """
  ledger = Ledger(folder, branch, author, read_only, curated > 0)
  if curated and workdirs:
    raise UserError('--workdir: is not taken with --curate; a person labels without anything to lean on.')
  places = curate.places(ledger.table, curated) if curated else ledger.shown()
  shown = Content(
    places,
    evidence.read(workdirs, ledger.table, places),
    details.read(workdirs, ledger.table),
    proposals.read(workdirs, ledger.table),
    workdirs,
  )
  with table_images.opened(ledger.table, images) as found, _socket(port) as listener:
    small = Thumbnails(found, places, ledger.table.facts['first'])
    token = secrets.token_urlsafe(24)
    trainings = Trainings(training.runs(workdirs), folder)
    server = app.made(ledger, shown, found, small, trainings, token)
    config = uvicorn.Config(server, log_level='error', access_log=False, lifespan='off', ws='none', server_header=False)
    what = 'rows to curate' if curated else 'training rows'
    say(f'{folder}: {len(places):,} {what}; Ctrl-C ends the page, which a browser shows at this address:')
    say(f'http://127.0.0.1:{listener.getsockname()[1]}/?token={token}')
    sys.stdout.flush()  # a program that started this one may wait for the address
    small.start()
    try:
      with contextlib.suppress(KeyboardInterrupt):  # the usual end; every decision is on the disk
        uvicorn.Server(config).run(sockets=[listener])
    finally:
      trainings.close()
      small.close()


def _socket(port: int) -> socket.socket:
  """Returns a socket that listens on 127.0.0.1 alone."""
  listener = socket.socket()
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind(('127.0.0.1', port))
    listener.listen(128)  # from now on a browser is kept waiting, not refused
  except OSError as error:
    listener.close()
    raise UserError(
      f'--port: {port} cannot be used: {error.strerror}; expected another, or 0 for a free one.'
    ) from None
  return listener
