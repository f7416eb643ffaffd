"""Describes a data set before training: counts, duplicates, and contradicting labels."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from ml_collections import ConfigDict

from noisyjax.data import prepare
from noisyjax.data.dataset import Dataset, Duplicates, conflicting_duplicates, duplicates
from noisyjax.data.images import as_images
from noisyjax.data.moments import moments
from noisyjax.data.split import Split
from noisyjax.data.thumbnail import thumbnails
from noisyjax.estimate import pairs
from noisyjax.estimate.scoring import confusion
from noisyjax.reports.pictures import matrix, style
from noisyjax.system import lock, storage
from noisyjax.system.errors import one_line

WIDE = 20  # maximum number of classes of a matrix as text; for more, only the largest entries are listed
LISTED = 10  # maximum number of duplicates or confusions
GRID = (5, 8)  # rows and columns of inspect.png
SIDE = 200  # maximum side of an image in inspect.png, in pixels
WRONG = '#b00020'


def inspect_config(config: ConfigDict, folder: str | Path) -> str:
  """Describes the data that a config names, as `inspect` does; the folder is locked meanwhile."""
  data, truth, _, source = prepare.load(config)
  data, parts, *_ = prepare.divided(data, truth, source, config)
  with lock.held(folder):
    return inspect(data, truth, parts, folder)


def inspect(dataset: Dataset, truth: np.ndarray, split: Split, out_dir: str | Path) -> str:
  """Describes a data set, and writes the report and two pictures to a folder.

  Args:
    dataset: data set of N rows.
    truth: true labels, int [N]; -1 = unknown. The report contains their number and the fraction of given labels that
      differ from them, marked as audit.
    split: rows of each part; inspect.png shows no test rows.
    out_dir: folder for the results, created if it does not exist: inspect.txt (the report), inspect.png (images with
      their labels, contradictions marked) and, if rows have both labels, matrix.png (given by verified label).

  Returns:
    The report.

  Raises:
    UserError: the folder is not writable.
  """
  counts = confusion(dataset.verified, dataset.given, len(dataset.classes))
  sections = [
    _overview(dataset, truth),
    _class_counts(dataset, split),
    _duplicates(dataset),
    _disagreement(dataset, counts),
    _section('Notes', [*dataset.notes, *split.notes] or ['none']),
  ]
  text = '\n\n'.join(sections)
  out = Path(out_dir)
  storage.make_folder(out)
  storage.remove(out / 'matrix.png')  # that of an earlier inspection may have other labels
  storage.write_text(out / 'inspect.txt', text + '\n')
  storage.write_bytes(out / 'inspect.png', style.png(image_grid(dataset, shown(dataset, split))))
  if counts.any():
    storage.write_bytes(
      out / 'matrix.png', matrix.draw(counts, dataset.classes, 'Rows with both labels', 'verified label', 'given label')
    )
  return text


def shown(dataset: Dataset, split: Split) -> np.ndarray:
  """Selects the rows of inspect.png: an equal number of each class, as far as there are enough, then unlabeled rows.

  The class is the given label or, if there is none, the verified one. Within a class, rows with both labels come first.

  Args:
    dataset: the data set.
    split: rows of each part; test rows are not selected.

  Returns:
    Row numbers, sorted by class.
  """
  rows, most = np.union1d(split.train, split.val), GRID[0] * GRID[1]
  label = np.where(dataset.given >= 0, dataset.given, dataset.verified)[rows]
  both = ((dataset.given >= 0) & (dataset.verified >= 0))[rows]
  queues = [
    [*_spread(rows[own & both], most), *_spread(rows[own & ~both], most)]
    for c in range(len(dataset.classes))
    if (own := label == c).any()
  ]
  turns = [row for turn in itertools.zip_longest(*queues) for row in turn if row is not None]
  chosen = set(turns[:most])
  labeled = [row for queue in queues for row in sorted(chosen.intersection(queue))]
  return np.array([*labeled, *_spread(rows[label < 0], most - len(labeled))], int)


def image_grid(dataset: Dataset, rows: np.ndarray) -> Figure:
  """Draws images with their given and verified labels; if the two differ, the labels and the frame are red."""
  columns = min(GRID[1], len(rows))
  lines = -(-len(rows) // columns)
  figure = Figure(figsize=(1.6 * columns, 2 * lines), dpi=100)
  space = dict(left=0.01, right=0.99, bottom=0.01, top=1 - 0.4 / (2 * lines), wspace=0.12, hspace=0.34)
  axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw=space).ravel()
  for axis in axes:
    axis.set_axis_off()
    axis.set_anchor('N')  # aligns the titles of a row of images
  for axis, row, picture in zip(axes, rows, thumbnails(dataset, rows, SIDE)):
    given, verified = dataset.given[row], dataset.verified[row]
    smooth = 'nearest' if max(picture.size) <= 64 else 'antialiased'  # small images are shown with sharp pixels
    axis.imshow(np.asarray(picture), cmap='gray', vmin=0, vmax=255, interpolation=smooth)
    wrong = given >= 0 and verified >= 0 and given != verified
    title = f'given {_name(dataset.classes, given)}'
    title += f'\nverified {_name(dataset.classes, verified)}' if verified >= 0 else '\n'
    axis.set_title(
      title, fontsize=7, color=WRONG if wrong else 'black', fontweight='bold' if wrong else 'normal', parse_math=False
    )
    if wrong:
      axis.add_patch(
        Rectangle((0, 0), 1, 1, transform=axis.transAxes, fill=False, edgecolor=WRONG, linewidth=4, clip_on=False)
      )
  return figure


def _overview(dataset: Dataset, truth: np.ndarray) -> str:
  """Returns the section on the size of the data and the statistics of the pixels."""
  N, H, W, channels = dataset.images.shape
  mean, variance = moments(dataset.images)
  lines = [
    f'rows         {N}',
    f'classes      {len(dataset.classes)}: {", ".join(map(one_line, dataset.classes))}',
    f'images       {H} x {W} x {channels}, {as_images(dataset.images).take(np.arange(1)).dtype}',
    f'mean         {" ".join(f"{m:.1f}" for m in mean)} (by channel, 0..255)',
    f'std          {" ".join(f"{s:.1f}" for s in np.sqrt(np.maximum(variance, 0)))}',
    f'fingerprint  {dataset.fingerprint}',
  ]
  known = (truth >= 0) & (dataset.given >= 0)
  if known.any():
    wrong = np.mean(dataset.given[known] != truth[known])
    lines.append(
      f'audit        true labels of {known.sum()} labeled rows are known: {wrong:.2%} of the given ones are wrong'
    )
  return _section('Data', lines)


def _class_counts(dataset: Dataset, split: Split) -> str:
  """Returns the section with the numbers of rows by given label and part, and by verified label."""
  N, C = len(dataset.given), len(dataset.classes)
  used = np.concatenate([split.train, split.val, split.test])
  parts = {'train': split.train, 'val': split.val, 'test': split.test, 'unused': np.setdiff1d(np.arange(N), used)}
  parts = {name: rows for name, rows in parts.items() if len(rows)}
  count = lambda labels: np.bincount(labels[labels >= 0], minlength=C)
  columns = [count(dataset.given), *(count(dataset.given[rows]) for rows in parts.values()), count(dataset.verified)]
  table: list[list[object]] = [['', 'given', *parts, 'verified']]
  table += [[_name(dataset.classes, c), *(column[c] for column in columns)] for c in range(C)]
  missing = lambda labels: [np.sum(labels < 0), *(np.sum(labels[rows] < 0) for rows in parts.values())]
  table.append(['unlabeled', *missing(dataset.given), ''])
  if (dataset.verified >= 0).any():
    table.append(['unchecked', *missing(dataset.verified), ''])
  table.append(['rows', N, *(len(rows) for rows in parts.values()), np.sum(dataset.verified >= 0)])
  empty = [dataset.classes[c] for c in np.flatnonzero(columns[0] + columns[-1] == 0)]
  lines = _table(table) + ([f'no row has the label {", ".join(empty)}'] if empty else [])
  return _section('Rows by given label and part, and by verified label', lines)


def _duplicates(dataset: Dataset) -> str:
  """Returns the section on exact duplicates and their labels."""
  found, conflicts = duplicates(dataset), conflicting_duplicates(dataset)
  if not found:
    return _section('Exact duplicates', ['none'])
  label = lambda kind, c: f'{kind} {_name(dataset.classes, c)}'
  file = lambda d, i: d.names[i]
  labeled = lambda d, i: f'{d.names[i]} ({label("given", d.given[i])}, {label("verified", d.verified[i])})'
  occur = '1 image occurs' if len(found) == 1 else f'{len(found)} images occur'
  lines = [f'{occur} more than once, in {sum(len(d.rows) for d in found)} rows']
  lines += _listed(found, file)
  lines += [f'{len(conflicts)} of them have labels that conflict']
  lines += _listed(conflicts, labeled)
  return _section('Exact duplicates', lines)


def _disagreement(dataset: Dataset, counts: np.ndarray) -> str:
  """Returns the section with the matrix of given and verified labels and the noise rate."""
  title = 'Given labels against verified labels'
  total, C = int(counts.sum()), len(dataset.classes)
  if not total:
    return _section(title, ['no row has both'])
  wrong = total - int(np.trace(counts))
  rate = wrong / total
  names = [_name(dataset.classes, c) for c in range(C)]
  spread = 1.96 * np.sqrt(rate * (1 - rate) / total)
  lines = [f'{wrong} of {total} rows with both labels differ: noise rate {rate:.2%} (± {spread:.2%}, 95 %)', '']
  if C <= WIDE:
    short = [name[:9] for name in names]
    lines += ['rows (verified label down, given label across)']
    lines += _table([['', *short], *([names[i], *counts[i]] for i in range(C))])
    lines += ['', 'share of the verified class']
    shares = pairs.shares(counts)
    lines += _table([['', *short], *([names[i], *(f'{share:.3f}' for share in shares[i])] for i in range(C))])
  else:
    lines += ['most frequent confusions (verified -> given, rows)']
    lines += [f'{names[i]} -> {names[j]}  {count}' for i, j, count in pairs.confusions(counts, LISTED)]
  return _section(title, lines)


def _listed(groups: list[Duplicates], text: Callable[[Duplicates, int], str]) -> list[str]:
  """Returns a line for each of the first groups, with `text(group, i)` for the i-th row of a group."""
  lines = []
  for group in groups[:LISTED]:
    rows = [text(group, i) for i in range(len(group.rows))]
    lines.append('  ' + ', '.join(rows[:LISTED]) + (f' and {len(rows) - LISTED} more' if len(rows) > LISTED else ''))
  return lines + ([f'  and {len(groups) - LISTED} more'] if len(groups) > LISTED else [])


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
  """Returns at most `count` of the rows, evenly spaced."""
  return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(int)]


def _name(classes: tuple[str, ...], label: int, width: int = 16) -> str:
  """Returns the name of a class, cut to `width` characters; "(none)" for no label."""
  name = '(none)' if label < 0 else one_line(classes[label])
  return name if len(name) <= width else name[: width - 1] + '…'


def _table(rows: Sequence[Sequence[object]]) -> list[str]:
  """Returns the lines of a table; the first column is aligned to the left, the others to the right."""
  cells = [[str(cell) for cell in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*cells)]
  return [
    '  '.join(
      cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))
    ).rstrip()
    for row in cells
  ]


def _section(title: str, lines: Iterable[str]) -> str:
  """Returns a title, followed by indented lines."""
  return '\n'.join([title, *(f'  {line}'.rstrip() for line in lines)])
