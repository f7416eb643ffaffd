"""noisyjax: train image classifiers on labels that cannot be trusted."""

__version__ = '0.1.0'


def load(workdir, select: str = ''):
  """Returns a predictor from a finished run; see `noisyjax.predict.load`."""
  from noisyjax.predict import load

  return load(workdir, select)


def find_label_issues(images=None, labels=None, **options):
  """Returns the labels that are probably wrong, ranked; see `noisyjax.find.find_label_issues`."""
  from noisyjax.find import find_label_issues

  return find_label_issues(images, labels, **options)


def __getattr__(name: str):
  """Gives `NoisyClassifier` when it is asked for: scikit-learn takes a second to import."""
  if name == 'NoisyClassifier':
    from noisyjax.classifier import NoisyClassifier

    return NoisyClassifier
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
