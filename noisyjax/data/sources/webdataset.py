"""WebDataset: shards `….tar` in which the files of a sample lie side by side: `0001.jpg`, `0001.cls`.

Documented at https://github.com/webdataset/webdataset, README.md, "The WebDataset Format". `config.path` is a folder of
shards (with its subfolders) or one shard. A sample is the files that agree in their path up to the first dot of the
file name; it needs an image. Its label is the text of its file `.cls` or `.txt`, or an entry of its `.json`:
`config.label_column`, or one under a usual name (label, class, …). A sample without one is unlabeled.

Rows are the samples in the order of the shards' names and, in a shard, of the file. The part is told by the path of the
shard: `imagenet-val-000003.tar` and `val/000003.tar` are validation rows. Shards must not be compressed.
"""

import functools
import hashlib
import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import column_names, dataset, files, packed, part_names, records
from noisyjax.data.column import label_text
from noisyjax.system import reading
from noisyjax.system.errors import UserError

LABELS = ('.cls', '.txt')


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the shards in `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: there are no shards or images, a shard is damaged or compressed, or a name is not UTF-8.
  """
  path = reading.path_of(config.path, 'data.path')
  shards = sorted(path.rglob('*.tar')) if reading.kind(path) == 'folder' else [reading.file_of(path, 'data.path')]
  found, places, stamps = [], [], []
  for shard in shards:
    name = shard.relative_to(path).as_posix() if shard != path else shard.name
    files.check_name(name, path)
    stat = shard.stat()
    stamps.append(f'{name} {stat.st_size} {stat.st_mtime_ns}')
    for key, sample in _samples(shard).items():
      if 'image' in sample:
        files.check_name(key, shard)
        found.append(
          records.Record(f'{name}/{key}', _label(sample, config, f'{shard}: {key}'), part_names.part_in(name))
        )
        places.append((shard, *sample['image']))
  if not found:
    raise UserError(
      f'data.path: {path}: {len(shards)} shards (*.tar) hold no image; expected samples 0001.jpg, 0001.cls.'
    )
  stamp = hashlib.sha256('\n'.join(stamps).encode()).hexdigest()
  opened = functools.lru_cache(packed.OPEN)(packed.Blob)

  def read(i: int) -> bytes:
    shard, offset, size = places[i]
    return opened(shard).content(offset, size)

  return records.load(str(path), found, read, (), stamp, config)


def _samples(shard: Path) -> dict[str, dict[str, Any]]:
  """Returns, for the key of each sample, the place of its 'image' (offset, size) and the content of its other files."""
  found: dict[str, dict[str, Any]] = {}
  hint = 'Is the file complete? Compressed shards must be unpacked to .tar.'
  with reading.reading(shard, 'an uncompressed tar', hint), tarfile.open(shard, 'r:') as archive:
    for member in archive:
      path = PurePosixPath(member.name)
      stem, _, rest = path.name.partition('.')
      if not member.isfile() or not stem:
        continue
      sample = found.setdefault((path.parent / stem).as_posix(), {})
      suffix = f'.{rest.lower().rpartition(".")[2]}'
      if suffix in files.SUFFIXES:
        if 'image' in sample:
          raise UserError(f'{shard}: {member.name}: is a second image of its sample; expected one image in each.')
        sample['image'] = member.offset_data, member.size
      elif suffix in (*LABELS, '.json'):
        content: Any = archive.extractfile(member)
        sample[suffix] = content.read()
  return found


def _label(sample: dict[str, Any], config: ConfigDict, where: str) -> str | None:
  """Returns the text of a sample's label; None if it has none."""
  with reading.reading(where, 'UTF-8', ''):
    text = next((sample[suffix].decode().strip() for suffix in LABELS if suffix in sample), None)
  if text is None and '.json' in sample:
    with reading.reading(where, 'JSON', ''):
      entries = json.loads(sample['.json'])
      if not isinstance(entries, dict):
        raise UserError(f'{where}: its JSON is a {type(entries).__name__}; expected an object with a label.')
      names = [config.label_column] if config.label_column else column_names.preferred(entries, column_names.GIVEN)
      text = next((label_text(entries[name], where, name) for name in names if entries.get(name) is not None), None)
  return text or None
