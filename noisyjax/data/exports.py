"""The JSON that labeling tools export, as records {'image': …, 'label': …}.

The tools are COCO, FiftyOne, MMPretrain, VIA (the VGG Image Annotator) and Label Studio. A record whose image has
several labels holds their list, and one without a label None.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noisyjax.system.errors import UserError, listed


def known(path: Path, found: dict) -> list[dict] | None:
  """Returns the records of a file of COCO, FiftyOne, MMPretrain or VIA; None for other JSON objects."""
  if _of_records(found.get('images')) and _of_records(found.get('annotations')):
    return _coco(path, found)
  if isinstance(names := found.get('classes'), list) and isinstance(found.get('labels'), dict):
    values = {image: v.get('label') if isinstance(v, dict) else v for image, v in found['labels'].items()}
    return [{'image': image, 'label': _named(names, v)} for image, v in values.items()]
  if isinstance(about := found.get('metainfo'), dict) and _of_records(found.get('data_list')):
    names = about['classes'] if isinstance(about.get('classes'), list) else ()
    return [{'image': row.get('img_path'), 'label': _named(names, row.get('gt_label'))} for row in found['data_list']]
  inner = found.get('_via_img_metadata')
  of_files = list((inner if isinstance(inner, dict) else found).values())
  if of_files and all(isinstance(v, dict) and isinstance(v.get('file_attributes'), dict) for v in of_files):
    return _via(path, of_files)
  return None


def _named(names: Sequence[Any], value: Any) -> Any:
  """Returns the name of a class number, and other labels as they are."""
  return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _of_records(value: Any) -> bool:
  return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _coco(path: Path, found: dict) -> list[dict]:
  """Returns the records of images with annotations of categories, such as iNaturalist's, which need no boxes."""
  try:
    names = {category['id']: category.get('name', category['id']) for category in found.get('categories') or ()}
    labels: dict[Any, list] = {image['id']: [] for image in found['images']}
    for annotation in found['annotations']:
      name = names.get(annotation['category_id'], annotation['category_id'])
      if name not in labels[annotation['image_id']]:  # several objects of one class
        labels[annotation['image_id']].append(name)
    files = [(image['file_name'], labels[image['id']]) for image in found['images']]
  except (KeyError, TypeError, AttributeError) as error:
    wrong = f'in which {error} is missing' if isinstance(error, KeyError) else f'that cannot be read ({error})'
    raise UserError(
      f'{path}: is a COCO file {wrong}; expected images with id and file_name, and annotations with image_id and '
      'category_id.'
    ) from error
  if several := [(name, own) for name, own in files if len(own) > 1]:
    raise UserError(
      f'{path}: is a COCO file of objects: {len(several)} of {len(files)} images have several classes, such as '
      f'{several[0][0]!r} {listed(several[0][1])}; expected one label per image.'
    )
  return [{'image': name, 'label': own[0] if own else None} for name, own in files]


def _via(path: Path, of_files: list[dict]) -> list[dict]:
  """Returns the records of a project or export of VIA: the attributes of each file under their names."""
  if not any(own['file_attributes'] for own in of_files):
    raise UserError(
      f'{path}: is a VIA file without file attributes, so that its classes, if any, are of regions; expected one '
      'attribute per file that holds its label.'
    )
  # A box that may be ticked is {option: true}.
  ticked = lambda value: _one([k for k, on in value.items() if on]) if isinstance(value, dict) else value
  return [
    {'image': own.get('filename')} | {k: ticked(v) for k, v in own['file_attributes'].items()} for own in of_files
  ]


def tasks(path: Path, records: list[dict]) -> list[dict]:
  """Returns one record per annotation of the tasks in Label Studio's JSON export; other records are as they are.

  If annotations answer several questions, a record holds the answer to each under its name.

  Raises:
    UserError: the annotations are boxes, texts, …, and no choices.
  """
  if not any(isinstance(record.get('data'), dict) for record in records):
    return records
  parts = [part for record in records for done in _done(record) for part in done]
  asked = {str(part.get('from_name')): None for part in parts if _choices(part)}
  if parts and not asked:
    kinds = {str(part.get('type')): None for part in parts}
    raise UserError(f'{path}: its annotations are {listed(kinds)}; expected choices, one label per image.')
  return [flat for record in records for flat in _task(record, list(asked) if len(asked) > 1 else [])]


def _task(record: dict, asked: list[str]) -> Iterator[dict]:
  """Yields the records of a task: for each annotation its choices, or those for each of the questions."""
  data = record.get('data')
  if not isinstance(data, dict):
    yield record
    return
  image = next((v for k, v in data.items() if isinstance(v, str) and k.lower() in ('image', 'img')), None)
  image = image or next((v for v in data.values() if isinstance(v, str)), None)
  for done in _done(record) or [[]]:
    if not asked:
      yield {'image': image, 'label': _one([choice for part in done for choice in _choices(part)])}
    else:
      of = lambda name, done=done: [c for part in done if str(part.get('from_name')) == name for c in _choices(part)]
      yield {'image': image} | {name: _one(of(name)) for name in asked}


def _done(record: dict) -> list[list[dict]]:
  """Returns the parts of each annotation of a task that was not cancelled."""
  found = [a for a in record.get('annotations') or () if isinstance(a, dict) and not a.get('was_cancelled')]
  return [[part for part in a.get('result') or () if isinstance(part, dict)] for a in found]


def _choices(part: dict) -> list:
  """Returns the choices in a part of an annotation."""
  value = part.get('value')
  return (value.get('choices') or []) if isinstance(value, dict) else []


def _one(chosen: list) -> Any:
  """Returns the only choice, a list of several, or None."""
  return chosen[0] if len(chosen) == 1 else chosen or None
