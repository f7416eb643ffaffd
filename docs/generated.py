"""The parts of the site that are read off the code: the table of methods, their pages, and the recipes' figures."""

import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.recipes import common
from noisyjax.config.build import find_strategy
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.engine import passes
from noisyjax.engine.strategy import Strategy
from noisyjax.system import plugins

ROOT = Path(__file__).resolve().parents[1]


def write(folder: Path) -> None:
  """Writes methods.md and recipes.md, which the pages of these names include.

  Args:
    folder: where to; made if it is not there.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for name, text in (('methods.md', methods()), ('recipes.md', recipes())):
    (folder / name).write_text(text)


def methods() -> str:
  """Returns a table of all methods, and a section of each: its docstring, what it costs and its fields."""
  names = plugins.names(STRATEGIES, 'Strategy')
  found = {name: find_strategy(name).build() for name in names}
  costs = {name: passes.planned(strategy, name) for name, strategy in found.items()}
  rows = [_method_row(name, strategy, *costs[name]) for name, strategy in found.items()]
  head = ['| method | must be told | networks | passes | what it is |', '|---|---|---|---|---|']
  sections = [_method_section(name, strategy, *costs[name]) for name, strategy in found.items()]
  return '\n'.join([*head, *rows]) + '\n\n' + '\n\n'.join(sections) + '\n'


def _method_row(name: str, strategy: Strategy, networks: int, cost: float) -> str:
  told = ', '.join(strategy.needs) or 'nothing'
  title = escaped(_doc(strategy).splitlines()[0])
  return f'| [`{name}`](#{name.replace("_", "-")}) | {told} | {networks} | {cost:.4g} | {title} |'


def _method_section(name: str, strategy: Strategy, networks: int, cost: float) -> str:
  facts = [
    f'**File:** `noisyjax/strategies/{name}.py`',
    f'**Must be told:** {", ".join(strategy.needs) or "nothing"}',
    f'**Networks:** {networks}',
    f'**Passes per training image:** {cost:.4g}',
  ]
  title = f'## {name.replace("_", " ")}'
  return '\n\n'.join([title, ' · '.join(facts), prose(_doc(strategy)), _fields(name, strategy)])


def _fields(name: str, strategy: Strategy) -> str:
  fields = dataclasses.fields(strategy)
  if not fields:
    return 'It has no fields.'
  meaning = _attributes(type(strategy).__doc__ or '')
  rows = [f'| `{f.name}` | `{f.default!r}` | {escaped(meaning.get(f.name, ""))} |' for f in fields]
  head = [f'| field of `--config.strategy.{name}` | default | meaning |', '|---|---|---|']
  return '\n'.join([*head, *rows])


def _attributes(docstring: str) -> dict[str, str]:
  """Returns name → text of a docstring's section "Attributes:", each of whose entries begins a line."""
  section = re.search(r'Attributes:\n(.*?)(?:\n\s*\n|\Z)', docstring, re.DOTALL)
  if not section:
    return {}
  lines = section[1].splitlines()
  indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
  out: dict[str, str] = {}
  for line in lines:
    if entry := re.match(rf' {{{indent}}}(\w+): (.*)', line):
      name, out[entry[1]] = entry[1], entry[2]
    elif out:
      out[name] += f' {line.strip()}'
  return out


def recipes() -> str:
  """Returns a table of what was published, and a section of each recipe under configs/recipes."""
  files = sorted(path.stem for path in (ROOT / 'configs/recipes').glob('*.py'))
  modules = {name: importlib.import_module(f'configs.recipes.{name}') for name in files if name[0] != '_'}
  found = {name: module for name, module in modules.items() if hasattr(module, 'PUBLISHED')}
  sections = [f'### {name.replace("_", " ")}\n\n{prose(m.__doc__)}' for name, m in found.items()]
  return '\n\n'.join([_published(found), *sections]) + '\n'


def _published(modules: dict) -> str:
  """Returns a table of CIFAR-10 and one of CIFAR-100; letters stand for the sources below them.

  Each has a row for each recipe and a column for each noise.
  """
  sources: dict[str, str] = {}
  tables = [_quoted(modules, common.NOISE, sources), _quoted(modules, [f'c100-{n}' for n in common.NOISE_100], sources)]
  notes = [f'* {letter}: {escaped(source)}' for source, letter in sources.items()]
  return '\n\n'.join([*tables, '\n'.join(notes)])


def _quoted(modules: dict, forms: Sequence[str], sources: dict[str, str]) -> str:
  """Returns a table of the recipes and forms of which something was published; adds to source → letter."""
  noises = [form for form in forms if any(form in module.PUBLISHED for module in modules.values())]
  rows = []
  for name, module in modules.items():
    cells = []
    for noise in noises:
      number, _, source = module.PUBLISHED.get(noise, '–').removesuffix(')').partition(' (')
      letter = sources.setdefault(source, chr(ord('a') + len(sources))) if source else ''
      cells.append(f'{number} {letter}'.strip())
    if set(cells) != {'–'}:
      rows.append(f'| `{name}` | {" | ".join(cells)} |')
  head = [f'| recipe | {" | ".join(noises)} |', '|---' * (len(noises) + 1) + '|']
  return '\n'.join([*head, *rows])


def _doc(strategy: Strategy) -> str:
  return sys.modules[type(strategy).__module__].__doc__


def prose(text: str) -> str:
  """Returns a docstring as Markdown: indented blocks become code, everything else is text as it stands."""
  blocks = re.split(r'\n\s*\n', text.strip())
  return '\n\n'.join(f'```\n{_dedented(b)}\n```' if b.startswith('  ') else escaped(b) for b in blocks)


def _dedented(block: str) -> str:
  return '\n'.join(line.removeprefix('  ') for line in block.splitlines())


def escaped(text: str) -> str:
  """Returns text in which Markdown's marks are escaped, except `code` and *emphasis*."""
  parts = re.split(r'(`[^`]*`)', text)
  return ''.join(part if i % 2 else re.sub(r'([\\_<>\[\]|$])', r'\\\1', part) for i, part in enumerate(parts))
