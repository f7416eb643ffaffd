"""Independent loops: other seeds, and other draws of labels, noise and parts of the data; one table over all."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.loop import round as round_
from noisyjax.loop.finish import Final, balanced
from noisyjax.loop.loop import Ended, loop
from noisyjax.reports import collection, formatting
from noisyjax.reports.tables import Cell, Table, spread
from noisyjax.runs import launch


def several(config: ConfigDict, workdir: str, count: int, engine: launch.Engine | None = None) -> Table:
  """Runs loops in the subfolders loop=0, loop=1, …, and returns the table of what they have in common."""
  ended = []
  for number in range(count):
    own = config.copy_and_resolve_references()
    for part in (own, own.data, own.noise):
      part.seed += number
    ended.append(loop(own, Path(workdir) / f'loop={number}', engine=engine))
  made = table(ended)
  collection.write_table(workdir, made)
  return made


def table(ended: Sequence[Ended]) -> Table:
  """Returns the table of several loops: a number of a loop is the mean of its seeds."""
  each = [_lines(one) for one in ended]
  start = [_last(lines['version 0']) if 'version 0' in lines else None for lines in each]
  head = ('runs', 'test: last', 'balanced (selected)', 'gain over version 0', 'promoted', 'least precision of a class')
  rows: list[Sequence[Cell]] = []
  for name in (name for name in each[0] if all(name in lines for lines in each)):
    finals = [lines[name] for lines in each]
    last = [_last(final) for final in finals]
    gain = [None if a is None or b is None else a - b for a, b in zip(last, start)]
    row = [name, spread(last), spread(_mean(map(balanced, final.results)) for final in finals), spread(gain)]
    labels = [_labels(one) for one in ended] if name == 'chosen version' else []
    least = [_least(of['precision'] for of in found['classes'].values()) for found in labels]
    rows.append((*row, spread(found['promoted'] for found in labels), spread(least)))
  notes = [f'mean ± sample standard deviation over {len(ended)} loops; a number of a loop is the mean of its seeds.']
  notes += dict.fromkeys(note for one in ended for note in one.table.notes[1:])  # what they were told, and the like
  notes += [f'loop={i} ended after {len(one.done)} rounds: {one.why}.' for i, one in enumerate(ended)]
  return Table(head, rows, notes)


def _lines(one: Ended) -> dict[str, Final]:
  """Returns the final runs of a loop by what they are in every loop."""
  of = {final.name: final for final in one.finals}
  named = {'version 0': 'version=0', 'chosen version': f'version={round_.best(one.done)["round"]}'}
  named |= {name: name for name in of if not name.startswith('version=')}
  return {name: of[own] for name, own in named.items() if own in of}


def _labels(one: Ended) -> dict[str, Any]:
  """Returns what the audit says of the labels of the chosen version."""
  unknown = {'promoted': None, 'classes': {}}
  return one.audit.get('labels', {}).get(f'{round_.best(one.done)["round"]}', unknown)


def _least(values: Iterable[float | None]) -> float | None:
  """Returns the lowest value; None if no class has one: a class that gained no label has no precision."""
  return min((value for value in values if value is not None), default=None)


def _last(final: Final) -> float | None:
  return _mean(result['audit'].get('last') for result in final.results)


def _mean(values: Iterable[float | None]) -> float | None:
  found = formatting.mean_std(values)
  return found and found[0]
