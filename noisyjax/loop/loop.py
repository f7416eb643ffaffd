"""The loop: rounds of train → analyze → propose → decide → commit → retrain → compare, then the final runs.

W/table/           the label table
W/loop.json        config of the loop
W/folds/           rows of each fold
W/round=r/         see `round`
W/final/           runs that are scored on the test rows, see `finish`
W/audit.json       what true labels and test rows say, see `audit`
W/table.md, …      the final runs in a table
W/report.html      all of it on one page

Everything is decided by files that are there or not: the same command goes on after an interruption at any point.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from noisyjax.loop import audit, finish, ground as ground_, page, round as round_, settings as settings_
from noisyjax.loop.ground import Ground
from noisyjax.loop.round import Record
from noisyjax.reports.tables import Table
from noisyjax.runs import launch, presence
from noisyjax.system import formats, interrupt, lock
from noisyjax.system.errors import UserError
from noisyjax.system.log import log


class Ended(NamedTuple):
  """A loop that has ended.

  Attributes:
    done: records of its rounds.
    why: why there were no more.
    finals: final runs.
    audit: content of audit.json; {} without final runs.
    table: table of the final runs.
  """

  done: list[Record]
  why: str
  finals: list[finish.Final]
  audit: dict[str, Any]
  table: Table


def loop(
  config: ConfigDict,
  workdir: str | Path,
  reject: bool = False,
  beside: str = '',
  engine: launch.Engine | None = None,
) -> Ended:
  """Runs a loop, or goes on with it.

  Args:
    config: config with a block `loop`, see `settings`.
    workdir: folder of the loop; made if missing.
    reject: the person takes none of the proposals that wait.
    beside: folder of another loop that ended, whose table the report shows beside this one's; '': none.
    engine: executes the runs of a round, and the final runs; None = in this process.

  Raises:
    Waits: a person has to decide; the same call goes on afterwards.
    Stale: the folder holds another loop.
    UserError: the config or the data are invalid, or another process uses the folder.
    Diverged: a run of a round diverged.
  """
  recipe, settings = settings_.parted(config)
  folder = Path(workdir).resolve()  # runs record it: another spelling would be another config
  if reject and settings.decide != 'person':
    raise UserError(f'--reject: loop.decide is {settings.decide!r}, and no proposal waits; expected person.')
  if beside and not (Path(beside) / 'table.md').exists():
    raise UserError(f'--beside: {beside} has no table.md; expected the folder of a loop that ended.')
  with lock.held(folder), presence.shown(folder), interrupt.watched():
    ground = ground_.of(recipe, settings, folder, engine)
    done, why = rounds(ground, reject)
    log.info('%s: the loop ended after %d rounds: %s.', folder, len(done), why)
    finals = finish.run(ground, done)
    ended = Ended(done, why, finals, audit.of(ground, done, finals), finish.table(ground, done, finals))
    page.write(ground, *ended, beside)
    return ended


def rounds(ground: Ground, reject: bool = False) -> tuple[list[Record], str]:
  """Returns the records of all rounds, run as far as they are not done, and why the loop ended."""
  done: list[Record] = []
  number = 0
  while not (why := _why_end(ground, number, done)):
    path = round_.place(ground, number) / 'round.json'
    if path.exists():
      record = formats.read_json(formats.LOOP, path)
    elif done:
      record, reject = round_.later(ground, number, done, reject), False
    else:
      record = round_.first(ground)
    if 'ended' not in record:
      done.append(record)
      _say(record)
    elif record['final'] or number >= len(ground.settings.rules):  # the rules of all later rounds are the same
      return done, record['ended']
    else:
      log.info('round %d: no new version: %s.', number, record['ended'])
    number += 1
  return done, why


def _why_end(ground: Ground, number: int, done: list[Record]) -> str:
  """Returns why no further round begins; '' if one does."""
  settings = ground.settings
  if number > settings.rounds:
    return f'all rounds are done (loop.rounds={settings.rounds}, and round 0)'
  if settings.passes and sum(record['passes'] for record in done) >= settings.passes:
    return f'{settings.passes:,} passes are used up (loop.passes)'
  if done and settings.patience and len(done) - 1 - done.index(round_.best(done)) >= settings.patience:
    return f'{settings.patience} rounds in a row did not help (loop.patience)'
  return ''


def _say(record: Record) -> None:
  score = record['score']
  log.info(
    'round %d: version %s, %s labeled, frozen labels predicted: %.1f %% of %d%s',
    record['round'],
    record['version'][:12],
    f'{record["labeled"]:,}',
    100 * score['accuracy'],
    score['rows'],
    '' if record['helped'] else '; did not help',
  )
