"""noisyjax: train image classifiers on labels that cannot be trusted."""

__version__ = '0.1.0'


def load(workdir, select: str = ''):
  """Returns a predictor from a finished run; see `noisyjax.predict.load`."""
  from noisyjax.predict import load

  return load(workdir, select)
