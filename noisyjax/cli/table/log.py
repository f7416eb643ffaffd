"""table log: lists the versions of a label table."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.commands import command
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)


def run(values: FlagValues) -> None:
  from noisyjax.tables import refs, store, versions

  folder = shared.folder(values)
  refs.facts(folder)
  head = refs.read_branch(folder, values.branch)['version']
  marks: dict[str, list[str]] = {}
  for branch, name in refs.branches(folder).items():
    marks.setdefault(name, []).append(branch)
  for name in refs.ancestors(folder, head):
    manifest = versions.read_manifest(folder, name)
    counts = ', '.join(f'{count:,} {word}' for word, count in manifest['status'].items() if count)
    at = f' [{", ".join(marks[name])}]' if name in marks else ''
    say(f'{shared.told(manifest)}{at}')
    say(f'  {manifest["time"]} {manifest["author"]}: {counts}')
  table = store.Table(folder, values.branch)
  if waiting := len(table.pending()):
    say(f'{waiting:,} decisions are not committed: {command("table commit", *table.flags, "--message=WHY")}')


COMMAND = Command('table log', '--table=DIR [--branch=B]', 'lists the versions, newest first', declare, run)
