"""k-fold cross-validation: one run for each fold, which validates on the rows of the fold, and a table of all folds."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.check import checked, plan_of
from noisyjax.data import prepare, split
from noisyjax.experiments.outcome import concluded
from noisyjax.reports import collection, formatting, report
from noisyjax.reports.tables import Spread, Table, spread
from noisyjax.runs import identity, launch, presence, run
from noisyjax.runs.job import Job
from noisyjax.system import interrupt, lock, storage
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log


def kfold(
  config: ConfigDict, k: int, workdir: str, rerun: bool = False, engine: launch.Engine | None = None
) -> tuple[list[dict], str]:
  """Runs a k-fold cross-validation over the training rows.

  The folds are stratified by label and keep exact duplicates together. A run validates on those rows of its fold that
  have the kind of label that `data.val_labels` names; the mean over folds is a mean over these rows. On a version of a
  label table, the folds are of its training rows by their labels there; what a fold cannot score trains in it.

  Args:
    config: config of the recipe; its `data.val` is not used.
    k: number of folds.
    workdir: folder of the cross-validation; fold i runs in its subfolder "fold=i".
    rerun: see `run.run`.
    engine: executes the runs; None = in this process.

  Returns:
    The results of the folds, and a table of their validation accuracies with mean and standard deviation. The table is
    also written to table.md, table.csv and table.tex.

  Raises:
    UserError: an invalid config, or too many folds; once the table is written: folds failed.
    Stale: the folder holds folds with another config, of other data, or of another division of the data.
  """
  config = _own(config)
  folds = _folds(config, k)
  root = Path(workdir)
  with lock.held(root), presence.shown(root), interrupt.watched():
    jobs = [Job(plan_of(_fold_config(config, root / f'fold={i}')), root / f'fold={i}', rerun) for i in range(k)]
    if not rerun:
      _check_division(jobs, folds)
    collection.remember(root, [job.workdir.name for job in jobs], [])
    for job, (kept, held) in zip(jobs, folds):
      storage.make_folder(job.workdir)
      for path, text in _row_files(job.workdir, kept, held).items():
        storage.write_text(path, text)
    log.info('%d folds; rows held out: %s', k, listed(len(held) for _, held in folds))
    watched = jobs[0].plan.watches_validation
    results = launch.launch(jobs, engine=engine)
    return concluded('kfold', 'folds', jobs, results, lambda done: table(done, root, watched))


def _own(config: ConfigDict) -> ConfigDict:
  """Returns the checked config of all folds, with a placeholder for the rows that validate."""
  config = config.copy_and_resolve_references()
  config.data.val = '@'  # each fold has its own; not empty, because early stopping needs validation rows
  return checked(config)


def _folds(config: ConfigDict, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns the rows that train and those that validate in each fold."""
  whole = config.copy_and_resolve_references()
  whole.data.val = ''
  data, truth, _, source = prepare.load(config)
  placed = prepare.divided(data, truth, source, whole)
  if config.data.table:
    data = placed.data
  labels = data.given if config.data.val_labels == 'given' else data.verified
  folds = split.folds(placed.parts.train, labels, data.ids, k, config.data.seed)
  return [(kept, held[labels[held] >= 0]) for kept, held in folds]  # only rows with such a label can be scored


def _row_files(folder: Path, kept: np.ndarray, held: np.ndarray) -> dict[Path, str]:
  """Returns path → content of the files with the row numbers of a fold: those that train, and those that validate."""
  return {
    folder / f'{name}.txt': ''.join(f'{row}\n' for row in rows) for name, rows in (('kept', kept), ('held', held))
  }


def _fold_config(config: ConfigDict, folder: Path) -> ConfigDict:
  """Returns the config of a fold, whose rows stand in two files in its folder."""
  own = config.copy_and_resolve_references()
  own.data.train, own.data.val = f'@{folder / "kept.txt"}', f'@{folder / "held.txt"}'
  return own


def _check_division(jobs: list[Job], folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
  """Raises Stale for a fold of another division of the data, before anything runs or its files are overwritten."""
  for job, (kept, held) in zip(jobs, folds):
    for path, text in _row_files(job.workdir, kept, held).items():
      if path.exists() and (there := storage.read_text(path)) != text:
        try:  # changed labels change the division: the message should then name the labels
          run.finished(job.plan, job.workdir, prepare.prepare)
        except identity.Stale:
          raise
        except UserError:  # the rows that the files name do not exist any more
          pass
        line = f'rows in {path.name}: {there.count(chr(10)):,} → {text.count(chr(10)):,}'
        raise identity.stale(job.workdir, 'holds a fold of another division of the data', [line])


def table(results: dict[str, dict], workdir: str | Path, watched: bool) -> Table:
  """Writes the table of finished folds and returns it.

  Args:
    results: folder name ("fold=0") → result of each fold.
    workdir: folder of the cross-validation.
    watched: whether training was stopped or scheduled by validation, so that the accuracies are optimistic.
  """
  found = {name.removeprefix('fold='): result['validation'] for name, result in results.items()}
  every = list(found.values())
  end = 'last (stopped or scheduled by these same rows: optimistic)' if watched else 'last'
  names = (f'rows held out ({every[0]["labels"]} labels)', end, 'best epoch by these same rows (optimistic)')
  rows = [
    (fold, formatting.text(v['rows']), *(_accuracy([v], name) for name in ('last', 'best')))
    for fold, v in found.items()
  ]
  rows.append(
    (
      f'mean ± std ({len(every)})',
      formatting.text(sum(v['rows'] for v in every)),
      *(_accuracy(every, name) for name in ('last', 'best')),
    )
  )
  notes = ['[ ]: 95 % interval (Wilson) of an accuracy that is counted on so many rows.']
  if any(result.get('knowledge') for result in results.values()):
    notes.append(f'Told: {report.told(results.values())}.')
  made = Table(('fold', *names), rows, notes)
  collection.write_table(workdir, made)
  return made


def _accuracy(folds: list[dict], name: str) -> Spread | None:
  """Returns the mean accuracy over folds in percent, with the confidence interval of a share of all their rows."""
  return spread([v[name] for v in folds], sum(v['rows'] for v in folds))
