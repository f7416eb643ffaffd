"""Comparison of groups of runs."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from noisyjax.reports import formatting
from noisyjax.reports.pictures import style
from noisyjax.reports.record import Record, history, nested
from noisyjax.system.errors import UserError

MARK = {'linestyle': 'none', 'markeredgecolor': style.INK, 'clip_on': False, 'zorder': 4}
BEST: dict[str, Any] = {'marker': 'D', 'markersize': 5.5, 'markerfacecolor': 'white', **MARK}
ORACLE: dict[str, Any] = {'marker': 'o', 'markersize': 10, 'markerfacecolor': 'none', **MARK}


class Scores(NamedTuple):
  """The numbers that a comparison shows.

  Attributes:
    name: name of the accuracy.
    log: log with an accuracy per epoch, "audit" or "metrics".
    field: field of the log.
    last: dotted field of the result, accuracy of the last epoch.
    best: dotted field of the result, accuracy of the epoch selected by validation.
    best_name: name of `best` in the legend.
    oracle: dotted field of the result, accuracy of the epoch selected by the test labels; '' = not shown.
  """

  name: str
  log: str
  field: str
  last: str
  best: str
  best_name: str
  oracle: str


ON_TEST = Scores(
  'Test accuracy (audit)',
  'audit',
  'test_accuracy',
  'audit.last',
  'audit.best_by_validation',
  'best by validation',
  'audit.oracle',
)
ON_VALIDATION = Scores(
  'Validation accuracy',
  'metrics',
  'val_accuracy',
  'validation.last',
  'validation.best',
  'best epoch by the same rows (optimistic)',
  '',
)


def draw(groups: Mapping[str, Sequence[Record]]) -> bytes:
  """Returns a PNG that compares groups of runs.

  Left: accuracy per epoch, mean over seeds and a band of one standard deviation. Right: the last epoch as a bar, the
  epoch selected by validation as a diamond, the oracle as a ring. The accuracy is that on the test rows (audit) or, if
  a group has none, on the validation rows, without an oracle.

  Args:
    groups: name of a group → its runs, which differ only in their seed.

  Raises:
    UserError: a group has no run with a test or validation accuracy.
  """
  scores = next((s for s in (ON_TEST, ON_VALIDATION) if all(_has(runs, s) for runs in groups.values())), None)
  if scores is None:
    lacking = next(name for name, runs in groups.items() if not _has(runs, ON_VALIDATION))
    raise UserError(
      f'{lacking}: no run of this group has a validation accuracy, and not all groups have a test accuracy.'
    )
  with style.context():
    tall = 0.62 if max(map(len, groups)) > 28 else 0.46
    figure = Figure(figsize=(11.5, max(3.8, 1.6 + tall * len(groups))), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for rank, runs in enumerate(groups.values()):
      color, dashes = style.GROUPS[rank % len(style.GROUPS)], ('-', '--', ':')[rank // len(style.GROUPS) % 3]
      _draw_band(left, runs, scores, color, dashes)
      _draw_bar(right, len(groups) - 1 - rank, [run.result for run in runs], scores, color)
    left.set(title=f'{scores.name} per epoch', xlabel='epoch', ylabel=scores.name)
    style.epoch_axis(left)
    left.yaxis.set_major_formatter(style.percent)
    right.set(title='Last epoch: mean ± std over seeds', ylim=(-0.6, len(groups) - 0.4), xlim=(0, 1.28))
    right.set_xlabel(scores.name, loc='left')
    right.set_xticks(np.linspace(0, 1, 6))
    right.xaxis.set_major_formatter(style.percent)
    wrapped = lambda name: textwrap.fill(style.plain(style.short(name, 56)), 28)
    names = [f'{wrapped(name)}\nn = {len(runs)}' for name, runs in reversed(list(groups.items()))]
    right.set_yticks(range(len(groups)), names)
    for rank, label in enumerate(reversed(right.get_yticklabels())):
      label.set(color=style.GROUPS[rank % len(style.GROUPS)], fontweight='bold')
    right.grid(axis='y', visible=False)
    right.tick_params(axis='y', length=0)
    right.spines['left'].set_visible(False)
    right.spines['bottom'].set_bounds(0, 1)
    marks = [(Line2D([], [], **BEST), scores.best_name)]
    marks += [(Line2D([], [], **ORACLE), 'best by test (oracle: not a result)')] if scores.oracle else []
    figure.legend(*zip(*marks), loc='outside lower right', ncols=2)
    return style.png(figure)


def _has(runs: Sequence[Record], scores: Scores) -> bool:
  """Returns whether any run has the accuracy in its log."""
  return any(history(getattr(run, scores.log), scores.field)[0] for run in runs)


def _draw_band(ax: Axes, runs: Sequence[Record], scores: Scores, color: str, dashes: str) -> None:
  """Draws the accuracy per epoch of a group: mean and a band of one standard deviation over its runs."""
  at: dict[int, list[float]] = {}
  for run in runs:
    for epoch, value in zip(*history(getattr(run, scores.log), scores.field)):
      at.setdefault(epoch, []).append(value)
  epochs = sorted(at)
  mean = np.array([np.nanmean(at[e]) if np.isfinite(at[e]).any() else np.nan for e in epochs])
  std = np.array([np.nanstd(at[e], ddof=1) if np.isfinite(at[e]).sum() > 1 else 0 for e in epochs])
  ax.plot(epochs, mean, dashes, color=color, marker='o' if len(epochs) == 1 else None)
  ax.fill_between(epochs, mean - std, np.minimum(mean + std, 1), color=color, alpha=0.16, linewidth=0)


def _draw_bar(ax: Axes, y: int, results: Sequence[Mapping[str, Any]], scores: Scores, color: str) -> None:
  """Draws the accuracies of a group at height `y`: a bar, a diamond and a ring."""
  rules = (scores.last, scores.best, scores.oracle)
  last, best, oracle = (formatting.mean_std([nested(r, rule) for r in results]) if rule else None for rule in rules)
  if last is not None:
    ax.barh(y, last[0], height=0.52, color=color, xerr=last[1] or None, error_kw={'ecolor': style.INK, 'capsize': 3})
    text = f'{100 * last[0]:.2f}' + (f' ± {100 * last[1]:.2f}' if last[1] is not None else '')
    ax.text(1.26, y, text, ha='right', va='center')
  if best is not None:
    ax.plot(best[0], y, **BEST)
  if oracle is not None:
    ax.plot(oracle[0], y, **ORACLE)
