"""report.html of a loop: one page without external resources. What true labels or test rows say is marked "audit"."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from noisyjax.data.images import as_images
from noisyjax.data.split import rng
from noisyjax.estimate import confident, scoring, transition
from noisyjax.estimate.interval import wilson
from noisyjax.loop import places, round as round_, sheet
from noisyjax.loop.finish import Final
from noisyjax.loop.ground import Ground
from noisyjax.loop.round import Record
from noisyjax.reports import formatting, html, pages
from noisyjax.reports.pictures import matrix, places as map_picture, rounds
from noisyjax.reports.tables import Spread, Table
from noisyjax.rules import evidence as evidences
from noisyjax.system import parquet, storage
from noisyjax.tables import versions
from noisyjax.tables.rows import LABELED, TRAIN, UNLABELED
from noisyjax.tables.versions import SHORT

PICTURES = 36  # of a contact sheet
CHANGES = 10  # kinds of changes of a version that are listed


def write(
  ground: Ground,
  done: Sequence[Record],
  why: str,
  finals: Sequence[Final],
  audit: dict[str, Any],
  table: Table,
  beside: str = '',
) -> None:
  """Writes the page.

  Args:
    ground: of the loop.
    done: records of its rounds.
    why: why there were no more.
    finals: final runs.
    audit: content of audit.json.
    table: table of the final runs.
    beside: folder of another loop; '': none.
  """
  chosen, graph = round_.best(done), rounds.draw(_points(done, finals))
  title = f'Loop on {ground.recipe.data.source}: {len(done)} versions of {len(ground.first.rows):,} labels'
  sections = [
    pages.section('Result', _table(table) + _told(ground, done)),
    _beside(beside) if beside else '',
    pages.section('Versions', html.image(graph, 'Accuracy of each version') + _rounds(done)),
    pages.section('Rules', _rules(ground, done)),
    pages.section(f'Labels of the chosen version {pages.AUDIT_TAG}', _labels(audit, chosen)) if audit else '',
    pages.section(f'Against version 0 and the controls {pages.AUDIT_TAG}', _against(audit)) if audit else '',
    pages.section('What each rule changed', _montages(ground, done)),
    _map(ground, chosen, finals),
    _confusions(ground, chosen, finals),
    _transition(ground, done, audit),
    pages.section('Settings', pages.pairs(vars(ground.settings))),
  ]
  body = f'<h1>{escape(title)}</h1><p class="faint">The loop ended: {escape(why)}.</p>{"".join(sections)}'
  storage.write_text(ground.folder / 'report.html', html.page(title, body, pages.CSS))


def _rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
  """Returns an HTML table of texts, which are escaped."""
  cells = lambda line, tag: ''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in line)
  body = ''.join(f'<tr>{cells(line, "td")}</tr>' for line in lines)
  return f'<table><tr>{cells(head, "th")}</tr>{body}</table>'


def _table(table: Table) -> str:
  lines = [[cell.text() if isinstance(cell, Spread) else cell or '-' for cell in row] for row in table.rows]
  return _rows(table.head, lines) + ''.join(f'<p class="faint">{escape(note)}</p>' for note in table.notes)


def _told(ground: Ground, done: Sequence[Record]) -> str:
  score = done[0]['score']
  text = (
    f'Versions are compared on {score["rows"]} labels that are frozen in version 0. '
    + ('Networks judged rows that they trained on: in-sample. ' if done[0]['in_sample'] else '')
    + f'Each network trained {done[0]["steps"][0] or 0:,} steps; folds, steps and seeds are the same in all rounds.'
  )
  return f'<p>{escape(text)}</p>'


def _beside(folder: str) -> str:
  """Returns the table of another loop."""
  text = storage.read_text(Path(folder) / 'table.md')
  lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]
  notes = [line for line in text.splitlines() if line and not line.startswith('|')]
  body = _rows(lines[0], lines[2:]) + ''.join(f'<p class="faint">{escape(note)}</p>' for note in notes)
  return pages.section(f'Beside it: {escape(folder)}', body)


def _points(done: Sequence[Record], finals: Sequence[Final]) -> list[rounds.Point]:
  audits = {final.round: [r['audit'] for r in final.results] for final in finals if final.name.startswith('version=')}
  best, out = round_.best(done), []
  for record in done:
    found = audits.get(record['round'], [])
    test, interval = {}, None
    for name in ('last', 'selected', 'oracle'):
      if values := [audit[name] for audit in found if audit.get(name) is not None]:
        test[name] = float(np.mean(values))
    if 'last' in test:
      rows = found[0]['test_rows']
      low, high = wilson(test['last'] * rows, rows)
      interval = (float(low), float(high))
    score = record['score']
    out.append(
      rounds.Point(
        record['round'],
        record.get('parent_round', -1),
        record['helped'],
        record is best,
        score['accuracy'],
        tuple(score['interval']),
        record['labeled'],
        test,
        interval,
      )
    )
  return out


def _rounds(done: Sequence[Record]) -> str:
  """Returns the versions as a table: parent, changes, score, and the paired comparison with the parent."""
  lines = []
  for record in done:
    score, against = record['score'], record['against_parent']
    changes = ', '.join(f'{c["rows"]:,} {c["action"]} {c["from"]} > {c["to"]}' for c in record['changes'][:CHANGES])
    lines.append(
      (
        f'{record["round"]}',
        record['version'][:SHORT],
        f'{record["parent"][:SHORT]} (round {record["parent_round"]})' if record['parent'] else '-',
        changes + (', …' if len(record['changes']) > CHANGES else '') or '-',
        f'{formatting.percent(score["accuracy"])} {_interval(score["interval"])}',
        formatting.spread(score['seeds']),
        _gain(against) if against else '-',
        'yes' if record['helped'] else 'no: kept and marked',
      )
    )
  head = ('round', 'version', 'parent', 'changes', 'frozen labels predicted', 'seeds', 'against the parent', 'helped')
  return _rows(head, lines)


def _interval(ends: Sequence[float]) -> str:
  return f'[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]'


def _gain(found: dict[str, Any]) -> str:
  text = f'{100 * found["difference"]:+.1f} points {_interval(found["interval"])}'
  return f'{text}, {found["only_new"]} gained, {found["only_old"]} lost, McNemar p = {found["p"]:.2g}'


def _rules(ground: Ground, done: Sequence[Record]) -> str:
  lines = []
  for record in done:
    for entry in record['rules']:
      estimate = entry['estimate'] or {}
      shown = '-'
      if estimate.get('precision') is not None:
        shown = f'{formatting.percent(estimate["precision"])} {_interval((estimate["low"], estimate["high"]))}'
      lines.append(
        (
          f'{record["round"]}',
          entry['rule'],
          formatting.text(entry['params']),
          formatting.text(entry['threshold']),
          f'{_decided(ground, record, entry):,} of {entry["proposed"]:,}',
          shown,
          '; '.join(entry['stopped']) or '-',
        )
      )
  if not lines:
    return '<p>No rule decided anything.</p>'
  return _rows(
    ('round', 'rule', 'parameters', 'threshold', 'decided of proposed', 'estimated precision', 'stopped'), lines
  )


def _decided(ground: Ground, record: Record, entry: dict[str, Any]) -> int:
  """Returns how many proposals of a rule counted or, where a person decides, changed a row for its reason."""
  if ground.settings.decide != 'person':
    return entry['heard']
  return int((versions.read_edits(ground.table, record['version']).reason == entry['rule']).sum())


def _labels(audit: dict[str, Any], chosen: Record) -> str:
  found = audit['labels'][f'{chosen["round"]}']
  share = lambda value: formatting.percent(value)
  lines = [
    (name, f'{of["promoted"]:,}', share(of['precision']), share(of['recall'])) for name, of in found['classes'].items()
  ]
  text = (
    f'Labels right: {share(found["accuracy"])} (version 0: {share(audit["labels"]["0"]["accuracy"])}). Of the rows '
    f'without a label in version 0, {share(found["promoted"])} have one, {share(found["precision"])} of them right. '
    f'Wrong labels of version 0 that are right now: {found["repaired"]:,}; right ones that are wrong now: '
    f'{found["spoiled"]:,}.'
  )
  return f'<p>{escape(text)}</p>' + _rows(('class', 'labels gained', 'precision', 'recall'), lines)


def _against(audit: dict[str, Any]) -> str:
  lines = []
  for name, found in audit.items():
    if name.startswith('chosen_against_') and found:
      gain = f'{100 * found["difference"]:+.2f} points {_interval(found["interval"])}'
      seeds = ', '.join(f'{100 * value:+.1f}' for value in found['seeds'])
      other = name.removeprefix('chosen_against_').replace('_', ' ')
      lines.append((f'chosen version against {other}', gain, seeds, _gain(found['seed_0'])))
  if not lines:
    return '<p>The chosen version is version 0.</p>'
  return _rows(('test rows, last epoch', 'difference, 95 % interval (paired bootstrap)', 'seeds', 'seed 0'), lines)


def _montages(ground: Ground, done: Sequence[Record]) -> str:
  """Returns pictures of what each author changed in each round: a random part."""
  images, row_of = as_images(ground.loaded[0].images), ground.row_of
  out, names = [], [*ground.first.classes, '-']
  for record in done[1:]:
    edits = versions.read_edits(ground.table, record['version'])
    old = versions.read(ground.table, record['parent']).rows
    place = old.places(edits.id)
    for author in sorted(set(edits.by.tolist())):
      mine = np.flatnonzero(edits.by == author)
      some = np.sort(rng(record['round'], f'montage {author}').permutation(mine)[:PICTURES])
      captions = [[f'{names[old.label[p]]}>{names[k]}'] for p, k in zip(place[some], edits.label[some])]
      shown = np.asarray(images.take(row_of[place[some]]))
      text = f'Round {record["round"]}, {author}: {len(some)} of {len(mine):,} changes'
      out.append(f'<p>{escape(text)}</p>' + html.image(sheet.draw(shown, captions, 56, 12), text))
  return ''.join(out) or '<p>Nothing was changed.</p>'


def _map(ground: Ground, chosen: Record, finals: Sequence[Final]) -> str:
  """Returns the training rows on a map, by a network of the chosen version."""
  ends = [folder for final in finals if final.name == f'version={chosen["round"]}' for folder in final.folders]
  runs = [*ends, *(ground.folder / name for name in chosen['runs'])]
  run = next(folder for folder in runs if (folder / 'result.json').exists())
  if (found := places.placed(ground, chosen['version'], run)) is None:
    return ''
  png = map_picture.draw(found.points, found.labels, found.changed, ground.first.classes, 'changed since version 0')
  text = (
    f'{len(found.labels):,} of {found.of:,} training rows by the first two principal components of the last layer '
    f'before the classes, of the network {run.relative_to(ground.folder)}. Colors are labels of the chosen version.'
  )
  return pages.section('Map', html.image(png, 'Map of the training rows') + f'<p class="faint">{escape(text)}</p>')


def _confusions(ground: Ground, chosen: Record, finals: Sequence[Final]) -> str:
  """Returns the confusion matrix and pairs of the chosen version on the test rows."""
  folder = next((final.folders[0] for final in finals if final.name == f'version={chosen["round"]}'), None)
  if folder is None or not (path := folder / 'audit.parquet').exists():
    return ''
  columns, _ = parquet.read(path, ('split', 'predicted', 'true'))
  test = columns['split'] == 'test'
  classes = ground.first.classes
  counts = scoring.confusion(columns['true'][test], columns['predicted'][test], len(classes))
  png = matrix.draw(counts, classes, 'Test rows, chosen version, seed 0 (audit)', 'true label', 'predicted label')
  listed = pages.largest(counts, classes, 'true', 'predicted')
  return pages.section(f'Confusion pairs {pages.AUDIT_TAG}', html.image(png, 'Confusion matrix') + listed)


def _transition(ground: Ground, done: Sequence[Record], audit: dict[str, Any]) -> str:
  """Returns the transition matrix that out-of-fold predictions estimate on version 0, beside the planted one."""
  rows = ground.first.rows
  evidence = evidences.read(round_.place(ground, 0) / 'evidence.parquet', rows)
  keep = (rows.split == TRAIN) & (rows.status == LABELED) & evidence.known
  planted = audit.get('noise', {}).get('matrix') if audit else None
  if not planted and (rows.status == UNLABELED).any():
    return ''
  joint = confident.joint(jnp.asarray(np.nan_to_num(evidence.probs)), jnp.asarray(rows.label), jnp.asarray(keep))
  estimated = np.asarray(transition.from_joint(joint))
  text = (
    '<p>Rows: true class; columns: given label. Estimated by confident learning, which is biased upwards: hard rows '
    'count as wrong labels.</p>'
  )
  body = text + _matrix('estimated', estimated, ground.first.classes)
  if planted:
    body += _matrix('planted (audit)', np.asarray(planted), ground.first.classes)
    body += f'<p>Mean absolute difference: {np.abs(estimated - np.asarray(planted)).mean():.3f}</p>'
  return pages.section('Transition matrix of version 0', body)


def _matrix(title: str, values: np.ndarray, classes: Sequence[str]) -> str:
  lines = [(classes[i], *(f'{value:.2f}' for value in row)) for i, row in enumerate(values)]
  return f'<p><b>{escape(title)}</b></p>' + _rows(('', *classes), lines)
