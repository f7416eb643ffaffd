"""The commands: launch.py COMMAND --flags. Thin: each reads its flags and calls the library."""

import contextlib
import difflib
import os
import re
import sys
from pathlib import Path

from absl import app, flags

from noisyjax.config import recipe_files
from noisyjax.config.fields import shown
from noisyjax.system import reading, version
from noisyjax.system.errors import UserError
from noisyjax.system.log import log, plain, say, show


class _Recipe(flags.ArgumentParser):
  """The text of --config as a ConfigDict."""

  folder: Path | None = None  # of the recipe

  def parse(self, argument):
    from noisyjax.config import recipe

    if not isinstance(argument, str):
      return argument
    self.folder = recipe_files.located(argument.partition(':')[0], '--config').parent
    return recipe.load(argument)


class _Timed(flags.BooleanParser):
  """A flag without value, or with the value "timed"."""

  def parse(self, argument):
    return argument if argument == 'timed' else super().parse(argument)


_CONFIG = flags.DEFINE(
  _Recipe(), 'config', None, 'A recipe: a file, or a name such as digits; --config.field=value changes it.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run or sweep; predict, report: several, by commas.')
_IMAGES = flags.DEFINE_string('images', None, 'predict, find: folder or zip of images.')
_LABELS = flags.DEFINE_string(
  'labels', '', "predict: label file to score against; find: the labels to judge, '': the class folders."
)
_TRUTH = flags.DEFINE_string('truth', '', 'find: label file to score the finding against, for the audit alone.')
_PROBS = flags.DEFINE_string(
  'probs', '', 'find: your own probabilities, out of sample (.npy, .npz, CSV, Parquet); predict: a column a class.'
)
_CLASSES = flags.DEFINE_list('classes', [], 'find: the classes, in the order of the columns of --probs.')
_IMAGE_COLUMN = flags.DEFINE_string('image_column', '', 'find, predict: column of the label file that names the image.')
_LABEL_COLUMN = flags.DEFINE_string('label_column', '', 'find, predict: column of the label file with the label.')
_OUT = flags.DEFINE_string(
  'out', '', "predict: file of the predictions; '': label_prediction.csv in the (first) workdir."
)
_FORMAT = flags.DEFINE_enum(
  'format', 'names', ['names', 'course'], 'predict: names of images and classes, or indices and integers.'
)
_ENSEMBLE = flags.DEFINE_bool('ensemble', False, 'predict: add the soft vote of all runs.')
_SKIP_BAD = flags.DEFINE_bool('skip_bad', False, 'predict, find: go on without unreadable images.')
_RERUN = flags.DEFINE_bool(
  'rerun', False, 'train, sweep, kfold, find: run anew what is of other data, another config or other code.'
)
_FOLDS = flags.DEFINE_integer('folds', 5, 'kfold, find: how many.')
_GRID = flags.DEFINE_multi_string('grid', [], 'sweep: an axis, field=value,value,…; several make a product.')
_SWEEP = flags.DEFINE_string('sweep', '', 'sweep: a file with sweep(), which yields dicts of field → value, or a name.')
_DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'train: print the plan of the run; =timed runs a few steps for its time.'
)
flags.FLAGS['dry_run'].parser = _Timed()
flags.DEFINE_bool('version', False, 'Print the versions of noisyjax and jax, and the revision of a checkout.')


def _folders(text: str) -> list[str]:
  """Returns the folders that the text lists; a comma may be of a name, as in a sweep's "lr=0.1,seed=1"."""

  def exists(name: str) -> bool:
    with contextlib.suppress(UserError):  # many names together are too long for one
      return bool(reading.kind(name))
    return False

  out, parts = [], [part for part in text.split(',') if part]
  while parts:
    there = (n for n in range(len(parts), 0, -1) if exists(','.join(parts[:n])))  # the longest name first
    n = next(there, 1)
    out.append(','.join(parts[:n]))
    parts = parts[n:]
  return out


def train() -> None:
  """train --config=F [--config.field=value …] --workdir=W: one run; finished, it stays; interrupted, it goes on."""
  from noisyjax.reports import report
  from noisyjax.runs import dry_run, run

  if _DRY_RUN.value:
    say(dry_run.text(_needed(_CONFIG), timed=_DRY_RUN.value == 'timed'))
    return
  result = run.run(_needed(_CONFIG), _needed(_WORKDIR), sys.argv, rerun=_RERUN.value)
  say(report.table([result], ('strategy', 'model')), end='')
  say(f'{Path(_WORKDIR.value) / "report.html"}')


def predict() -> None:
  """predict --workdir=W1,W2 [--ensemble] --images=FOLDER|ZIP [--probs] [--labels=CSV]: label_prediction.csv, counts."""
  from noisyjax.runs import predict as library, predict_files as files
  from noisyjax.system import storage

  images, folders = _needed(_IMAGES), _folders(_needed(_WORKDIR))
  if _PROBS.value not in ('', 'yes'):
    raise UserError(f'--probs: found {_PROBS.value!r}; predict takes --probs without a value, for a column a class.')
  members = library.load_all(folders)
  if _ENSEMBLE.value:
    members.append(library.ensemble(members))
  found = files.predict_files(members, images, _LABELS.value, _SKIP_BAD.value, _IMAGE_COLUMN.value, _LABEL_COLUMN.value)
  course, out = _FORMAT.value == 'course', Path(_OUT.value or Path(folders[0]) / 'label_prediction.csv')
  storage.write_text(out, files.course_csv(found) if course else files.to_csv(found, bool(_PROBS.value)))
  say(files.counts(found))
  if found.truth is not None:
    say(files.reports(found))
  say(out)


def find() -> None:
  """find --images=FOLDER|ZIP [--labels=CSV] [--workdir=W] [--probs=NPY] [--truth=CSV]: labels that may be wrong."""
  from noisyjax.analysis import file_issues as library

  folder = Path(_WORKDIR.value or 'label_issues')
  found, audit = library.find_files(
    _needed(_IMAGES),
    _LABELS.value,
    folder,
    probs=_PROBS.value,
    truth=_TRUTH.value,
    folds=_FOLDS.value,
    config=_CONFIG.value,
    skip_bad=_SKIP_BAD.value,
    rerun=_RERUN.value,
    classes=[name.strip() for name in _CLASSES.value],
    image_column=_IMAGE_COLUMN.value,
    label_column=_LABEL_COLUMN.value,
  )
  say(found)
  if audit is not None:
    say('audit: ' + ', '.join(f'{name} {value:.4f}' for name, value in audit.items()))
  for name in ('issues.csv', 'issues.html', 'probs.npy'):
    say(folder / name)


def kfold() -> None:
  """kfold --config=F --workdir=W --folds=5: cross-validation over the training rows."""
  from noisyjax.experiments import sweep as library

  say(library.kfold(_needed(_CONFIG), _FOLDS.value, _needed(_WORKDIR), _RERUN.value)[1], end='')


def sweep() -> None:
  """sweep --config=F --workdir=W --grid=field=a,b … | --sweep=configs/sweeps/F.py: a run a point, and one table."""
  from noisyjax.experiments import sweep as library

  if bool(_GRID.value) == bool(_SWEEP.value):
    raise UserError('sweep: expected either --grid=field=value,value,… or --sweep=FILE.')
  points = library.generated(_SWEEP.value) if _SWEEP.value else list(library.grid(_GRID.value))
  say(library.sweep(_needed(_CONFIG), points, _needed(_WORKDIR), _RERUN.value)[1], end='')
  _print_files(Path(_WORKDIR.value))


def _print_files(folder: Path) -> None:
  names = ('table.md', 'table.csv', 'table.tex', 'comparison.png', 'axes.png')
  say(*(folder / name for name in names if (folder / name).exists()))


def inspect() -> None:
  """inspect --config=F --workdir=W: the data as text and pictures, before anything is trained."""
  from noisyjax.data import prepare, split
  from noisyjax.reports import inspect as library
  from noisyjax.system import lock

  config, folder = _needed(_CONFIG), Path(_needed(_WORKDIR))
  data, truth, _, source = prepare.load(config)
  parts = split.split(data, truth, config.data, source)
  data = data.with_labels(verified=split.reveal(data, truth, parts.train, config.data.trusted, config.data.seed))
  with lock.held(folder):
    say(library.inspect(data, truth, parts, folder))


def report() -> None:
  """report --workdir=W1,W2,…: report.html of each finished run anew, and one table of all; or of a sweep's runs."""
  from noisyjax.experiments import sweep as sweeps
  from noisyjax.reports import collection, report as library
  from noisyjax.system import lock

  folders = _folders(_needed(_WORKDIR))
  with contextlib.ExitStack() as stack:
    for folder in dict.fromkeys(folders):
      runs = [] if (Path(folder) / 'result.json').exists() else collection.finished(folder)
      if Path(folder).exists() and not os.access(folder, os.W_OK):
        log.warning('%s: is read-only; its report stays as it is.', folder)
        continue
      stack.enter_context(lock.held(folder, *runs, make=False))
      for run in runs or [folder]:
        say(library.write_report(run))
      if runs:
        say(sweeps.rebuild(folder), end='')
        _print_files(Path(folder))
  if all((Path(folder) / 'result.json').exists() for folder in folders):
    say(library.compare(folders), end='')


def strategies() -> None:
  """strategies: every method, its networks, what it must be told, its passes per image (measured), and its paper."""
  from noisyjax.config.build import find_strategy
  from noisyjax.config.plugin_fields import STRATEGIES
  from noisyjax.engine import passes
  from noisyjax.system import plugins

  say(f'{"strategy":22} {"networks":8}  {"must be told":16} {"passes":>6}  what it is')
  for name in plugins.names(STRATEGIES, 'Strategy'):
    found = find_strategy(name).build()
    title = sys.modules[type(found).__module__].__doc__.splitlines()[0]
    told = ', '.join(found.needs) or 'nothing'
    networks, count = passes.planned(found, name)
    say(f'{name:22} {networks:8}  {told:16} {count:6.4g}  {title}')
  say("\nof the method's own phases, without warm-up on all rows; passes: images through a network for each training")
  say('image (forward 1, with backward 3), the mean over these phases')


def fields(word: str = '') -> None:
  """fields [WORD] [--config=F]: every --config.field (about WORD), its default or value in F, its range and meaning."""
  from noisyjax.config import field_list

  say(field_list.text(word, _CONFIG.value))


COMMANDS = {c.__name__: c for c in (train, kfold, sweep, predict, find, inspect, report, strategies, fields)}


def _needed(flag: flags.FlagHolder):
  if not flag.value:
    what = {'config': 'a recipe such as configs/digits.py', 'images': 'a folder or zip of images'}
    raise UserError(f'--{flag.name}: missing; expected {what.get(flag.name, "a folder such as runs/digits")}.')
  return flag.value


def _commands() -> str:
  return 'Commands:\n' + '\n'.join(f'  {c.__doc__}' for c in COMMANDS.values())


def main(argv: list[str]) -> None:
  """Runs COMMAND; what a user did wrong is one line on stderr, and exit code 2."""
  from noisyjax.system import compile_cache

  words = argv[2:]
  if len(words) > (argv[1:2] == ['fields']):
    raise UserError(f'{argv[1]}: found {words[-1]!r} beside the command; expected only flags, such as --workdir=W.')
  if len(argv) < 2 or argv[1] not in COMMANDS:
    found = argv[1] if len(argv) > 1 else 'nothing'
    near = difflib.get_close_matches(found, COMMANDS, n=1)
    hint = f' Did you mean {near[0]!r}?' if near else ''
    raise UserError(f'command: found {found!r}.{hint} {_commands()}')
  _check_flags(argv[1])
  if _DRY_RUN.value is not True:  # which writes nothing, and compiles next to nothing
    compile_cache.enable()
  COMMANDS[argv[1]](*words)


def _check_flags(name: str) -> None:
  """Raises UserError for a flag that the command does not read."""
  holders = [globals().get(used) for used in COMMANDS[name].__code__.co_names]
  taken = sorted(holder.name for holder in holders if isinstance(holder, flags.FlagHolder))
  ours = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.modules[__name__]) if flag.present]
  for flag in ours:
    if flag not in taken:
      data = ' Its data are --config.data.path and --config.data.labels.' if flag in ('images', 'labels') else ''
      expected = ', '.join(f'--{flag}' for flag in taken)
      expected = f'expected flags of {expected}' if taken else 'expected no flag at all'
      raise UserError(f'{name}: found --{flag}, which it does not read; {expected}.{data if "config" in taken else ""}')


def run() -> None:
  """The entry point of `noisyjax` and launch.py: a user's mistake is one line on stderr and exit code 2."""
  show()
  try:
    app.run(_guarded, flags_parser=_parse)
  except UserError as error:  # a flag or config file that cannot be read
    _fail(error)
  except KeyboardInterrupt:
    sys.exit(128 + 2)


def _parse(argv: list[str]) -> list[str]:
  """Parses flags; a recipe or a config field that does not exist is a user's mistake, not a traceback."""
  if {'--help', '-h', '-help', '-?'} & set(argv):
    say(_commands() + '\nFlags:\n' + flags.FLAGS.module_help(sys.modules[__name__]))
    sys.exit(0)
  if {'--version', '-version'} & set(argv):
    say(version.text())
    sys.exit(0)
  from noisyjax.config import recipe
  from noisyjax.config.override import override

  if 'predict' in argv:  # there it is a switch, and no file is named
    argv = ['--probs=yes' if argument in ('--probs', '-probs') else argument for argument in argv]
  for argument in argv:
    if any(c == '\0' or '\ud800' <= c <= '\udfff' for c in argument):
      raise UserError(f'{argument}: is not UTF-8 text; expected flags and paths in UTF-8.')
  try:
    argv, fields = recipe.take_fields(flags.FLAGS.read_flags_from_files(argv))
    rest = flags.FLAGS(argv)
  except flags.IllegalFlagValueError as error:
    raise UserError(_illegal(str(error))) from error
  except flags.Error as error:
    raise UserError(f'{error}'.strip().splitlines()[-1]) from error
  if fields:
    override(_needed(_CONFIG), fields, '--config', beside=flags.FLAGS['config'].parser.folder)
  return rest


def _illegal(text: str) -> str:
  """Returns what is wrong with the value of a flag, from absl's words for it."""
  found = re.match(r'flag --(\w+)=(.*?): (.*)', text, re.DOTALL)
  expected = {'int': 'a whole number such as 5', 'bool': 'true or false'}.get(flags.FLAGS[found[1]].flag_type())
  said = f'expected {expected}' if expected else found[3]
  return f'--{found[1]}: found {shown(found[2])}, {said}.'


def _guarded(argv: list[str]) -> None:
  from noisyjax.system.interrupt import Stopped

  try:
    main(argv)
    sys.stdout.flush()
  except UserError as error:
    _fail(error)
  except Stopped as error:
    log.info('%s', error)
    sys.exit(128 + error.signal)
  except KeyboardInterrupt:
    kept = argv[1] in ('train', 'kfold', 'sweep')
    log.info('Interrupted; %s', 'the same command goes on from the last checkpoint.' if kept else 'nothing is kept.')
    sys.exit(128 + 2)
  except BrokenPipeError:  # who read our output went away: head, less
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
  except OSError as error:  # of a path or a device that nobody asked in time
    where = f'{error.filename}: ' if error.filename else ''
    _fail(UserError(f'{where}{error.strerror or error}.'))
  except (MemoryError, RuntimeError) as error:
    if not isinstance(error, MemoryError) and 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    _fail(UserError(f'{argv[1]}: not enough memory ({" ".join(str(error).split())[:200]}). Expected {_less(argv[1])}.'))


def _less(command: str) -> str:
  """Returns what a command can be given less of."""
  taken = COMMANDS[command].__code__.co_names
  return 'a smaller batch_size or data.size, or fewer images' if '_CONFIG' in taken else 'fewer images'


def _fail(error: UserError) -> None:
  print(f'error: {plain(str(error))}', file=sys.stderr)
  sys.exit(2)
