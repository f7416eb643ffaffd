"""The ids of rows in a label table: digests of files, not of decoded pixels, since decoders change."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from noisyjax.data import files, packed
from noisyjax.data.dataset import Dataset


def row_ids(data: Dataset) -> np.ndarray:
  """Returns the id of each row, an array of strings [N].

  It is the sha256 of the bytes of the row's file, which a pack has recorded, or the digest of its pixels where it is
  no file. Rows of equal content have their name behind it, so that each id names one row, wherever it lies among the
  others.

  Raises:
    UserError: the images that the rows name are gone.
  """
  if data.root:
    with files.open_images(data.root) as found:
      digests = [hashlib.sha256(found.read(name)).hexdigest() for name in data.names.tolist()]
  elif data.pack and packed.facts(Path(data.pack))['files']:
    digests = packed.columns(Path(data.pack), ('file',))['file'].tolist()
  else:
    digests = [id[:64] for id in data.ids.tolist()]
  count = Counter(digests)
  out = np.empty(len(digests), object)
  out[:] = [d if count[d] == 1 else f'{d}:{name}' for d, name in zip(digests, data.names.tolist())]
  return out
