"""The order of the rooms: a room imports those below it; no circle between files; a bounded number of room pairs."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'noisyjax'
# From the top to the bottom. `cli` and the package itself may import anything, and nothing imports them.
ROOMS = (
  'cli',
  'review',
  'experiments',
  'loop',
  'rules',
  'analysis',
  'runs',
  'reports',
  'config',
  'strategies',
  'engine',
  'data',
  'tables',
  'models',
  'estimate',
  'system',
)
# Distinct (room, room below it); not counted: `cli`, which may import anything. `rules` needs five: it reads tables,
# analyses, estimate and system, and loop reads it. `review` needs four: it shows tables and their images (loop), and
# reads a run's files (system) and a round's evidence (rules). `loop` needs five more: it starts runs, counts passes
# (engine), reads neighbours (analysis), and reports (reports) what true labels and the estimated noise say (estimate).
PAIRS = 59


def modules(package: Path) -> dict[str, Path]:
  """Returns dotted name → file, names without the package's own: "engine.step", "" for the package."""
  found = {}
  for path in sorted(package.rglob('*.py')):
    parts = path.relative_to(package).with_suffix('').parts
    found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
  return found


def imports(package: Path) -> set[tuple[str, str]]:
  """Returns (importer, imported) of every import within the package, those inside functions too."""
  known = modules(package)
  found = set()
  for name, path in known.items():
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        assert not node.level, f'{path}: a relative import'
        targets = [f'{node.module}.{alias.name}' for alias in node.names]
      else:
        continue
      for target in targets:
        if target.split('.')[0] == 'noisyjax':
          inner = target.partition('.')[2]
          found.add((name, inner if inner in known else inner.rpartition('.')[0]))
  return found


def room(module: str) -> str:
  return module.split('.')[0]


def upward(found: set[tuple[str, str]]) -> list[str]:
  """Returns a sentence for each import that goes up, or to a room that has no place."""
  out = []
  for importer, imported in sorted(found):
    if room(importer) in ('', '__main__'):
      continue
    if room(importer) not in ROOMS or room(imported) not in ROOMS:
      out.append(f'{importer} imports {imported}: one of these rooms is not in ROOMS')
    elif ROOMS.index(room(imported)) < ROOMS.index(room(importer)):
      out.append(f'{importer} imports {imported}, which is above it')
  return out


def circle(found: set[tuple[str, str]]) -> list[str]:
  """Returns the modules of an import cycle; [] if there is none."""
  below = defaultdict(set)
  for importer, imported in found:
    below[importer].add(imported)
  done: set[str] = set()

  def visit(name: str, path: list[str]) -> list[str]:
    if name in path:
      return path[path.index(name) :] + [name]
    if name not in done:
      for each in sorted(below[name]):
        if loop := visit(each, [*path, name]):
          return loop
      done.add(name)
    return []

  return next((loop for name in sorted(below) if name and (loop := visit(name, []))), [])


def test_rooms_import_only_what_is_below_them():
  assert upward(imports(PACKAGE)) == []


def test_there_is_no_circle_between_files():
  assert circle(imports(PACKAGE)) == []


def test_few_rooms_know_each_other():
  pairs = {
    (room(a), room(b)) for a, b in imports(PACKAGE) if room(a) not in ('', '__main__', 'cli') and room(a) != room(b)
  }
  assert len(pairs) <= PAIRS, sorted(pairs)


def test_every_folder_is_a_room():
  assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != '__pycache__'} <= set(ROOMS)


@pytest.mark.parametrize(
  'importer, line, expected',
  [
    ('engine/step.py', 'from noisyjax.runs import run', ['engine.step imports runs.run, which is above it']),
    (
      'engine/step.py',
      'def f():\n  from noisyjax.config.plan import planned',
      ['engine.step imports config.plan, which is above it'],
    ),
    ('system/log.py', 'import noisyjax.data.labels', ['system.log imports data.labels, which is above it']),
    (
      'attic/old.py',
      'from noisyjax.system import log',
      ['attic.old imports system.log: one of these rooms is not in ROOMS'],
    ),
    ('runs/run.py', 'from noisyjax.engine import step', []),
  ],
)
def test_an_import_upwards_is_named(tmp_path, importer, line, expected):
  for file in ('engine/step.py', 'runs/run.py', 'config/plan.py', 'system/log.py', 'data/labels.py', importer):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
  (tmp_path / importer).write_text(line + '\n')
  assert upward(imports(tmp_path)) == expected


def test_a_circle_is_named():
  assert circle({('a.x', 'a.y'), ('a.y', 'b.z'), ('b.z', 'a.x'), ('c', 'a.x')}) == ['a.x', 'a.y', 'b.z', 'a.x']
