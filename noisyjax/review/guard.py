"""Who may talk to the page's server: this machine's browser, with the token of the address.

A web page elsewhere can make a browser send requests to 127.0.0.1. It knows neither the token nor the cookie; its
name in the headers Host (DNS rebinding) and Origin is foreign; and the cookie is not sent along (SameSite).
"""

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOCAL = ('127.0.0.1', 'localhost', '[::1]')  # with any port: a tunnel may end at another one
_POLICY = (
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
  'content-security-policy': _POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
}
LARGEST = 64 * 2**20  # bytes of a request: a decision on a million rows


def _is_local(host: str) -> bool:
  """Returns whether a Host header, with or without a port, names this machine."""
  return host in _LOCAL or host.rpartition(':')[0] in _LOCAL


class Guard:
  """ASGI middleware that refuses what does not come from the page.

  Attributes:
    token: the secret in the address that the terminal prints.
  """

  def __init__(self, app: ASGIApp, token: str) -> None:
    self.app, self.token = app, token
    self._session = secrets.token_urlsafe(32)
    self._cookie = f'noisyjax_{secrets.token_hex(4)}'  # cookies are shared by all ports of a host

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] != 'http':
      if scope['type'] == 'websocket':
        await send({'type': 'websocket.close', 'code': 1008})
      return
    enters = self._enters(scope)

    async def guarded(message: Message) -> None:
      if message['type'] == 'http.response.start':
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
          headers[name] = value
        headers.setdefault('cache-control', 'no-store')
        if enters:
          headers.append('set-cookie', f'{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict')
      await send(message)

    answer = self._refusal(scope, enters) or self.app
    await answer(scope, receive, guarded)

  def _refusal(self, scope: Scope, enters: bool) -> Response | None:
    """Returns the answer to a request that is refused, else None."""
    headers = Headers(scope=scope)
    host = headers.get('host', '')
    if not _is_local(host):
      return PlainTextResponse('Host: expected 127.0.0.1 or localhost.\n', 403)
    origin = headers.get('origin')
    writes = scope['method'] not in ('GET', 'HEAD')
    if (origin is not None or writes) and origin != f'http://{host}':
      return PlainTextResponse('Origin: expected the page itself.\n', 403)
    if not enters and not self._known(headers):
      return PlainTextResponse('Open the address with ?token=… that the terminal prints.\n', 403)
    if writes and headers.get('content-type') != 'application/json':
      return PlainTextResponse('Content-Type: expected application/json.\n', 415)
    size = headers.get('content-length', '')
    if writes and (not size.isdecimal() or int(size) > LARGEST):
      return PlainTextResponse(f'Content-Length: expected at most {LARGEST}.\n', 413)
    return None

  def _enters(self, scope: Scope) -> bool:
    """Returns whether a request opens the page with the right token and a host of this machine."""
    if scope['path'] != '/' or not _is_local(Headers(scope=scope).get('host', '')):
      return False
    token = parse_qs(scope['query_string'].decode('latin-1')).get('token', [''])[0]
    return hmac.compare_digest(token.encode(), self.token.encode())

  def _known(self, headers: Headers) -> bool:
    try:
      cookie = SimpleCookie(headers.get('cookie', '')).get(self._cookie)
    except CookieError:
      return False
    return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._session.encode())
