"""Injected label noise: symmetric, asymmetric, pair, instance-dependent, by a transition matrix, or from a file.

All kinds except 'instance' and 'file' are class-conditional: P(given = j | true = i) = T[i, j], with rows = true class.

* symmetric: exclusive, so a new label always differs from the true one: T = (1 - r) I + r (1 - I) / (C - 1).
* symmetric_inclusive: the new label is drawn from all C classes including the true one, so that only r (1 - 1/C) of the
  labels become wrong: T = (1 - r) I + r / C (DivideMix's code, and PES with `include_noise`).
* asymmetric: classes flip to a similar class, by a map. 'cifar10' and 'cifar100' follow the text of Patrini et al.,
  "Making Deep Neural Networks Robust to Label Noise", CVPR 2017, section 5. For CIFAR-100 that is: "to the next class,
  circularly, within the 20 superclasses". Patrini's own code, and that of Co-teaching, JoCoR and most others that
  copied its `noisify_cifar100_asymmetric`, flips within blocks of five consecutive class numbers instead. CIFAR-100's
  fine classes are numbered alphabetically, so those blocks are not superclasses (apple -> aquarium fish -> baby ->
  bear -> beaver -> apple). To reproduce their results, give the blocks as pairs: (0, 1), (1, 2), (2, 3), (3, 4),
  (4, 0), …
* pair: class i flips to i + 1, the last class to the first (Han et al., "Co-teaching", NeurIPS 2018).
* instance: Xia et al., "Part-dependent Label Noise: Towards Instance-dependent Label Noise", NeurIPS 2020, Algorithm 2
  (`_instance` lists the departures).

`noise.count` says how many rows of a kind with a rate are drawn. Of these, symmetric_inclusive and asymmetric noise
leave some as they are.

* independent: each row with probability r, so that the realized rate varies around the requested one; both are
  recorded. So do co-teaching, JoCoR, GCE (AlanChou/Truncated-Loss), forward correction, GLC, Meta-Weight-Net, CORES²
  and PES, and ELR and SOP for asymmetric noise on CIFAR-100.
* exact: ⌊rN⌋ of all N rows (DivideMix, ProMix, SSR, L2RW; ELR and SOP for symmetric noise, which round up).
* per_class: ⌊rN_c⌋ of the N_c rows of each class (SCE and active-passive losses; ELR and SOP for asymmetric noise on
  CIFAR-10).

Row i always uses the i-th triple of uniform numbers of one generator, which depends on `noise.seed` only. Therefore the
noise does not depend on the split or the training seed. If rows are drawn independently, it does not depend on the
labels of other rows either, and the first n rows get the same noise with and without the others; for other subsets,
inject noise before taking the subset. A row that a class-conditional kind makes wrong at one rate is wrong, with the
same label, at every higher rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import truncnorm

from noisyjax.data import home
from noisyjax.data.images import as_images
from noisyjax.data.label_file import read_rows
from noisyjax.data.labels import indices
from noisyjax.estimate.pairs import count_pairs, shares
from noisyjax.system import reading
from noisyjax.system.errors import UserError, check_choice

KINDS = ('none', 'symmetric', 'symmetric_inclusive', 'asymmetric', 'pair', 'instance', 'matrix', 'file')
COUNTS = ('independent', 'exact', 'per_class')
COUNTED = ('symmetric', 'symmetric_inclusive', 'asymmetric', 'pair')  # kinds whose drawn rows can be counted

# truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog
CIFAR10_MAP = ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3))

# The superclass of each fine class of CIFAR-100, both numbered alphabetically as in the data set.
# fmt: off
CIFAR100_SUPERCLASS = (
   4,  1, 14,  8,  0,  6,  7,  7, 18,  3,    3, 14,  9, 18,  7, 11,  3,  9,  7, 11,
   6, 11,  5, 10,  7,  6, 13, 15,  3, 15,    0, 11,  1, 10, 12, 14, 16,  9, 11,  5,
   5, 19,  8,  8, 15, 13, 14, 17, 18, 10,   16,  4, 17,  4,  2,  0, 17,  4, 18, 17,
  10,  3,  2, 12, 12, 16, 12,  1,  9, 19,    2, 10,  0,  1, 16, 12,  9, 13, 15, 13,
  16, 19,  2,  4,  6, 19,  5,  5,  8, 19,   18,  1,  2, 15,  6,  0, 17,  8, 14, 13,
)
# fmt: on

RATE_STD = 0.1  # standard deviation of the flip rates of kind 'instance', sigma in the paper


@dataclass(frozen=True, eq=False)
class Noise:
  """Noisy labels and a record of the noise.

  Attributes:
    labels: int32 [N]; -1 where the input was -1.
    record: data for JSON. `kind`; `definition`, a sentence; `requested`, `noise.rate` or None if the kind has no rate;
      `expected`, the fraction of labels that change on average, None for a file; `realised`, the fraction that changed;
      `matrix`, the realized transition matrix [C][C], rows = true class, columns = given class, whose rows sum to 1 or
      are 0 for a class without rows.
  """

  labels: np.ndarray
  record: dict[str, Any]


def inject(labels: np.ndarray, config: Any, images: Any = None, classes: tuple[str, ...] = ()) -> Noise:
  """Draws a noisy label for every labeled row.

  Args:
    labels: int [N], the labels to corrupt, usually the true ones; -1 (unlabeled) stays -1.
    config: `config.noise`: kind, rate, count, map, path, column, order, seed.
    images: `Images` or uint8 [N, H, W, C], the same rows in the same order; only kind 'instance' uses them.
    classes: class names; () = the number of classes is the largest label plus 1.

  Raises:
    UserError: a field of `config.noise` or a file is invalid.
  """
  labels = np.asarray(labels, np.int32)
  C = len(classes) or int(labels.max(initial=-1)) + 1
  kind = check_choice('noise.kind', config.kind, KINDS)
  count = check_choice('noise.count', config.count, COUNTS)
  if count != 'independent' and kind not in COUNTED:
    raise UserError(
      f'noise.count: {count!r} is for the kinds {", ".join(COUNTED)}; found noise.kind {kind!r}. Set it to independent.'
    )
  if C < 2 and kind not in ('none', 'file'):
    raise UserError(f'noise.kind: {kind!r} noise needs at least two classes, found {C}.')
  uniform = _rng(config.seed, 'noise').random((len(labels), 3))
  if kind == 'none':
    noisy, expected, requested, definition = labels.copy(), 0.0, 0.0, 'Labels are used as they are.'
  elif kind == 'file':
    noisy, expected, requested = _file(labels, config, classes or [str(c) for c in range(C)]), None, None
    order = f' in the order of {Path(config.order).name}' if config.order else ''
    column = f'the column {config.column} of ' if config.column else ''
    definition = f'Labels come from {column}the file {Path(config.path).name}{order}.'
  elif kind == 'instance':
    requested = _rate(config)
    noisy, expected = _instance(labels, images, requested, C, uniform, config.seed)
    definition = (
      f'Instance-dependent (Xia et al. 2020, Algorithm 2): a row flips at a rate drawn from a normal '
      f'({requested:g}, {RATE_STD:g}) truncated to [0, 1], to another class by the softmax of its projected image.'
    )
  else:
    T, definition = transition(config, C)
    requested = None if kind == 'matrix' else _rate(config)
    noisy, expected = _flip(labels, T, uniform)
    if count != 'independent':
      noisy = _counted(labels, T, _rate(config), uniform, count == 'per_class')
      definition += f' {"Of each class," if count == "per_class" else "Of all rows,"} exactly this share is drawn.'
  labeled = (labels >= 0) & (noisy >= 0)
  record = {
    'kind': kind,
    'definition': definition,
    'requested': requested,
    'expected': expected,
    'realised': float(np.mean(noisy[labeled] != labels[labeled])) if labeled.any() else 0.0,
    'matrix': realised_matrix(labels, noisy, C).tolist(),
  }
  return Noise(noisy, record)


def transition(config: Any, C: int) -> tuple[np.ndarray, str]:
  """Returns the transition matrix T of a class-conditional kind, float64 [C, C] (rows = true class), and a sentence."""
  eye = np.eye(C)
  if config.kind == 'matrix':
    return _read_matrix(config.path, C), f'Labels flip by the transition matrix in {Path(config.path).name}.'
  r = _rate(config)
  if config.kind == 'symmetric':
    return (1 - r) * eye + r * (1 - eye) / (C - 1), (
      f'Symmetric, exclusive: with probability {r:g} a label becomes one of the {C - 1} other classes, uniformly.'
    )
  if config.kind == 'symmetric_inclusive':
    return (1 - r) * eye + r / C, (
      f'Symmetric, inclusive: with probability {r:g} a label is redrawn from all {C} classes, its own among them; '
      f'{r * (1 - 1 / C):.4g} become wrong.'
    )
  if config.kind == 'pair':
    return (1 - r) * eye + r * np.roll(eye, 1, axis=1), (
      f'Pair flip: with probability {r:g} a label becomes the next class, the last class the first.'
    )
  assert config.kind == 'asymmetric', config.kind
  pairs, name = _pairs(config.map, C)
  T = eye.copy()
  for source, target in pairs:
    T[source, source], T[source, target] = 1 - r, r
  return (
    T,
    f'Asymmetric: with probability {r:g} a label of {len(pairs)} of {C} classes becomes the class {name} maps it to.',
  )


def realised_matrix(true: np.ndarray, given: np.ndarray, C: int) -> np.ndarray:
  """Returns the share of each true class (row) with each given label (column), float64 [C, C]."""
  return shares(count_pairs(true, given, C))


def _rng(seed: int, *name: str | int) -> np.random.Generator:
  """Returns a separate generator for each name, so that noise shares no numbers with splits, folds or training."""
  if seed < 0:
    raise UserError(f'noise.seed: must be 0 or more, found {seed}.')
  return np.random.default_rng([seed, *'/'.join(map(str, name)).encode()])


def _rate(config: Any) -> float:
  """Returns `noise.rate`; raises UserError if it is not in [0, 1]."""
  if not 0 <= config.rate <= 1:
    raise UserError(f'noise.rate: must lie in [0, 1], found {config.rate:g}.')
  return float(config.rate)


def _flip(labels: np.ndarray, T: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, float]:
  """Draws each label from its row of T; returns the labels and the fraction that changes on average.

  One random number decides whether a label flips and another one the new class, so that labels that are wrong at one
  rate are also wrong at a higher one.
  """
  noisy = labels.copy()
  rows = np.flatnonzero(labels >= 0)
  true = labels[rows]
  flip = 1 - np.diagonal(T)  # [C]
  off = T * (1 - np.eye(len(T)))
  off = off / np.maximum(off.sum(1, keepdims=True), np.finfo(float).tiny)
  target = _drawn(off, true, uniform[rows, 1])
  noisy[rows] = np.where(uniform[rows, 0] < flip[true], target, true)
  return noisy, float(flip[true].mean()) if len(rows) else 0.0


def _counted(labels: np.ndarray, T: np.ndarray, rate: float, uniform: np.ndarray, per_class: bool) -> np.ndarray:
  """Returns the labels after a new one was drawn for the fraction `rate` of all labeled rows, or of each class.

  The rows with the lowest random numbers are drawn, so that those of one rate are also drawn at a higher one.
  """
  noisy = labels.copy()
  if rate == 0:
    return noisy
  rows = np.flatnonzero(labels >= 0)
  groups = [rows[labels[rows] == c] for c in range(len(T))] if per_class else [rows]
  first = [g[np.argsort(uniform[g, 0], kind='stable')][: math.floor(rate * len(g) + 1e-9)] for g in groups]
  drawn = np.concatenate(first)
  eye = np.eye(len(T))
  redrawn = np.clip(eye + (T - eye) / rate, 0, 1)  # the distribution of a drawn row's label
  noisy[drawn] = _drawn(redrawn, labels[drawn], uniform[drawn, 1])
  return noisy


def _drawn(T: np.ndarray, true: np.ndarray, uniform: np.ndarray, chunk: int = 2**14) -> np.ndarray:
  """Draws a class from the row of T [C, C] of each class in `true` [B], in parts: [B, C] may be larger than memory."""
  parts = np.split(np.arange(len(true)), range(chunk, len(true), chunk))
  return np.concatenate([_draw(T[true[part]], uniform[part]) for part in parts])


def _draw(probs: np.ndarray, uniform: np.ndarray) -> np.ndarray:
  """Inverts the cumulative sums of `probs` [B, C] at `uniform` [B]; never returns a class of probability 0."""
  cumulative = np.cumsum(probs, axis=1)
  total = cumulative[:, -1:]  # 1 up to rounding, or 0 for rows whose result is not used
  return np.minimum((cumulative <= uniform[:, None] * total).sum(1), probs.shape[1] - 1)


def _instance(
  labels: np.ndarray, images: Any, rate: float, C: int, uniform: np.ndarray, seed: int, chunk: int = 4096
) -> tuple[np.ndarray, float]:
  """Applies instance-dependent noise; returns the noisy labels and the mean flip rate that was drawn.

  Xia et al. 2020, Algorithm 2, as in the authors' and the field's `get_instance_noisy_label`: row i of true class y
  flips with probability q_i ~ N(rate, 0.1²) truncated to [0, 1], and its other classes share q_i by
  softmax(x_i W_y), where x_i is the flattened image and W_y ~ N(0, 1) [D, C] belongs to the class.

  Departures: x = image / 127.5 - 1, without statistics of the data set, so that the noise of a row does not depend on
  other rows. W_y is drawn class by class from separate seeds, not as [C, D, C] at once, which would be 3 GB for 200
  classes of 64 x 64 RGB. Rate 0 means no noise; the truncated normal would still flip 8 %. Some derived code truncates
  the rate at 0.6; this function does not.
  """
  if images is None or len(images) != len(labels):
    found = 'none' if images is None else len(images)
    raise UserError(f"noise.kind: 'instance' noise needs one image per label, found {found} for {len(labels)} labels.")
  if rate == 0:
    return labels.copy(), 0.0
  images = as_images(images)
  q = truncnorm.ppf(uniform[:, 0], -rate / RATE_STD, (1 - rate) / RATE_STD, loc=rate, scale=RATE_STD)
  noisy = labels.copy()
  D = int(np.prod(images.shape[1:]))
  for y in range(C):
    rows = np.flatnonzero(labels == y)
    if not len(rows):
      continue
    W = _rng(seed, 'instance', y).standard_normal((D, C), np.float32)
    for part in np.array_split(rows, -(-len(rows) // chunk)):
      x = np.asarray(images.take(part)).reshape(len(part), D).astype(np.float32) / 127.5 - 1
      logits = (x @ W).astype(np.float64)  # [B, C]
      logits[:, y] = -np.inf
      probs = np.exp(logits - logits.max(1, keepdims=True))
      target = _draw(probs, uniform[part, 2])
      noisy[part] = np.where(uniform[part, 1] < q[part], target, y)
  labeled = labels >= 0
  return noisy, float(q[labeled].mean()) if labeled.any() else 0.0


def _pairs(pairs: Any, C: int) -> tuple[tuple[tuple[int, int], ...], str]:
  """Reads `noise.map`; returns its (from, to) pairs and the name of the map."""
  if isinstance(pairs, tuple) and len(pairs) == 1 and isinstance(pairs[0], str):
    pairs = pairs[0]  # --config.noise.map=cifar10 on a field whose default is a tuple
  if isinstance(pairs, str):
    check_choice('noise.map', pairs, ('cifar10', 'cifar100'))
    expected = {'cifar10': 10, 'cifar100': 100}[pairs]
    if expected != C:
      raise UserError(f'noise.map: {pairs!r} is for {expected} classes, and the data has {C}.')
    return (CIFAR10_MAP if pairs == 'cifar10' else cifar100_map()), f'the {pairs} map'
  example = "'cifar10', 'cifar100' or pairs of class numbers such as ((9, 1), (2, 0))"
  if not pairs:
    raise UserError(f'noise.map: asymmetric noise needs a map: {example}.')
  try:
    pairs = tuple((int(source), int(target)) for source, target in pairs)
  except (TypeError, ValueError):
    raise UserError(f'noise.map: found {pairs!r}; expected {example}.') from None
  sources = [source for source, _ in pairs]
  for source, target in pairs:
    if not (0 <= source < C and 0 <= target < C) or source == target or sources.count(source) > 1:
      raise UserError(
        f'noise.map: pair {(source, target)}: expected two different classes in 0..{C - 1}, and each source class once.'
      )
  return pairs, 'the map ' + ', '.join(f'{source}->{target}' for source, target in pairs)


def cifar100_map() -> tuple[tuple[int, int], ...]:
  """Returns CIFAR-100's circular map: each fine class to the next in its superclass, the last to the first."""
  superclass = np.array(CIFAR100_SUPERCLASS)
  pairs = []
  for fine in range(100):
    members = np.flatnonzero(superclass == superclass[fine])
    pairs.append((fine, int(members[(np.searchsorted(members, fine) + 1) % len(members)])))
  return tuple(pairs)


def _read_matrix(path: str, C: int) -> np.ndarray:
  """Reads and checks a transition matrix [C, C], rows = true class."""
  if not path:
    raise UserError("noise.path: kind 'matrix' needs a .npy or .csv file with a transition matrix, found ''.")
  file = reading.path_of(path, 'noise.path')
  try:
    T = np.load(file, allow_pickle=False) if file.suffix == '.npy' else np.loadtxt(file, delimiter=',', ndmin=2)
    T = np.asarray(T, np.float64)
  except reading.DAMAGE as error:
    raise UserError(f'noise.path: {file}: not a readable transition matrix (.npy or .csv): {error}.') from None
  if T.shape != (C, C):
    raise UserError(f'noise.path: {file}: found shape {T.shape}, expected one row and one column per class: {(C, C)}.')
  if not np.isfinite(T).all() or (T < 0).any():
    row = int(np.flatnonzero(~np.isfinite(T).all(1) | (T < 0).any(1))[0])
    raise UserError(f'noise.path: {file}: row {row} holds {T[row].tolist()}, expected probabilities.')
  sums = T.sum(1)
  wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
  if len(wrong):
    hint = ' Its columns do: transpose it (rows = true class).' if np.allclose(T.sum(0), 1, atol=1e-3) else ''
    raise UserError(f'noise.path: {file}: row {wrong[0]} sums to {sums[wrong[0]]:.6g}; every row must sum to 1.{hint}')
  return T / sums[:, None]  # compensates for rounding in the file, such as 0.333, 0.333, 0.333


def _file(labels: np.ndarray, config: Any, classes: Sequence[str]) -> np.ndarray:
  """Reads labels from a file with the same rows in the same order; unlabeled rows remain unlabeled."""
  if not config.path:
    raise UserError("noise.path: kind 'file' needs a label file, found ''.")
  for field, path in (('path', config.path), ('order', config.order)):
    if path and not reading.kind(file := reading.path_of(path, f'noise.{field}')):
      raise UserError(f'noise.{field}: there is no file {reading.short(file)!r}.{home.hint(file)}')
  column = read_rows(config.path, config.order, config.column)
  if len(column.labels) != len(labels):
    raise UserError(f'noise.path: {config.path}: has {len(column.labels)} labels for {len(labels)} rows.')
  return np.where(labels < 0, np.int32(-1), indices(column, classes, ''))
