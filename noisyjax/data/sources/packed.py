"""A pack: the folder that `launch.py pack` wrote of any source, whose images are read from disk row by row.

`config.path` is its folder, with `config.source` `packed` or the source that it was made of. It holds the labels, the
parts and the classes as they were packed; `data.table` gives it other labels.
"""

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, jpeg, packed
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the pack `config.path`: labels and names, but no image.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: there is no finished pack, it was made with other fields than those of `config`, or a file was edited.
  """
  folder = reading.path_of(config.path, 'data.path')
  found = packed.facts(folder)
  _check(config, found, str(folder))
  images = packed.images(folder, found)
  columns = packed.columns(folder, ('id', 'name', 'given', 'verified', 'part'))
  part = lambda name: columns['part'] == packed.PARTS.index(name)
  height, width, channels = found['shape']
  decoders = [found['decoder'], *([jpeg.decoder()] if found['form'] == 'jpeg' else [])]  # JPEG is decoded twice
  made = dataset.Dataset(
    images=images,
    given=columns['given'],
    verified=columns['verified'],
    classes=tuple(found['classes']),
    ids=columns['id'],
    names=columns['name'],
    fingerprint=dataset.fingerprint(columns['id'], columns['given'], columns['verified'], found['classes']),
    test=part('test'),
    val=part('val'),
    notes=tuple(found['notes']),
    pack=str(folder),
    pixels=f'{found["form"]} {width}x{height}x{channels} by {", ".join([*decoders, found["filter"]])}: '
    + found['content'],
  )
  return made, packed.columns(folder, ('true',), packed.AUDIT)['true']


def _check(config: ConfigDict, found: dict, folder: str) -> None:
  """Raises UserError if `config` asks for what this pack does not hold."""
  height, width, _ = found['shape']
  if config.size and (height, width) != (config.size, config.size):
    raise UserError(
      f'data.size: {config.size}, but the images of the pack {folder} are {width}x{height}. Expected data.size=0, or a '
      f'pack of --size={config.size}.'
    )
  if config.classes and tuple(config.classes) != tuple(found['classes']):
    raise UserError(f'data.classes: {listed(config.classes)}; the pack {folder} has {listed(found["classes"])}.')
  if config.source == 'packed':
    return
  for field, was in found['made_of'].items():
    now = list(config[field]) if isinstance(config[field], tuple) else config[field]
    if field not in ('path', 'size', 'fit', 'classes') and now != was:
      raise UserError(
        f'data.{field}: {now!r}, but the pack {folder} was made with {was!r}. Pack the data again, or set '
        'data.source=packed, which takes the labels of the pack.'
      )
