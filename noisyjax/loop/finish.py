"""The end of a loop: ordinary runs on its versions and on version 0, which alone are scored on the test rows.

Every run trains on all training rows of its version. `version=r` are runs on the version of round r, all at the same
steps. `control=NAME` are runs on version 0 with the passes of the whole loop: of all its rounds and of one run on the
chosen version. `axis=NAME` are runs on the chosen version with other settings, so that what labels do and what settings
do can be told apart. Nothing here changes which version is chosen.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.check import plan_of
from noisyjax.config.override import override
from noisyjax.config.plan import Plan
from noisyjax.engine import passes
from noisyjax.loop import annotator, round as round_
from noisyjax.loop.ground import Ground
from noisyjax.loop.round import Record
from noisyjax.reports import collection
from noisyjax.reports.tables import Cell, Spread, Table, spread
from noisyjax.runs import launch
from noisyjax.runs.job import Job
from noisyjax.system.errors import Diverged, UserError
from noisyjax.tables.rows import TEST


class Final(NamedTuple):
  """The runs of one line of the table.

  Attributes:
    name: such as "version=3".
    round: number of the round whose version they train on.
    about: in words.
    results: result.json of each seed that did not diverge.
    folders: of the runs, one for each seed.
  """

  name: str
  round: int
  about: str
  results: list[dict[str, Any]]
  folders: list[Path]


def run(ground: Ground, done: Sequence[Record]) -> list[Final]:
  """Executes the final runs; finished ones are kept. Without test rows there are those on the chosen version alone."""
  planned = list(_planned(ground, done)) if ground.settings.final else []
  if not (ground.first.rows.split == TEST).any():
    planned = [line for line in planned if line[0] == f'version={round_.best(done)["round"]}']
  jobs = []
  for name, number, _, config in planned:
    folder = ground.folder / 'final' / _folder(name, number, config)
    for seed in range(ground.settings.final):
      own = config.copy_and_resolve_references()
      own.seed = ground.recipe.seed + seed
      jobs.append(Job(plan_of(own), Path(f'{folder},seed={seed}'), page=False))
  results = launch.launch(jobs, ground.load, ground.engine)
  if refused := [found for found in results if isinstance(found, UserError) and not isinstance(found, Diverged)]:
    raise refused[0]
  out, each = [], ground.settings.final
  for i, (name, number, about, _) in enumerate(planned):
    part = slice(i * each, (i + 1) * each)
    mine = [found for found in results[part] if not isinstance(found, UserError)]
    out.append(Final(name, number, about, mine, [job.workdir for job in jobs[part]]))
  return out


def _folder(name: str, number: int, config: ConfigDict) -> str:
  """Returns the name of a line with what changes when a loop that ended goes on: other rounds make other runs."""
  if name.startswith('control='):
    return f'{name},epochs={plan_of(config).epochs}'
  return f'{name},version={number}' if name.startswith('axis=') else name


def _planned(ground: Ground, done: Sequence[Record]) -> Iterator[tuple[str, int, str, ConfigDict]]:
  """Yields name, round, description and config of each line."""
  best = round_.best(done)
  ends = {0, best['round']}
  for record in done:
    if ground.settings.scored == 'ends' and record['round'] not in ends:
      continue
    words = ['version 0: as the source labels it'] if not record['round'] else [f'version of round {record["round"]}']
    words += ['chosen by frozen labels'] * (record is best) + ['did not help'] * (not record['helped'])
    yield f'version={record["round"]}', record['round'], ', '.join(words), ground.on(record['version'])
  for name, fields in ground.settings.controls:
    config = ground.on(done[0]['version'])
    override(config, fields, f'loop.controls: {name}')
    _lengthen(config, budget(ground, done))
    yield f'control={name}', 0, f'version 0, {config.strategy.name}, with the passes of the whole loop', config
  for name, fields in ground.settings.axes:
    config = ground.on(best['version'])
    override(config, fields, f'loop.axes: {name}')
    changed = ', '.join(f'{field}={value}' for field, value in fields.items())
    yield f'axis={name}', best['round'], f'chosen version, other settings: {changed}', config


def budget(ground: Ground, done: Sequence[Record]) -> float:
  """Returns the passes of all rounds and of one run on the chosen version."""
  return sum(record['passes'] for record in done) + _passes(ground.plan)


def _passes(plan: Plan) -> float:
  """Returns the passes of a run, those of predictions between epochs aside."""
  rows = lambda own: own.steps_per_epoch * own.batch_size
  return sum(p.epochs * rows(p.config) * passes.step_passes(p.method) / passes.BATCH for p in plan.phases)


def _lengthen(config: ConfigDict, most: float) -> None:
  """Sets the epochs with which a run has so many passes; phases that the config lists are lengthened alike."""
  factor = most / _passes(plan_of(config))
  times = lambda epochs: max(1, int(epochs * factor))
  config.epochs = times(config.epochs)
  config.phases = tuple((name, times(epochs), fields) for name, epochs, fields in config.phases)


def balanced(result: dict[str, Any]) -> float | None:
  """Returns the mean recall of the classes that have test rows, by the reported epoch; None without test rows."""
  if not (report := result['audit'].get('report')):
    return None
  classes = [report[name] for name in result['data']['classes']]
  return float(np.mean([found['recall'] for found in classes if found['support']]))


def table(ground: Ground, done: Sequence[Record], finals: Sequence[Final]) -> Table:
  """Writes the table of the final runs, or of the rounds where there are none, and returns it."""
  tests = ('test: last', 'balanced (selected)', 'mean of last 10', 'oracle')
  head = ('runs', 'what', 'labels', 'frozen labels predicted', *tests, 'passes')
  lines: list[Sequence[Cell]] = []
  of_round = {record['round']: record for record in done}
  for final in finals or [Final(f'version={r["round"]}', r['round'], '', [], []) for r in done]:
    record = of_round[final.round]
    version = final.name.startswith('version=')
    audits = [result['audit'] for result in final.results]
    rows = audits[0]['test_rows'] if audits else 0
    lines.append(
      (
        final.name,
        final.about,
        f'{record["labeled"]:,}',
        _frozen(record) if version else None,
        spread((audit.get('last') for audit in audits), rows),
        spread(map(balanced, final.results)),
        spread(audit.get('mean_last_10') for audit in audits),
        spread(audit.get('oracle') for audit in audits),
        f'{np.mean([result["passes"] for result in final.results]):,.0f}' if final.results else None,
      )
    )
  notes = [
    'mean ± sample standard deviation (seeds) [95 % interval (Wilson) for the number of rows]. Versions are chosen by '
    'the frozen labels of version 0; test rows took no part. oracle: best epoch by the test rows, no result.',
  ]
  if answers := sum(record['answers'] for record in done):
    notes.append(f'Told: {annotator.told(answers)}. Not to be ranked with loops that were told nothing.')
  if ground.recipe.told:
    notes.append(f'Told further: {"; ".join(ground.recipe.told)}.')
  if done[0]['in_sample']:
    notes.append('In-sample: the networks judged rows that they trained on.')
  if late := [str(record['round']) for record in done if record.get('after_test')]:
    notes.append(f'The loop had ended before: rounds {", ".join(late)} began when test rows had been scored.')
  made = Table(head, lines, notes)
  collection.write_table(ground.folder, made)
  return made


def _frozen(record: Record) -> Spread:
  """Returns the accuracy of the mean of the seeds, with the spread over the seeds."""
  score = record['score']
  found, (low, high) = spread(score['seeds']), score['interval']
  std, n = (found.std, found.n) if found else (None, 0)
  return Spread(100 * score['accuracy'], std, n, (100 * low, 100 * high))
