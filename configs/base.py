"""The defaults of all fields, from `noisyjax/config/defaults.py`. A recipe changes some of them.

Every field is a flag: `--config.optim.lr=0.05`. Unknown fields are refused.
"""

from noisyjax.config.defaults import get_config

__all__ = ['get_config']
