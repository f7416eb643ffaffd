"""What the server answers to requests that change nothing: columns, rows, pictures, versions and answers."""

from collections.abc import Callable
from importlib import resources

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from noisyjax.loop.table_images import TableImages
from noisyjax.review import answers, columns, details, packing, scores, settings, thumbnails
from noisyjax.review.columns import Content
from noisyjax.review.ledger import Ledger
from noisyjax.review.thumbnails import Thumbnails
from noisyjax.review.training import Trainings
from noisyjax.system.commands import command
from noisyjax.system.log import log

_MEDIA = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}


class Reads:
  """The handlers of these requests; the arguments are those of `app.made`."""

  def __init__(
    self, ledger: Ledger, shown: Content, images: TableImages, small: Thumbnails, trainings: Trainings
  ) -> None:
    self._ledger, self._shown, self._images, self._small = ledger, shown, images, small
    self._trainings, self._answers = trainings, answers.Answers(ledger.table)
    self._places = frozenset(shown.places.tolist())
    folder = resources.files('noisyjax.review').joinpath('static')
    self._static = {file.name: file.read_bytes() for file in folder.iterdir()}

  def page(self, request: Request) -> Response:
    """Returns the page, or the file of it that the path names."""
    name = request.path_params.get('name', 'index.html')
    if name not in self._static:
      return Response(status_code=404)
    return Response(self._static[name], media_type=_MEDIA.get(name.rpartition('.')[2], 'application/octet-stream'))

  def image(self, request: Request) -> Response:
    """Returns the image of a row."""
    return self._picture(request, lambda place: thumbnails.shown(self._images.read(place)))

  def thumbnail(self, request: Request) -> Response:
    """Returns the thumbnail of a row."""
    return self._picture(request, self._small.read)

  def _picture(self, request: Request, read: Callable[[int], tuple[bytes, str]]) -> Response:
    place = request.path_params['place']
    if place not in self._places:
      return Response(status_code=404)
    try:
      content, media = read(place)
    except Exception as error:  # a decoder on damaged bytes may raise anything
      log.debug('%s', error)
      return Response(status_code=404)
    return Response(content, media_type=media, headers={'cache-control': 'private, max-age=86400'})

  def columns(self, request: Request) -> Response:
    """Returns all columns of the page, packed."""
    answered = {rule: set(found['ids']) for rule, found in answers.of_rules(self._answers.read()).items()}
    made = columns.made(self._ledger, self._shown, answered)
    return Response(packing.packed(*made), media_type='application/octet-stream')

  def answers(self, request: Request) -> Response:
    """Returns what people made of the proposals of rules, and how far people agree."""
    found, rows = self._answers.read(), self._ledger.table.rows
    place_of = lambda ids: rows.places(list(ids)).tolist()
    rules = answers.of_rules(found)
    for each in rules.values():
      each['places'] = dict(zip(place_of(each['ids']), each.pop('ids').values()))
    pairs = answers.of_pairs(found)
    for pair in pairs:
      places = place_of(each['id'] for each in pair['differ'])
      pair['differ'] = [
        {'place': place, 'said': each['said']} for place, each in zip(places, pair['differ']) if place in self._places
      ]
    return JSONResponse({'rules': rules, 'oneself': answers.of_oneself(found), 'pairs': pairs})

  def changes(self, request: Request) -> Response:
    """Returns what changed since a version and entry of the journal, and how many thumbnails there are."""
    seq = request.query_params.get('seq', '')[:18]
    found = self._ledger.since(request.query_params.get('version', ''), int(seq) if seq.isdecimal() else -1)
    return JSONResponse({**found, 'thumbnails': [self._small.made, self._small.total]})

  def row(self, request: Request) -> Response:
    """Returns the history of a row, and what each run says of it."""
    place = request.path_params['place']
    if place not in self._places:
      return Response(status_code=404)
    found = details.of_place(self._shown.details, place)
    for each in found:
      each['neighbours'] = [near for near in each['neighbours'] if near in self._places]
    return JSONResponse({**self._ledger.history(place), 'details': found})

  def versions(self, request: Request) -> Response:
    """Returns the versions of the table, with the scores of runs on them and the command that trains on each."""
    known = scores.read([*self._shown.workdirs, *self._trainings.workdirs])
    listed = self._ledger.versions()
    for each in listed:
      each['scores'] = [score for score in known if each['version'].startswith(score['version'])]
      each['command'] = command(*self._trainings.command(each['version']))
    return JSONResponse(listed)

  def difference(self, request: Request) -> Response:
    """Returns the rows in which two versions differ."""
    old, new = (request.query_params.get(name, '') for name in ('old', 'new'))
    return JSONResponse(self._ledger.difference(old, new))

  def settings(self, request: Request) -> Response:
    """Returns the settings of the page."""
    return JSONResponse(settings.read(self._ledger.table.facts['first']))

  def training(self, request: Request) -> Response:
    """Returns what the trainings that the page started are doing."""
    return JSONResponse(self._trainings.told())

  def proposal(self, request: Request) -> Response:
    """Returns what a commit would change."""
    return JSONResponse(self._ledger.proposal())
