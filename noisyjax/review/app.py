"""The page's server: its routes, which read the ledger, the evidence and the images, and record decisions."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from noisyjax.loop.table_images import TableImages
from noisyjax.review import details, evidence, packing, thumbnails
from noisyjax.review.details import Details
from noisyjax.review.evidence import Source
from noisyjax.review.guard import Guard
from noisyjax.review.ledger import GONE, Ledger
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import STATUSES

_MEDIA = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}
ACTIONS = ('label', 'unlabel', 'hold', 'drop', 'restore')  # that the page offers


def made(
  ledger: Ledger,
  sources: list[Source],
  more: list[Details],
  places: np.ndarray,
  images: TableImages,
  small: Thumbnails,
  token: str,
) -> Guard:
  """Returns the server, an ASGI application.

  Args:
    ledger: the table.
    sources: the evidence, of the rows at `places`.
    more: what the card of a row shows beyond the evidence.
    places: places of the rows that the page shows, int64 [n].
    images: the images of the table.
    small: their thumbnails.
    token: the secret that opens the page.
  """
  static = {file.name: file.read_bytes() for file in resources.files('noisyjax.review').joinpath('static').iterdir()}
  index_of = {place: i for i, place in enumerate(places.tolist())}

  def file(name: str) -> Response:
    if name not in static:
      return Response(status_code=404)
    return Response(static[name], media_type=_MEDIA.get(name.rpartition('.')[2], 'application/octet-stream'))

  def picture(request: Request, read: Callable[[int], tuple[bytes, str]]) -> Response:
    place = request.path_params['place']
    if place not in index_of:
      return Response(status_code=404)
    try:
      content, media = read(place)
    except Exception as error:  # a decoder on damaged bytes may raise anything
      log.debug('%s', error)
      return Response(status_code=404)
    return Response(content, media_type=media, headers={'cache-control': 'private, max-age=86400'})

  def columns(request: Request) -> Response:
    return Response(packing.packed(*_columns(ledger, sources, places)), media_type='application/octet-stream')

  def changes(request: Request) -> Response:
    seq = request.query_params.get('seq', '')[:18]
    found = ledger.since(request.query_params.get('version', ''), int(seq) if seq.isdecimal() else -1)
    return JSONResponse({**found, 'thumbnails': [small.made, small.total]})

  def row(request: Request) -> Response:
    place = request.path_params['place']
    if place not in index_of:
      return Response(status_code=404)
    found = details.of_place(more, place)
    for each in found:
      each['neighbours'] = [near for near in each['neighbours'] if near in index_of]
    return JSONResponse({**ledger.history(place), 'details': found})

  def decide(content: Mapping[str, Any]) -> dict[str, Any]:
    said = _decisions(content, ledger.table.classes)
    for i, (place, decision) in enumerate(said):
      if place in index_of:
        said[i] = place, decision._replace(evidence=evidence.told(sources, index_of[place], ledger.table.classes))
    ledger.decide(said, str(content.get('version', '')))
    return {}

  answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    'decide': decide,
    'undo': lambda content: {'places': ledger.undo()},
    'redo': lambda content: {'places': ledger.redo()},
    'commit': lambda content: {'made': ledger.commit(str(content.get('message', '')))},
  }

  async def write(request: Request) -> Response:
    answer = answers[request.path_params['what']]
    try:
      content = await request.json()
    except ValueError:
      return JSONResponse({'error': 'the request is not JSON.'}, 400)
    try:
      if not isinstance(content, dict):
        raise UserError('the request is no JSON object.')
      seq = _whole(content.get('seq', -1))
      # The reply is sent after the journal is on the disk.
      out = await run_in_threadpool(answer, content)
      head = await run_in_threadpool(ledger.since, str(content.get('version', '')), seq)
    except UserError as error:
      return JSONResponse({'error': str(error)}, 409)
    return JSONResponse({**out, **head})

  def difference(request: Request) -> Response:
    try:
      return JSONResponse(ledger.difference(request.query_params.get('old', ''), request.query_params.get('new', '')))
    except UserError as error:
      return JSONResponse({'error': str(error)}, 409)

  writes = [Route(f'/api/{name}', _named(write, name), methods=['POST']) for name in answers]
  routes = [
    Route('/', lambda request: file('index.html')),
    Route('/static/{name}', lambda request: file(request.path_params['name'])),
    Route('/image/{key}/{place:int}', lambda request: picture(request, lambda at: thumbnails.shown(images.read(at)))),
    Route('/thumb/{key}/{place:int}', lambda request: picture(request, small.read)),
    Route('/api/columns', columns),
    Route('/api/changes', changes),
    Route('/api/row/{place:int}', row),
    Route('/api/versions', lambda request: JSONResponse(ledger.versions())),
    Route('/api/proposal', lambda request: JSONResponse(ledger.proposal())),
    Route('/api/difference', difference),
    *writes,
  ]
  return Guard(Starlette(routes=routes), token)


def _named(write: Callable[[Request], Any], name: str) -> Callable[[Request], Any]:
  async def named(request: Request) -> Response:
    request.path_params['what'] = name
    return await write(request)

  return named


def _columns(ledger: Ledger, sources: list[Source], places: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Returns header and arrays of all that the page holds of its rows."""
  ledger.refresh()
  head, rows, table = ledger.head(), ledger.table.rows, ledger.table
  state = {
    'place': places.astype(np.uint32),
    'status': rows.status[places].astype(np.uint8),
    'label': rows.label[places].astype(np.int32),
    'verified': rows.verified[places].astype(np.int32),
    'given': rows.given_label[places].astype(np.int32),
    'weight': rows.weight[places].astype(np.float32),
  }
  state['status'][~np.isin(places, ledger.shown())] = GONE
  told, arrays = [], dict(state)
  for name, values in packing.texts(rows.name[places].tolist()).items():
    arrays[f'name {name}'] = values
  for source in sources:
    for column in source.columns:
      key = f'evidence {len(told)}'
      arrays[key] = column.values
      told.append({'key': key, **{name: getattr(column, name) for name in ('name', 'source', 'kind', 'basis')}})
  header = {
    **head,
    'table': table.folder.resolve().name,
    'folder': str(table.folder),
    'branch': table.branch,
    'author': ledger.author,
    'read_only': ledger.read_only,
    'key': table.facts['first'][:12],
    'classes': table.classes,
    'statuses': list(STATUSES),
    'hidden': len(rows) - len(places),
    'decided': [list(row) for row in ledger.decided()],
    'columns': told,
    'runs': [{'name': s.name, 'version': s.version, 'stale': s.stale} for s in sources],
  }
  return header, arrays


def _decisions(content: Mapping[str, Any], classes: list[str]) -> list[tuple[int, Decision]]:
  """Returns place and decision of a request's "action", "rows" and, for the action "label", "labels" (class numbers).

  Raises:
    UserError: the request is malformed.
  """
  action, rows, reason = content.get('action'), content.get('rows'), content.get('reason', '')
  if action not in ACTIONS or not isinstance(rows, list) or not rows or not isinstance(reason, str):
    raise UserError(f'the request has no rows, or no action; expected one of {", ".join(ACTIONS)}.')
  labels = content.get('labels') if action == 'label' else [0] * len(rows)
  if not isinstance(labels, list) or len(labels) != len(rows):
    raise UserError('the request has not one label for each row.')
  out = []
  for place, label in zip(map(_whole, rows), map(_whole, labels)):
    if not 0 <= label < len(classes):
      raise UserError(f'label: found {label}; expected a class, 0 to {len(classes) - 1}.')
    out.append((place, Decision('', action, classes[label] if action == 'label' else '', reason=reason[:1000])))
  return out


def _whole(value: Any) -> int:
  if type(value) is not int:
    raise UserError('the request holds something else where a whole number is expected.')
  return value
