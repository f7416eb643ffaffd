"""The page's server: its routes. `reads` answers what changes nothing, `writes` records decisions."""

import functools

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from noisyjax.loop.table_images import TableImages
from noisyjax.review.columns import Content
from noisyjax.review.guard import Guard
from noisyjax.review.ledger import Ledger
from noisyjax.review.reads import Reads
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.review.training import Trainings
from noisyjax.review.writes import Write, Writes
from noisyjax.system.errors import UserError


def made(
  ledger: Ledger, shown: Content, images: TableImages, small: Thumbnails, trainings: Trainings, token: str
) -> Guard:
  """Returns the server, an ASGI application.

  Args:
    ledger: the table.
    shown: what the page shows of it.
    images: the images of the table.
    small: their thumbnails.
    trainings: what starts trainings.
    token: the secret that opens the page.
  """
  reads, writes = Reads(ledger, shown, images, small, trainings), Writes(ledger, shown, trainings)

  async def written(write: Write, request: Request) -> Response:
    try:
      content = await request.json()
    except (ValueError, RecursionError):
      return JSONResponse({'error': 'the request is not JSON.'}, 400)
    if not isinstance(content, dict):
      raise UserError('the request is no JSON object.')
    with small.paused():  # the reply is sent after the journal is on the disk
      return JSONResponse(await run_in_threadpool(writes.done, write, content))

  routes = [
    Route('/', reads.page),
    Route('/static/{name}', reads.page),
    Route('/image/{key}/{place:int}', reads.image),
    Route('/thumb/{key}/{place:int}', reads.thumbnail),
    Route('/api/columns', reads.columns),
    Route('/api/changes', reads.changes),
    Route('/api/settings', reads.settings),
    Route('/api/answers', reads.answers),
    Route('/api/row/{place:int}', reads.row),
    Route('/api/versions', reads.versions),
    Route('/api/training', reads.training),
    Route('/api/proposal', reads.proposal),
    Route('/api/difference', reads.difference),
  ]
  for name, write in writes.named().items():
    routes.append(Route(f'/api/{name}', functools.partial(written, write), methods=['POST']))
  refused = lambda _, error: JSONResponse({'error': str(error)}, 409)  # such as a file that was damaged meanwhile
  return Guard(Starlette(routes=routes, exception_handlers={UserError: refused}), token)
