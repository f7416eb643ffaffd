"""The words by which folders and tables name the parts of a data set: train, val, test, pred."""

import re

_WORDS = {
  'train': 'train(?:ing)?',
  'val': 'val(?:id|idation)?|dev(?:elopment)?',
  'test': '(?:public|private)?[ _-]?test(?:ing)?|eval(?:uation)?|hold[ _-]?out',
  'pred': 'pred(?:iction)?',
}
_PART = re.compile(
  r'(?:(?:seg|images?|imgs?|data|dataset)[ _-]?)?'
  + f'(?:{"|".join(f"(?P<{part}>{words})" for part, words in _WORDS.items())})'
  + r'(?:[ _-]?(?:set|split|data|images?|imgs?))?',
  re.IGNORECASE,
)
# Names of columns that say which rows are of which part, as `column_names.key` has them.
COLUMNS = ('split', 'subset', 'partition', 'datasplit', 'istrain', 'isvalid', 'isval', 'istest')


def part_of(name: str) -> str:
  """Returns the part that a whole name denotes, train, val, test or pred; '' for other names."""
  found = _PART.fullmatch(name.strip())
  return (found.lastgroup or '') if found else ''
