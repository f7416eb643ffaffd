"""find: finds wrong labels of image files."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues
from ml_collections import ConfigDict

from noisyjax.cli.command import (
  Command,
  define_config,
  define_dry_run,
  define_engine,
  define_image_files,
  define_rerun,
  define_workdir,
  needed,
)
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_image_files(values)
  flags.DEFINE_string('labels', '', "Label file to check; '' = the class folders are the labels.", flag_values=values)
  define_workdir(values, 'Folder of the results; default: label_issues.')
  define_config(values)
  flags.DEFINE_integer('folds', 5, 'Number of folds.', flag_values=values)
  text = 'File of your own out-of-sample probabilities (.npy, .npz, CSV, Parquet).'
  flags.DEFINE_string('probs', '', text, flag_values=values)
  text = "Pretrained model such as efficientnet_lite0, on whose features linear layers are trained; '' = none."
  flags.DEFINE_string('features', '', text, flag_values=values)
  text = 'Class names in the order of the columns of --probs.'
  flags.DEFINE_list('classes', [], text, flag_values=values)
  text = 'Label file with true labels, which only the audit reads.'
  flags.DEFINE_string('truth', '', text, flag_values=values)
  text = 'Also learn and check the labels of test rows, which the data set or its label table declares.'
  flags.DEFINE_bool('with_test', False, text, flag_values=values)
  define_engine(values)
  define_dry_run(values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.analysis import file_issues
  from noisyjax.runs.engines import engine, estimate

  folder, place = Path(values.workdir or 'label_issues'), engine.load(values.engine)
  if values.dry_run:
    if values.probs:
      raise UserError('--dry_run: with --probs nothing is trained; expected one of them.')
    own = file_issues.config_of(
      needed(values, 'images'),
      values.labels,
      features=values.features,
      truth=values.truth,
      config=values.config,
      skip_bad=values.skip_bad,
      image_column=values.image_column,
      label_column=values.label_column,
    )
    say(
      estimate.text(
        place, estimate.of_folds(own, values.folds, folder / file_issues.FOLDS), timed=values.dry_run == 'timed'
      )
    )
    return
  found, audit = file_issues.find_files(
    needed(values, 'images'),
    values.labels,
    folder,
    probs=values.probs,
    features=values.features,
    truth=values.truth,
    folds=values.folds,
    config=values.config,
    skip_bad=values.skip_bad,
    rerun=values.rerun,
    classes=[name.strip() for name in values.classes],
    image_column=values.image_column,
    label_column=values.label_column,
    with_test=values.with_test,
    engine=place,
  )
  say(found)
  if audit is not None:
    say('audit: ' + ', '.join(f'{name} {value:.4f}' for name, value in audit.items()))
  for name in ('issues.csv', 'issues.html', 'probs.npy'):
    say(folder / name)


def _recipe(values: FlagValues) -> ConfigDict:
  """Returns the recipe of `find` without --config."""
  from noisyjax.runs import in_memory

  return in_memory.probe() if values.features else in_memory.recipe()


COMMAND = Command(
  'find',
  '--images=FOLDER|ZIP [--labels=CSV] [--workdir=W] [--probs=NPY] [--truth=CSV] [--engine=E] [--dry_run]',
  'finds labels that may be wrong',
  declare,
  run,
  recipe=_recipe,
)
