"""What a person set on the page, kept in the folder of the user's settings: changed keys, and saved views by table.

The browser cannot keep it: with a free port, each start of the server is another site to the browser.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisyjax.system import storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

LARGEST = 2**18  # letters of all keys and views
_lock = threading.Lock()


def path() -> Path:
  """Returns the file of the settings."""
  folder = os.environ.get('XDG_CONFIG_HOME') or Path.home() / '.config'
  return Path(folder) / 'noisyjax' / 'review.json'


def read(table: str) -> dict[str, dict[str, str]]:
  """Returns the changed keys (command → key) and the saved views (name → address) of a table; {} where none are."""
  found = _all()
  views = found.get('views')
  return {'keys': _texts(found.get('keys')), 'views': _texts(views.get(table) if isinstance(views, dict) else None)}


def write(table: str, content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
  """Saves the "keys" or the "views" of a request, whichever it has, and returns all settings.

  Raises:
    UserError: they are no texts, too long, or the file cannot be written.
  """
  with _lock:
    found = _all()
    views = found.get('views')
    views = views if isinstance(views, dict) else {}
    for name in ('keys', 'views'):
      value = content.get(name)
      if value is not None and (not isinstance(value, dict) or value != _texts(value)):
        raise UserError(f'{name}: expected names and texts.')
    if 'keys' in content:
      found['keys'] = content['keys']
    if 'views' in content:
      found['views'] = {**views, table: content['views']}
    if len(text := storage.json_text(found)) > LARGEST:
      raise UserError(f'the settings are longer than {LARGEST:,} letters; expected fewer or shorter views.')
    storage.make_folder(path().parent)
    storage.write_text(path(), text)
  return read(table)


def _all() -> dict[str, Any]:
  if not path().exists():
    return {}
  try:
    found = storage.read_json(path())
  except UserError as error:
    log.warning('%s The page begins with its own keys.', error)
    return {}
  return found if isinstance(found, dict) else {}


def _texts(value: Any) -> dict[str, str]:
  return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}
