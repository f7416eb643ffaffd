"""The page's server: its routes, which read the ledger, the evidence and the images, and record decisions."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from noisyjax.loop.table_images import TableImages
from noisyjax.review import (
  answers as answers_,
  columns as columns_,
  details,
  evidence,
  packing,
  requests,
  scores,
  settings,
  thumbnails,
)
from noisyjax.review.columns import Content
from noisyjax.review.guard import Guard
from noisyjax.review.ledger import Ledger
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.review.training import Trainings
from noisyjax.system.commands import command
from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.tables import refs

_MEDIA = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}


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
  static = {file.name: file.read_bytes() for file in resources.files('noisyjax.review').joinpath('static').iterdir()}
  index_of = {place: i for i, place in enumerate(shown.places.tolist())}
  told = answers_.Answers(ledger.table)

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
    answered = {rule: set(found['ids']) for rule, found in answers_.of_rules(told.read()).items()}
    return Response(packing.packed(*columns_.made(ledger, shown, answered)), media_type='application/octet-stream')

  def answered(request: Request) -> Response:
    found, rows = told.read(), ledger.table.rows
    place_of = lambda ids: rows.places(list(ids)).tolist()
    rules = answers_.of_rules(found)
    for each in rules.values():
      each['places'] = dict(zip(place_of(each['ids']), each.pop('ids').values()))
    pairs = answers_.of_pairs(found)
    for pair in pairs:
      places = place_of(each['id'] for each in pair['differ'])
      pair['differ'] = [
        {'place': place, 'said': each['said']} for place, each in zip(places, pair['differ']) if place in index_of
      ]
    return JSONResponse({'rules': rules, 'oneself': answers_.of_oneself(found), 'pairs': pairs})

  def changes(request: Request) -> Response:
    seq = request.query_params.get('seq', '')[:18]
    found = ledger.since(request.query_params.get('version', ''), int(seq) if seq.isdecimal() else -1)
    return JSONResponse({**found, 'thumbnails': [small.made, small.total]})

  def row(request: Request) -> Response:
    place = request.path_params['place']
    if place not in index_of:
      return Response(status_code=404)
    found = details.of_place(shown.details, place)
    for each in found:
      each['neighbours'] = [near for near in each['neighbours'] if near in index_of]
    return JSONResponse({**ledger.history(place), 'details': found})

  def decide(content: Mapping[str, Any]) -> dict[str, Any]:
    classes, rule = ledger.table.classes, requests.rule(content, shown.proposals)
    said = requests.decisions(content, classes)
    for i, (place, decision) in enumerate(said):
      if place in index_of:
        said[i] = place, decision._replace(evidence=evidence.told(shown.sources, index_of[place], classes))
    facts: dict[str, Any] = {name: True for name in ('blind', 'repeat') if content.get(name) is True}
    if rule:
      proposed = [rule.said(place, classes) for place, _ in said]
      facts['proposal'] = {'rule': rule.rule, 'said': proposed}
    ledger.decide(said, str(content.get('version', '')), **facts)
    return {}

  def adopt(content: Mapping[str, Any]) -> dict[str, Any]:
    rule = requests.rule(content, shown.proposals)
    if rule is None:
      raise UserError('the request names no rule.')
    said = requests.adopted(content, rule, ledger.table.classes)
    facts = {k: v for k, v in rule.entry.items() if k != 'counts'}
    ledger.decide(said, str(content.get('version', '')), rule.rule, **facts)
    return {}

  def train(content: Mapping[str, Any]) -> dict[str, Any]:
    if ledger.read_only:
      raise UserError('this page only reads: it was opened with --read_only.')
    trainings.start(refs.resolve(ledger.table.folder, str(content.get('on', ''))))
    return {}

  answers: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    'decide': decide,
    'adopt': adopt,
    'undo': lambda content: {'places': ledger.undo()},
    'redo': lambda content: {'places': ledger.redo()},
    'settings': lambda content: {'settings': settings.write(ledger.table.facts['first'], content)},
    'revert': lambda content: {'made': ledger.revert(str(content.get('to', '')))},
    'train': train,
    'commit': lambda content: {'made': ledger.commit(str(content.get('message', '')))},
  }

  def done(answer: Callable[[Mapping[str, Any]], dict[str, Any]], content: Mapping[str, Any]) -> dict[str, Any]:
    seq = requests.whole(content.get('seq', -1))
    return {**answer(content), **ledger.since(str(content.get('version', '')), seq)}

  async def write(request: Request) -> Response:
    answer = answers[request.path_params['what']]
    try:
      content = await request.json()
    except (ValueError, RecursionError):
      return JSONResponse({'error': 'the request is not JSON.'}, 400)
    if not isinstance(content, dict):
      raise UserError('the request is no JSON object.')
    with small.paused():  # the reply is sent after the journal is on the disk
      return JSONResponse(await run_in_threadpool(done, answer, content))

  def versions(request: Request) -> Response:
    known = scores.read([*shown.workdirs, *trainings.workdirs])
    listed = ledger.versions()
    for each in listed:
      each['scores'] = [score for score in known if each['version'].startswith(score['version'])]
      each['command'] = command(*trainings.command(each['version']))
    return JSONResponse(listed)

  def difference(request: Request) -> Response:
    return JSONResponse(ledger.difference(request.query_params.get('old', ''), request.query_params.get('new', '')))

  writes = [Route(f'/api/{name}', _named(write, name), methods=['POST']) for name in answers]
  routes = [
    Route('/', lambda request: file('index.html')),
    Route('/static/{name}', lambda request: file(request.path_params['name'])),
    Route('/image/{key}/{place:int}', lambda request: picture(request, lambda at: thumbnails.shown(images.read(at)))),
    Route('/thumb/{key}/{place:int}', lambda request: picture(request, small.read)),
    Route('/api/columns', columns),
    Route('/api/changes', changes),
    Route('/api/settings', lambda request: JSONResponse(settings.read(ledger.table.facts['first']))),
    Route('/api/answers', answered),
    Route('/api/row/{place:int}', row),
    Route('/api/versions', versions),
    Route('/api/training', lambda request: JSONResponse(trainings.told())),
    Route('/api/proposal', lambda request: JSONResponse(ledger.proposal())),
    Route('/api/difference', difference),
    *writes,
  ]
  refused = lambda _, error: JSONResponse({'error': str(error)}, 409)  # such as a file that was damaged meanwhile
  return Guard(Starlette(routes=routes, exception_handlers={UserError: refused}), token)


def _named(write: Callable[[Request], Any], name: str) -> Callable[[Request], Any]:
  """Returns a handler whose request names what is written, as if its path did."""

  async def named(request: Request) -> Response:
    request.path_params['what'] = name
    return await write(request)

  return named
