"""What a finished workdir shows: curves, confusion matrix, a self-contained page; and several workdirs side by side.

Everything is read back from the run's files. Whatever needs true or test labels comes from the audit files, is drawn
dashed or in the audit color and is called "audit" where it stands; a number chosen on the test labels says "oracle".
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisyjax import writer
from noisyjax.experiments import page, pictures, words
from noisyjax.experiments.record import nested, read


def write_report(workdir: str | os.PathLike) -> Path:
  """Writes curves.png, confusion.png and report.html (one file, no external resources); returns the page's path."""
  record, folder = read(workdir), Path(workdir)
  drawn = {'curves.png': pictures.curves(record), 'confusion.png': pictures.confusion(record)}
  for name, png in drawn.items():
    writer.write_bytes(folder / name, png)
  writer.write_text(folder / 'report.html', page.page(record, *drawn.values()))
  return folder / 'report.html'


def write_comparison(groups: Mapping[str, Sequence[str | os.PathLike]], path: str | os.PathLike) -> Path:
  """Writes the picture of several groups of finished workdirs (`pictures.comparison`) and returns its path."""
  records = {name: [read(workdir) for workdir in workdirs] for name, workdirs in groups.items()}
  writer.write_bytes(path, pictures.comparison(records))
  return Path(path)


def table(results: Sequence[Mapping[str, Any]], by: Sequence[str]) -> str:
  """A Markdown table of results grouped over their seeds, in the order of first appearance.

  Args:
    results: the content of each run's result.json.
    by: fields that tell groups apart, dotted where nested: ('strategy', 'noise.requested').

  Returns:
    The table: mean ± sample standard deviation (n) of each test accuracy in percent, seconds, and what the method was
    told. Below it, one line for each other thing in which the runs compared differ, since no such comparison is fair.
  """
  groups: dict[tuple, list] = {}
  for result in results:
    groups.setdefault(tuple(words.text(nested(result, key)) for key in by), []).append(result)
  head = (*by, 'last', 'mean of last 10', 'best by validation', 'best by test (oracle)', 'seconds', 'told')
  rows = []
  for key, members in groups.items():
    accuracies = [
      _counted([nested(r, f'audit.{rule}') for r in members], 100, 2)
      for rule in ('last', 'mean_last_10', 'best_by_validation', 'oracle')
    ]
    if accuracies[-1] != '-':
      accuracies[-1] += ' (oracle)'
    rows.append((*key, *accuracies, _counted([r.get('seconds') for r in members], 1, 1), _told(members)))
  notes = []
  for key, members in groups.items():
    if nested(members[0], 'audit.one_network'):
      alone = _counted([nested(r, 'audit.one_network.last') for r in members], 100, 2)
      notes.append(f'{", ".join(key)}: the vote of {members[0]["networks"]} networks; the first alone, last: {alone}.')
  for field, name in (
    ('data.fingerprint', 'data'),
    ('noise.kind', 'noise'),
    ('noise.requested', 'requested noise rate'),
    ('audit.test_labels', 'labels of the test rows'),
    ('audit.test_rows', 'test rows'),
    ('validation.labels', 'labels of the validation rows'),
    ('model', 'model'),
    ('epochs', 'epochs'),
    ('passes', 'passes (budget)'),
    ('device', 'device'),
  ):
    each = [
      list(dict.fromkeys(words.text(words.rounded(nested(r, field)))[:24] for r in members))
      for members in groups.values()
    ]
    values = list(dict.fromkeys(value for group in each for value in group))
    by_seed = field == 'data.fingerprint' and all(set(group) == set(each[0]) for group in each)  # noise drawn per seed
    if len(values) > 1 and field not in by and not by_seed:
      shown = values if len(values) <= 4 else [*values[:3], f'… ({len(values)} values)']
      notes.append(f'Not equal: {name}: {", ".join(shown)}.')
  return '\n'.join([words.markdown(head, rows), *([''] if notes else []), *notes]) + '\n'


def _counted(values: Sequence[float | None], scale: float, digits: int) -> str:
  known = [v for v in values if v is not None]
  return words.spread(known, scale, digits) + (f' ({len(known)})' if known else '')


def _told(results: Iterable[Mapping[str, Any]]) -> str:
  return '; '.join(dict.fromkeys(str(k) for r in results for k in r.get('knowledge') or ())) or 'nothing'
