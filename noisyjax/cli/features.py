"""features: what a pretrained network makes of image files, as an .npz."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_images, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_images(values)
  text = 'Pretrained model, or model and file of weights: resnet50:FILE; efficientnet_lite0@96: images of 96 pixels.'
  flags.DEFINE_string('model', 'efficientnet_lite0', text, flag_values=values)
  flags.DEFINE_integer('views', 0, 'Augmented views of each image, beside the image itself.', 0, flag_values=values)
  flags.DEFINE_string('out', 'features.npz', 'The file to write.', flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.data import feature_files

  out = Path(values.out)
  shape = feature_files.write(needed(values, 'images'), out, values.model, values.views, values.skip_bad)
  say(f'{out}: features {" x ".join(map(str, shape))}')


COMMAND = Command(
  'features',
  '--images=FOLDER|ZIP [--model=efficientnet_lite0] [--views=V] [--out=F.npz]',
  'features of images by a pretrained network',
  declare,
  run,
  resumes=True,
)
