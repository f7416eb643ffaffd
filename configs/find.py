"""What `launch.py find` trains by, as a recipe, so that every field of it is a flag.

  python launch.py find --config=configs/find.py --config.epochs=40 --images=photos.zip --labels=labels.csv

Without `--config`, few images are walked several times an epoch and small ones are shifted less: see `recipe`.
"""

from noisyjax.find import recipe


def get_config():
  return recipe()
