"""The versions of all branches of a table, and the versions that each comes from."""

from collections import Counter
from pathlib import Path
from typing import Any

from noisyjax.tables import refs, versions

_TOLD = ('version', 'parents', 'message', 'author', 'time', 'status', 'changes')


def listed(folder: Path) -> list[dict[str, Any]]:
  """Returns each version before those it comes from, else the newest first.

  Returns:
    Dictionaries with version, parents, message, author, time, status and changes of the manifest, and branches: the
    names of the branches whose current version it is.

  Raises:
    UserError: a version is missing or damaged.
  """
  tips = refs.branches(folder)
  found: dict[str, dict[str, Any]] = {}
  waiting = list(tips.values())
  while waiting:
    if (name := waiting.pop()) not in found:
      found[name] = versions.read_manifest(folder, name)
      waiting += found[name]['parents']
  children = Counter(parent for manifest in found.values() for parent in manifest['parents'])
  ready, out = [name for name in found if not children[name]], []
  while ready:
    ready.sort(key=lambda name: found[name]['time'])
    manifest = found[name := ready.pop()]
    branches = [branch for branch, tip in tips.items() if tip == name]
    out.append({**{key: manifest.get(key) for key in _TOLD}, 'branches': branches})
    for parent in manifest['parents']:
      children[parent] -= 1
      if not children[parent]:
        ready.append(parent)
  return out
