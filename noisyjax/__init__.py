"""noisyjax: trains image classifiers on labels that cannot be trusted.

Names are imported when they are first used, so that `import noisyjax` is fast and does not load JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from noisyjax.analysis.issues import find_label_issues
  from noisyjax.runs.classifier import NoisyClassifier
  from noisyjax.runs.predict import load
  from noisyjax.system.errors import UserError
  from noisyjax.system.version import __version__

__all__ = ['NoisyClassifier', 'UserError', '__version__', 'find_label_issues', 'load']

_MODULES = {
  'NoisyClassifier': 'noisyjax.runs.classifier',
  'UserError': 'noisyjax.system.errors',
  '__version__': 'noisyjax.system.version',
  'find_label_issues': 'noisyjax.analysis.issues',
  'load': 'noisyjax.runs.predict',
}


def __getattr__(name: str) -> Any:
  if name not in _MODULES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
  return __all__
