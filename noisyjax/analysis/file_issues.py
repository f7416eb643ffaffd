"""Finds wrong labels of image files and writes a ranked CSV, a page with pictures, and the probabilities."""

import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.analysis import issue_state, quality
from noisyjax.analysis.issues import LabelIssues, find_label_issues
from noisyjax.config.override import override
from noisyjax.data import dataset, files, on_table, packed, probs as own_probs
from noisyjax.data.sources import folders
from noisyjax.data.thumbnail import thumbnails
from noisyjax.reports import html
from noisyjax.runs import in_memory, launch, presence
from noisyjax.runs.fold import Place
from noisyjax.system import lock, storage
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log

SHOWN = 300  # maximum number of flagged labels on the page
FOLDS = 'folds'  # subfolder of the folds that an engine executes
ODD = 60  # maximum number of odd images on the page
SIDE = 200  # maximum side of a picture on the page, in pixels


def find_files(
  images: str,
  labels: str,
  folder: str | Path,
  *,
  probs: str = '',
  features: str = '',
  truth: str = '',
  folds: int = 5,
  config: ConfigDict | None = None,
  skip_bad: bool = False,
  rerun: bool = False,
  classes: Sequence[str] = (),
  image_column: str = '',
  label_column: str = '',
  with_test: bool = False,
  engine: launch.Engine | None = None,
) -> tuple[LabelIssues, dict[str, float] | None]:
  """Finds label issues of image files, and writes issues.csv, issues.html and probs.npy.

  If the folder holds a finished result of the same config and data, its probabilities are used and nothing is trained.

  Args:
    images: folder, zip or tar of images.
    labels: label file, as `label_file.read_column` accepts it; '' = the class folders of the images are their labels.
    folder: folder of the results, created if it does not exist.
    probs: file of the user's own probabilities, as `probs.read` accepts it, such as probs.npy of an earlier call; its
      rows are in the sorted order of the image names, unless the file names them; '' = networks are trained.
    features: pretrained model, as in `find_label_issues`; '' = none.
    truth: label file for the audit only, which is read after all results are written; '' = no audit.
    folds: number of folds, as in `find_label_issues`.
    config: config of the training; None = as in `find_label_issues`. Of its data fields, classes, unlabeled, size, fit
      and channels are used, and table: a version of a label table, whose labels stand in place of the file's.
    skip_bad: whether to continue without unreadable images.
    rerun: whether to replace issues of other data, another config or other code.
    classes: class names in the order of the columns of `probs`; () = the names in the file, or else numbers sorted by
      value or sorted names, which a message says.
    image_column: column of the label file with the image names; '' = it is detected.
    label_column: column of the label file with the labels; '' = it is detected.
    with_test: whether labels of test rows, which the source or the table declares, are learned and checked, too.
    engine: executes the folds, as units of work in the subfolder "folds", until all have finished: the same call after
      an interruption adopts the finished ones. None = in this process, where an interrupted call starts over.

  Returns:
    The issues, and the scores of their audit or None.

  Raises:
    Stale: the folder holds issues of other or unknown data or config, and `rerun` is not set.
    UserError: the images have no labels, or a file is invalid.
  """
  own = config_of(
    images,
    labels,
    features=features,
    truth=truth,
    config=config,
    skip_bad=skip_bad,
    image_column=image_column,
    label_column=label_column,
  )
  ours = own_probs.read(probs) if probs else None
  if declared := classes or (ours and ours.classes):
    own.data.classes = tuple(declared)
  data, hidden = dataset.load(own.data)
  data = _judged(data, own.data, with_test)
  if not labels and not data.pack:
    log.info('The class folders in %s are the labels.', images)
  if ours is not None:
    ours = own_probs.in_order(ours, data.names.tolist(), images)
  if twice := dataset.conflicting_duplicates(data):
    shown = listed(f'{name} ({data.classes[c]})' for name, c in zip(twice[0].names, twice[0].given) if c >= 0)
    log.warning('%d image(s) have exact copies under another label, such as %s.', len(twice), shown)
  log.info('%d images of %dx%d.', len(data.images), data.images.shape[2], data.images.shape[1])
  folder = Path(folder)
  with lock.held(folder), presence.shown(folder):
    here = issue_state.today(own, folds, None if ours is None else ours.values, data)
    kept = issue_state.begin(folder, here, data, rerun)
    if kept is not None:
      log.info('%s: already finished; its probabilities are used again, and nothing is trained.', folder)
      ours = kept
    found = find_label_issues(
      data.images,
      [name or '-1' for name in _names(data.given, data.classes)],  # -1: no label, and no note on each
      probs=ours,
      features=features,
      folds=folds,
      config=None if config is None else own,
      classes=own.data.classes if probs else data.classes,
      place=None if engine is None or isinstance(engine, launch.Here) else Place(engine, folder / FOLDS),
    )
    odd = quality.issues(data)
    counts = ', '.join(f'{name} {flags.sum():,}' for name, flags in odd.items() if flags.any())
    log.info('image issues, independent of the labels: %s.', counts or 'none')
    storage.write_text(folder / 'issues.csv', to_csv(found, data.names.tolist(), odd))
    storage.write_text(folder / 'issues.html', to_html(found, data, Path(images).name, odd))
    issue_state.end(folder, here, found.probs, data, found.told)
    storage.remove(folder / FOLDS)
  return found, found.audit(_names(hidden, data.classes)) if truth else None


def config_of(
  images: str,
  labels: str,
  *,
  features: str = '',
  truth: str = '',
  config: ConfigDict | None = None,
  skip_bad: bool = False,
  image_column: str = '',
  label_column: str = '',
) -> ConfigDict:
  """Returns the config that reads the images and trains the networks; see `find_files`.

  Raises:
    UserError: the images have no labels, or two sources of labels.
  """
  recipe = in_memory.probe() if features else in_memory.recipe()
  own = (recipe if config is None else config).copy_and_resolve_references()
  override(
    own,
    {
      'data.source': 'packed' if packed.is_pack(images) else 'images' if labels else 'folders',
      'data.path': str(images),
      'data.labels': labels,
      'data.verified': '',
      'data.truth': truth,
      'data.features': features,
      'data.skip_bad': skip_bad or own.data.skip_bad,
      'data.image_column': image_column or own.data.image_column,
      'data.label_column': label_column or own.data.label_column,
    },
    'find',
  )
  if packed.is_pack(images) and labels:
    raise UserError(f"--labels: {labels!r}, but {images} is a pack, which holds its labels; expected --labels=''.")
  if not labels and not packed.is_pack(images):
    with files.open_images(images) as found:
      if not folders.has_classes(found):
        raise UserError(
          f'--labels: missing; expected a label file such as labels.csv, or a folder for each class in {images}.'
        )
  if own.data.fit == 'exact':
    own.data.fit = 'crop'
  return own


def _judged(data: dataset.Dataset, config: ConfigDict, with_test: bool) -> dataset.Dataset:
  """Returns the data set with the labels that are learned and checked: those of the table, if there is one.

  Args:
    data: the data set.
    config: `config.data`; its `table` names a version of a label table, whose other images have no label then.
    with_test: whether the labels of test rows are kept.
  """
  used, test = np.ones(len(data.ids), bool), data.test
  if config.table:
    config = config.copy_and_resolve_references()
    config.val, config.test = '', 'source'
    data, parts = on_table.placed(data, config)[:2]
    among = lambda *rows: np.isin(np.arange(len(data.ids)), np.concatenate(rows))
    used, test = among(parts.train, parts.val, parts.test), among(parts.test)
  if not with_test and (count := int((test & (data.given >= 0)).sum())):
    log.warning('%s labels are of test rows: they are neither learned nor checked (--with_test: both).', f'{count:,}')
    used &= ~test
  return data if used.all() else data.with_labels(given=np.where(used, data.given, -1))


def _names(labels: np.ndarray, classes: Sequence[str]) -> list[str | None]:
  """Returns the class name of each label, None for unlabeled rows."""
  return [classes[c] if c >= 0 else None for c in labels.tolist()]


def to_csv(found: LabelIssues, names: Sequence[str], odd: Mapping[str, np.ndarray]) -> str:
  """Returns a CSV of all rows, ranked: file, given, suggested, score, flagged and image_issues.

  With pretrained features, also knn_agreement, duplicate_group (the name of the first of the images that are nearly the
  same) and outlier. Unlabeled rows have no score.

  Args:
    found: the issues.
    names: image names [N], in the order of the data.
    odd: image issues, as `quality.issues` returns them.
  """
  head = ['file', 'given', 'suggested', 'score', 'flagged', 'image_issues']
  rows: list[list[object]] = [[*head, *found.in_features]]
  for place, row in enumerate(found.row.tolist()):
    given = found.given[place]
    label = found.classes[given] if given >= 0 else ''
    score = _number(found.score[place], 6)
    flag = int(found.flagged[place])
    line = [names[row], label, found.classes[found.suggested[place]], score, flag, _listed(odd, row)]
    rows.append([*line, *_in_features(found, place, names).values()])
  return storage.csv_text(rows)


def _number(value: float, digits: int) -> str:
  """Returns a number as text, '' for NaN."""
  return '' if np.isnan(value) else f'{value:.{digits}f}'


def _in_features(found: LabelIssues, place: int, names: Sequence[str]) -> dict[str, str]:
  """Returns the columns of the features as text: of a group of near duplicates, the name of its first image."""
  if not found.in_features:
    return {}
  own = {name: values[place] for name, values in found.in_features.items()}
  group = own['duplicate_group']
  return {
    'knn_agreement': _number(own['knn_agreement'], 3),
    'duplicate_group': '' if group < 0 else names[group],
    'outlier': _number(own['outlier'], 3),
  }


def _listed(odd: Mapping[str, np.ndarray], row: int) -> str:
  """Returns the names of the image issues of a row."""
  return '; '.join(name for name, flags in odd.items() if flags[row])


CSS = """
h2{font-size:20px;margin:36px 0 2px}h3{font-size:16px;margin:20px 0 2px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px;margin:20px 0}
figure{background:#fff;border:1px solid #e1e4e8;border-radius:10px;padding:10px;margin:0;overflow-wrap:anywhere}
img{width:100%;aspect-ratio:1;object-fit:contain;background:#22272e}.pixels{image-rendering:pixelated}
figcaption{font-size:13px}figcaption span{color:#6a737d}del{color:#b00020}ins{color:#12876f;text-decoration:none}
"""


def to_html(found: LabelIssues, data: dataset.Dataset, title: str, odd: Mapping[str, np.ndarray]) -> str:
  """Returns an HTML page without external resources: the flagged labels, most suspicious first, and odd images.

  The page shows reduced copies of the image files, at most SHOWN flagged and ODD odd ones, about 6 MB in total.

  Args:
    found: the issues.
    data: the data set.
    title: name of the data set, in plain text.
    odd: image issues, as `quality.issues` returns them.
  """
  flagged = np.flatnonzero(found.flagged)
  more = f'<p>The first {SHOWN:,} of {len(flagged):,}; all are in issues.csv.</p>' if len(flagged) > SHOWN else ''
  classes, names = found.classes, data.names.tolist()

  def caption(place: int) -> str:
    given, suggested = classes[found.given[place]], classes[found.suggested[place]]
    text = f'<del>{escape(given)}</del> → <ins>{escape(suggested)}</ins> {found.score[place]:.3f}'
    own = _in_features(found, place, names)
    shown = (
      ('neighbours with this label', own.get('knn_agreement')),
      ('outlier', own.get('outlier')),
      ('near copy of', own.get('duplicate_group') if own.get('duplicate_group') != names[found.row[place]] else ''),
    )
    return text + ''.join(f'<br>{what} {escape(value)}' for what, value in shown if value)

  figures = _figures(data, found.row[flagged[:SHOWN]], [caption(place) for place in flagged[:SHOWN]])
  body = (
    f'<h1>{escape(title)}: labels that are probably wrong</h1>\n<p>{escape(str(found)).replace(chr(10), "<br>")}</p>\n'
    '<p>Given label crossed out, suggested label beside it, score from 0 to 1: higher = more likely wrong.</p>\n'
    f'{more}<div class="grid">\n{"".join(figures)}</div>\n{_odd_section(data, odd)}'
  )
  return html.page(f'{title}: label issues', body, CSS)


def _odd_section(data: dataset.Dataset, odd: Mapping[str, np.ndarray]) -> str:
  """Returns the HTML of the images that are odd independent of their labels, a few of each kind."""
  kinds = {name: np.flatnonzero(flags) for name, flags in odd.items() if flags.any()}
  if not kinds:
    return ''
  each = ODD // len(kinds)
  parts = ['<h2>Odd images, independent of their labels</h2>\n']
  for name, rows in kinds.items():
    first = f', the first {each}' if len(rows) > each else ''
    figures = ''.join(_figures(data, rows[:each], [''] * min(each, len(rows))))
    parts.append(
      f'<h3>{name}: {len(rows):,}{first}</h3><p>{quality.ISSUES[name]}.</p><div class="grid">{figures}</div>\n'
    )
  return ''.join(parts)


def _figures(data: dataset.Dataset, rows: np.ndarray, captions: Sequence[str]) -> Iterator[str]:
  """Yields a figure for each row; `captions` are HTML."""
  for row, caption, picture in zip(rows, captions, thumbnails(data, rows, SIDE)):
    buffer, small = io.BytesIO(), max(picture.size) <= 64  # small images are shown with sharp pixels
    picture.save(buffer, 'PNG' if small else 'JPEG', **({} if small else {'quality': 85}))
    name = str(data.names[row])
    shown = html.image(buffer.getvalue(), name, 'png' if small else 'jpeg', ' class=pixels' if small else '')
    yield (
      f'<figure>{shown}'
      f'<figcaption>{caption}{"<br>" if caption else ""}<span>{escape(name)}</span></figcaption></figure>\n'
    )
