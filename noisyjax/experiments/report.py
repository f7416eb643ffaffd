"""What a finished workdir shows: curves, confusion matrix, a self-contained page; and several workdirs side by side.

Everything is read back from the run's files. Whatever needs true or test labels comes from the audit files, is drawn
dashed or in the audit color and is called "audit" where it stands; a number chosen on the test labels says "oracle".
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisyjax import config, writer
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


def compare(workdirs: Sequence[str | os.PathLike]) -> str:
  """Returns `table` of finished runs, in which only runs that differ in nothing but the seed share a row."""
  records = [read(folder) for folder in dict.fromkeys(Path(w).resolve() for w in workdirs)]
  runs = [(record.result, config.flat(record.config)) for record in records]
  alike: dict[tuple, list[dict]] = {}
  for result, settings in runs:
    alike.setdefault((result['strategy'], result['model']), []).append(settings)
  own = {}
  for members in alike.values():
    for field in sorted(set().union(*members)):
      values = {json.dumps(m[field]) for m in members if field in m}  # one that an older run lacks is as it was
      fold = all(value.startswith('"@') for value in values)  # of one cross-validation
      if field != 'seed' and len(values) > 1 and not fold:
        own[field] = field.replace('.', '/') if '.' in field else f'config/{field}'  # a dot would look into the result
  rows = [result | {column: settings.get(field) for field, column in own.items()} for result, settings in runs]
  return table(rows, ('strategy', 'model', *own.values()))


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
    groups.setdefault(tuple(json.dumps(nested(result, key)) for key in by), []).append(result)
  groups = [(tuple(words.text(nested(members[0], key)) for key in by), members) for members in groups.values()]
  head = (*by, 'last', 'mean of last 10', 'best by validation', 'best by test (oracle)', 'seconds', 'told')
  rows = []
  for key, members in groups:
    accuracies = [
      _counted([nested(r, f'audit.{rule}') for r in members], 100, 2)
      for rule in ('last', 'mean_last_10', 'best_by_validation', 'oracle')
    ]
    if accuracies[-1] != '-':
      accuracies[-1] += ' (oracle)'
    rows.append((*key, *accuracies, _counted([r.get('seconds') for r in members], 1, 1), _told(members)))
  notes = []
  for key, members in groups:
    seeds = [r.get('seed') for r in members]
    if len(set(seeds)) < len(seeds):
      notes.append(f'{", ".join(key)}: runs of one seed are averaged.')
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
    each = [list(dict.fromkeys(words.text(words.rounded(nested(r, field))) for r in members)) for _, members in groups]
    values = list(dict.fromkeys(value for group in each for value in group))
    by_seed = field == 'data.fingerprint' and all(set(group) == set(each[0]) for group in each)  # noise drawn per seed
    if len(values) > 1 and field not in by and not by_seed:
      short = [value[:24] for value in values] if len({value[:24] for value in values}) == len(values) else values
      shown = short if len(values) <= 4 else [*short[:3], f'… ({len(values)} values)']
      notes.append(f'Not equal: {name}: {", ".join(shown)}.')
  return '\n'.join([words.markdown(head, rows), *([''] if notes else []), *notes]) + '\n'


def _counted(values: Sequence[float | None], scale: float, digits: int) -> str:
  known = [v for v in values if v is not None]
  return words.spread(known, scale, digits) + (f' ({len(known)})' if known else '')


def _told(results: Iterable[Mapping[str, Any]]) -> str:
  return '; '.join(dict.fromkeys(str(k) for r in results for k in r.get('knowledge') or ())) or 'nothing'
