"""The words by which folders and tables name the parts of a data set: train, val, test, pred."""

import re

_WORDS = {
  'train': 'train(?:ing)?',
  'val': 'val(?:id|idation)?|dev(?:elopment)?',
  'test': '(?:public|private)?[ _-]?test(?:ing)?|eval(?:uation)?|hold[ _-]?out',
  'pred': 'pred(?:iction)?',
}
_WORD = f'(?:{"|".join(f"(?P<{part}>{words})" for part, words in _WORDS.items())})'
_PART = re.compile(
  rf'(?:(?:seg|images?|imgs?|data|dataset)[ _-]?)?{_WORD}(?:[ _-]?(?:set|split|data|images?|imgs?))?', re.IGNORECASE
)
_INSIDE = re.compile(f'(?:^|[^a-z]){_WORD}(?![a-z])', re.IGNORECASE)
# Names of columns that say which rows are of which part, as `column_names.key` has them.
COLUMNS = ('split', 'partition', 'datasplit', 'istrain', 'isvalid', 'isval', 'istest')


def part_of(name: str) -> str:
  """Returns the part that a whole name denotes, train, val, test or pred; '' for other names."""
  found = _PART.fullmatch(name.strip())
  return (found.lastgroup or '') if found else ''


def part_in(path: str) -> str:
  """Returns the part that the last such word in a path names, as in shards/web-val-{0..9}.tar; 'train' if none does."""
  found = [match.lastgroup for match in _INSIDE.finditer(path) if match.lastgroup != 'pred']
  return found[-1] or 'train' if found else 'train'
