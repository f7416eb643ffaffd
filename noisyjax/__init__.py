"""noisyjax: train image classifiers on labels that cannot be trusted."""


def load(workdir, select: str = ''):
  """Returns a predictor from a finished run; see `noisyjax.runs.predict.load`."""
  from noisyjax.runs.predict import load

  return load(workdir, select)


def find_label_issues(images=None, labels=None, **options):
  """Returns the labels that are probably wrong, ranked; see `noisyjax.analysis.issues.find_label_issues`."""
  from noisyjax.analysis.issues import find_label_issues

  return find_label_issues(images, labels, **options)


def __getattr__(name: str):
  """Imports `NoisyClassifier` and `__version__` when they are first used: scikit-learn takes a second to import."""
  if name == 'NoisyClassifier':
    from noisyjax.runs.classifier import NoisyClassifier

    return NoisyClassifier
  if name == '__version__':
    from noisyjax.system.version import __version__

    return __version__
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
