"""pack: writes the images of a data set, resized once, in one file that training reads from disk."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_rerun, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  flags.DEFINE_string('out', None, 'Folder of the pack.', flag_values=values)
  text = 'Side of the images in pixels; 0: data.size. Images of another shape are cropped, unless data.fit=pad.'
  flags.DEFINE_integer('size', 0, text, lower_bound=0, flag_values=values)
  flags.DEFINE_enum('form', 'raw', ['raw', 'jpeg'], 'Raw pixels, or JPEG of quality 95.', flag_values=values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.config.check import checked
  from noisyjax.data import pack

  config, out = checked(needed(values, 'config')), needed(values, 'out')
  found = pack.pack(config.data, out, values.size, values.form, values.rerun)
  height, width, channels = found['shape']
  say(
    f'{out}: {found["rows"]:,} images of {width}x{height}x{channels}, {found["form"]}, {found["bytes"] / 1e6:,.1f} MB'
  )
  say(f'train on it: --config.data.source=packed --config.data.path={out}')


COMMAND = Command(
  'pack',
  '--config=F --out=DIR [--size=256] [--form=raw|jpeg]',
  'writes the images once, resized, to one file, for data larger than memory; an interrupted one continues',
  declare,
  run,
  resumes=True,
  compiles=False,
)
