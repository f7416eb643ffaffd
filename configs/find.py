"""What `launch.py find` trains by, as a recipe, so that every field of it is a flag.

  python launch.py find --config=configs/find.py --config.epochs=40 --images=photos.zip --labels=labels.csv

As it stands, it does what `find` does without `--config`.
"""

from noisyjax.runs.in_memory import recipe


def get_config():
  return recipe()
