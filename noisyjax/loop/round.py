"""One round: decide on the best version so far, commit, train the new version, and compare it with that version.

A round writes into W/round=r: rules.json (what the rules propose), fold=k,seed=s (its runs), evidence.parquet and, when
it is done, round.json. Whatever is there is kept: a round that was killed goes on where it was.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.config.check import plan_of
from noisyjax.loop import annotator, compare, decide
from noisyjax.loop.columns_of import columns_of
from noisyjax.loop.evidence_of import Judge, gathered
from noisyjax.loop.ground import Ground
from noisyjax.loop.settings import Settings
from noisyjax.rules import evidence as evidences
from noisyjax.runs import launch
from noisyjax.runs.job import Job
from noisyjax.system import formats, storage
from noisyjax.system.commands import command
from noisyjax.system.errors import UserError
from noisyjax.tables import refs, rejections, store, versions
from noisyjax.tables.rows import LABELED, TEST, TRAIN
from noisyjax.tables.versions import Version

Record = dict[str, Any]  # the content of round.json
RIGHT = 'frozen_right'  # column of evidence.parquet: whether the row's frozen label is predicted; -1 = it has none


class Waits(Exception):
  """A person has to decide on the proposals of a round."""


def place(ground: Ground, number: int) -> Path:
  """Returns the folder of a round."""
  return ground.folder / f'round={number}'


def members(settings: Settings) -> list[tuple[int, int, str]]:
  """Returns fold (-1: without folds), seed and folder name of each run of a round."""
  folds = range(settings.folds) if settings.folds else (-1,)
  name = lambda fold, seed: f'fold={fold},seed={seed}' if fold >= 0 else f'seed={seed}'
  return [(fold, seed, name(fold, seed)) for seed in range(settings.seeds) for fold in folds]


def best(done: Sequence[Record]) -> Record:
  """Returns the round whose version is best by the frozen labels: of equal ones the first."""
  return max(done, key=rank)


def rank(record: Record) -> tuple[float, float]:
  """Returns the accuracy on frozen labels and the negative loss, by which versions are compared."""
  return record['score']['accuracy'], -record['score']['loss']


def first(ground: Ground) -> Record:
  """Trains and scores version 0."""
  return _scored(ground, 0, ground.first, {'branch': refs.MAIN, 'parent': '', 'rules': []}, None)


def later(ground: Ground, number: int, done: Sequence[Record], reject: bool = False) -> Record:
  """Decides, trains and compares; or returns a record with the key "ended" that says why there is no new version.

  Args:
    ground: of the loop.
    number: of the round, from 1.
    done: records of the rounds before.
    reject: a person takes none of the proposals of this round.

  Raises:
    Waits: a person has to decide first.
    UserError: images joined the table, or decisions wait although `reject` is set.
  """
  folder, parent = place(ground, number), done[-1] if ground.settings.forward else best(done)
  branch = done[-1]['branch'] if parent is done[-1] else f'round-{number}'
  if branch not in refs.branches(ground.table):
    refs.make_branch(ground.table, branch, parent['version'])
  table = store.Table(ground.table, branch)
  if more := len(table.rows) - len(ground.first.rows):
    raise UserError(
      f'{ground.table}: {more:,} images joined the branch {branch}; a loop keeps the rows of its first version. Begin '
      'another loop, in another folder, on the data set with these images.'
    )
  entries = folder / 'rules.json'
  if table.version.name == parent['version']:
    evidence = _recorded(ground, parent, table.version)
    waiting = {entry['hash'] for entry in table.pending().entries}  # the answers to this round's own proposals
    rejected = rejections.read(ground.table, waiting)
    asked = decide.asked(ground.settings.rules_of(number), evidence, table.version, ground.frozen, rejected)
    storage.make_folder(folder)
    formats.write_json(formats.LOOP, entries, {'rules': asked.entries})
    if not sum(int(mine.sum()) for mine in asked.heard):
      return _ended(folder, number, _nothing(asked))
    if reject:
      _check_undecided(table)
      decide.by_nobody(table, asked, number)
      return _ended(folder, number, 'every proposal was rejected', final=True)
    _decide(ground, table, asked, number, done)
  facts = {'round': number, 'evidence': parent['evidence'], 'decide': ground.settings.decide}
  version = decide.committed(table, parent['version'], number, facts)
  if version is None:
    return _ended(folder, number, 'every proposal was rejected: no decision changes a row', final=True)
  if version.manifest.get('round', number) != number:
    return _ended(folder, number, f'its decisions make the version of round {version.manifest["round"]} again')
  # A person may have committed before any rule was asked.
  rules = formats.read_json(formats.LOOP, entries)['rules'] if entries.exists() else []
  about = {'branch': branch, 'parent': parent['version'], 'parent_round': parent['round'], 'rules': rules}
  return _scored(ground, number, version, about, parent)


def _recorded(ground: Ground, record: Record, version: Version) -> evidences.Evidence:
  """Returns the evidence of a round on its version; raises UserError if it is not what the round recorded."""
  path = place(ground, record['round']) / 'evidence.parquet'
  found = evidences.read(path, version.rows)
  if found.digest() != record['evidence']:
    raise UserError(f'{path}: was changed after round {record["round"]} recorded it; expected the file that it wrote.')
  return found


def _decide(ground: Ground, table: store.Table, asked: decide.Asked, number: int, done: Sequence[Record]) -> None:
  settings = ground.settings
  if settings.decide == 'person':
    if not len(table.pending()):
      _wait(ground, table, asked, number)
    return
  if settings.decide == 'simulated':
    left = settings.answers - sum(record['answers'] for record in done)
    most = -(-left // max(1, settings.rounds - number + 1))
    told = annotator.answers(
      asked.questions(), table.rows, ground.truth(), table.classes, most, settings.error, ground.recipe.seed
    )
    decide.by_annotator(table, told, number)
  decide.by_rules(table, asked, number)


def _check_undecided(table: store.Table) -> None:
  """Raises UserError if decisions wait that change rows: to reject all proposals would leave them uncommitted."""
  if waiting := len(table.pending().edits(table.rows, table.classes)):
    raise UserError(
      f'--reject: decisions about {waiting} rows wait in {table.folder}; expected none. Leave --reject out: the loop '
      f'goes on with them. Or take them back: {command("table undo", *table.flags)}'
    )


def _wait(ground: Ground, table: store.Table, asked: decide.Asked, number: int) -> None:
  folder = place(ground, number)
  path = folder / 'proposals.csv'
  if not path.exists():  # it may hold what a person filled in
    decide.for_person(table, asked, folder, ground.loaded[0].root)
  decided = command('table decide', *table.flags, f'--from={path}')
  raise Waits(
    f'round {number}: {sum(int(m.sum()) for m in asked.heard):,} proposals wait for a person, in {path}. Look at each, '
    f'change or delete rows (what stays counts as checked by you), then record the decisions:\n{decided}\n'
    'and give the same command again: the loop goes on. With --reject it takes none of the proposals.'
  )


def _nothing(asked: decide.Asked) -> str:
  """Returns that no rule proposes anything, and what stopped those that say so."""
  stopped = [f'{entry["rule"]}: {", ".join(entry["stopped"])}' for entry in asked.entries if entry['stopped']]
  return 'no rule proposes anything' + (f' ({"; ".join(stopped)})' if stopped else '')


def _ended(folder: Path, number: int, why: str, final: bool = False) -> Record:
  """Writes and returns the record of a round without a new version; `final`: there is no further round either."""
  record = {'round': number, 'ended': why, 'final': final}
  formats.write_json(formats.LOOP, folder / 'round.json', record)
  return record


def _scored(ground: Ground, number: int, version: Version, about: dict[str, Any], parent: Record | None) -> Record:
  """Trains a version, gathers the evidence, compares it with the parent, and writes round.json."""
  folder = place(ground, number)
  tested = (ground.folder / 'final').exists() and (version.rows.split == TEST).any()  # it had ended, and went on
  judges = trained(ground, version.name, folder)
  found = gathered(version, judges, *ground.places, ground.plan.uses_unlabeled)
  scored = compare.score(found.own, ground.frozen)
  right = np.full(len(version.rows), -1, np.int8)
  right[compare.judged(found.own, ground.frozen)] = scored.right
  columns = columns_of(ground, version, found.evidence.predicted)
  evidence = dataclasses.replace(found.evidence, columns={**columns, RIGHT: right})
  evidences.write(folder / 'evidence.parquet', evidence, version.rows)
  rows, manifest = version.rows, version.manifest
  trains = (rows.split == TRAIN) & (rows.status == LABELED)
  record = {
    'round': number,
    'version': version.name,
    **about,
    'changes': manifest['changes'],
    'labeled': int(trains.sum()),
    'labels': np.bincount(rows.label[trains], minlength=len(version.classes)).tolist(),
    'answers': sum(by == annotator.AUTHOR and at == version.name for by, at in zip(rows.by, rows.version)),
    'runs': [judge.name for judge in judges],
    'steps': [judge.result.get('steps') for judge in judges],
    'passes': sum(judge.result.get('passes', 0) for judge in judges),
    'seconds': sum(judge.result['seconds'] for judge in judges),
    'in_sample': evidence.in_sample,
    'after_test': bool(tested),
    'evidence': evidence.digest(),
    'score': scored.told(),
    'against_parent': None,
    'helped': True,
  }
  if parent is not None:
    before = _recorded(ground, parent, versions.read(ground.table, parent['version'])).columns[RIGHT]
    both = (before >= 0) & (right >= 0)
    record['against_parent'] = compare.paired(before[both] > 0, right[both] > 0, ground.recipe.seed)
    record['helped'] = rank(record) > rank(parent)
  formats.write_json(formats.LOOP, folder / 'round.json', record)
  return record


def trained(ground: Ground, version: str, folder: Path) -> list[Judge]:
  """Trains the networks of a round, each without one fold; finished runs are kept.

  Raises:
    UserError: a run failed; Diverged if it diverged.
  """
  settings = ground.settings
  judges, jobs = [], []
  for fold, seed, name in members(settings):
    config = ground.on(version, test='', hold=f'@{ground.files[fold]}' if fold >= 0 else '')
    config.seed = ground.recipe.seed + seed
    jobs.append(Job(plan_of(config), folder / name, page=False))
    judges.append((fold, seed))
  found = []
  for job, (fold, seed), result in zip(jobs, judges, launch.launch(jobs, ground.load, ground.engine)):
    if isinstance(result, UserError):
      raise result
    found.append(Judge(job.workdir, f'{folder.name}/{job.workdir.name}', fold, seed, result))
  return found
