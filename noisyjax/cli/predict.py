"""predict: predicts the labels of image files with finished runs."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_image_files, define_workdir, folders, needed
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folder of a run, or several separated by commas.')
  define_image_files(values, 'Folder or zip of images; of runs on a file of features, such a file.')
  flags.DEFINE_string('labels', '', 'Label file to score the predictions against.', flag_values=values)
  flags.DEFINE_bool('probs', False, 'Adds a column of probabilities for each class.', flag_values=values)
  flags.DEFINE_bool('ensemble', False, 'Adds the mean probabilities of all runs.', flag_values=values)
  text = "File of the predictions; '' = label_prediction.csv in the (first) workdir."
  flags.DEFINE_string('out', '', text, flag_values=values)
  text = 'Names of images and classes, or indices and integers (course).'
  flags.DEFINE_enum('format', 'names', ['names', 'course'], text, flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.runs import predict as library, predict_files as files
  from noisyjax.system import storage

  images, workdirs = needed(values, 'images'), folders(needed(values, 'workdir'))
  course, out = values.format == 'course', Path(values.out or Path(workdirs[0]) / 'label_prediction.csv')
  if out.is_dir():
    raise UserError(f'--out: {out} is a folder; expected a file.')
  members = library.load_all(workdirs)
  storage.make_folder(out.parent)  # rather than fail when all is computed
  if values.ensemble:
    members.append(library.ensemble(members))
  found = files.predict_files(members, images, values.labels, values.skip_bad, values.image_column, values.label_column)
  storage.write_text(out, files.course_csv(found) if course else files.to_csv(found, values.probs))
  say(files.counts(found))
  if found.truth is not None:
    say(files.reports(found))
  say(out)


COMMAND = Command(
  'predict',
  '--workdir=W1,W2 [--ensemble] --images=FOLDER|ZIP [--probs] [--labels=CSV]',
  'writes label_prediction.csv and prints counts',
  declare,
  run,
)
