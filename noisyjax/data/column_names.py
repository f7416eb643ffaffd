"""The names of columns by which tables are read without being told which column is which."""

import re
from collections.abc import Iterable, Sequence

# In lower case without spaces and dashes, in order of preference.
IMAGES = (
  'image',
  'imagepath',
  'imagefile',
  'imagefilename',
  'imagename',
  'img',
  'imgpath',
  'imgname',
  'imgfile',
  'filename',
  'file',
  'filepath',
  'path',
  'imageid',
  'imgid',
  'imageindex',
  'photo',
  'picture',
  'url',
  'id',
  'name',
)
PLURAL = ('images', 'names', 'imagenames', 'files', 'filenames', 'paths', 'ids')  # of arrays of names
LABELS = (
  'label',
  'labels',
  'class',
  'classname',
  'classlabel',
  'category',
  'categoryname',
  'target',
  'choice',
  'labelname',
  'given',
  'givenlabel',
  'noisylabel',
  'y',
  'classid',
  'labelid',
  'categoryid',
  'targets',
  'classes',
)
TRUTHS = ('true', 'truth', 'truelabel', 'trueclass', 'cleanlabel', 'groundtruth', 'groundtruthlabel', 'gt', 'gtlabel')
VERIFIED = ('verifiedlabel', 'checkedlabel', 'correctedlabel', 'trustedlabel')
GIVEN = (*LABELS, *TRUTHS, *VERIFIED)
OF_KIND = {  # kind of labels that are asked for → names, in order of preference
  'labels': LABELS,
  'verified': (*VERIFIED, *TRUTHS, *LABELS),
  'truth': (*TRUTHS, *VERIFIED, *LABELS),
}
INDEX = ('', 'index', 'unnamed0')  # columns of row numbers that pandas writes


def key(name: str) -> str:
  """Returns a column name in lower case, without spaces and punctuation."""
  return re.sub(r'[\s_.:-]+', '', name.casefold())


def preferred(names: Iterable[str], known: Sequence[str]) -> list[str]:
  """Returns those of the names of columns that are known, the preferred ones first."""
  return sorted((name for name in names if key(name) in known), key=lambda name: known.index(key(name)))


def names_images(name: str) -> bool:
  """Returns whether a column of this name holds names of images."""
  return key(name) in IMAGES
