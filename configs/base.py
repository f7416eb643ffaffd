"""The defaults of every field, from `noisyjax/defaults.py`. A recipe begins with `base.get_config()` and changes some.

Any field is a flag: `--config.optim.lr=0.05`. A field that is not there is refused.
"""

from noisyjax.config.defaults import get_config

__all__ = ['get_config']
