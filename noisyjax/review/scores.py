"""How good networks trained on a version are: on validation labels of a run, or on the frozen labels of a round."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noisyjax.rules.precision import wilson
from noisyjax.system import formats, reading
from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.tables.versions import SHORT


def read(workdirs: Sequence[Path]) -> list[dict[str, Any]]:
  """Returns version, run, accuracy, low, high, rows and what was scored, of each run and of all rounds of a loop.

  Scores of different runs stand beside each other if they are of the same rows; none is of test rows. A run that was
  damaged meanwhile has none, and the log says so: the versions can still be seen and committed to.
  """
  folders = dict.fromkeys(workdirs)
  for workdir in workdirs:  # the other rounds of the same loop
    if workdir.name.startswith('round='):
      folders |= dict.fromkeys(path.parent for path in sorted(workdir.parent.glob('round=*/round.json')))
  out = []
  for folder in folders:
    try:
      with reading.reading(folder, 'a run with scores'):
        out += list(_of(folder))
    except UserError as error:
      log.warning('%s', error)
  return out


def _of(folder: Path) -> Iterator[dict[str, Any]]:
  if (path := folder / 'round.json').exists():
    found = formats.read_json(formats.LOOP, path)
    if 'score' in found:
      score, (low, high) = found['score'], found['score']['interval']
      told = {'accuracy': score['accuracy'], 'low': low, 'high': high, 'rows': score['rows'], 'of': 'frozen labels'}
      yield {'version': found['version'][:SHORT], 'run': folder.name, **told}
  elif (path := folder / 'result.json').exists():
    data = formats.read_json(formats.RUN, path)
    known = data.get('validation') or {}
    accuracy = known.get(data.get('selected', 'last'), known.get('last'))
    version = data.get('data', {}).get('table', {}).get('version', '')
    if accuracy is not None and version:
      low, high = wilson(accuracy * known['rows'], known['rows'])
      told = {'accuracy': accuracy, 'low': float(low), 'high': float(high), 'rows': known['rows']}
      yield {'version': version[:SHORT], 'run': folder.name, **told, 'of': f'{known["labels"]} labels that validate'}
