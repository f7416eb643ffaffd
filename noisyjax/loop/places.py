"""The training rows on a map, by the embeddings of a network that trained on the chosen version, for the report."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from noisyjax.analysis import map2d
from noisyjax.data import prepare, split
from noisyjax.loop.ground import Ground
from noisyjax.runs import selected
from noisyjax.tables import versions

MOST = 5000  # rows on the map


class Places(NamedTuple):
  """Rows on a map.

  Attributes:
    points: float32 [n, 2], by PCA.
    labels: int [n], labels in the version; -1 = none.
    changed: bool [n], whether the label is another than in version 0.
    of: number of training rows, of which the n are a random part.
  """

  points: np.ndarray
  labels: np.ndarray
  changed: np.ndarray
  of: int


def placed(ground: Ground, version: str, run: Path) -> Places | None:
  """Returns the training rows of a version on a map; None for a model without embeddings.

  Args:
    ground: of the loop.
    version: name of the version.
    run: folder of a finished run on it.
  """
  network = selected.load(run)
  prepared, _ = prepare.prepare(ground.on(version, test=''), ground.loaded)
  chosen = np.sort(split.rng(ground.recipe.seed, 'map').permutation(len(prepared.rows))[:MOST])
  _, embeddings = network.look(prepared.train.images.take(chosen))
  if embeddings is None:
    return None
  place = ground.place_of[prepared.rows[chosen]]
  labels = versions.read(ground.table, version).rows.label[place]
  return Places(map2d.pca(embeddings), labels, labels != ground.first.rows.label[place], len(prepared.rows))
