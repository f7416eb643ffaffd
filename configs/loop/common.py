"""The defaults of a loop: all fields of a run, and the block `loop`, from `noisyjax/loop/settings.py`."""

from noisyjax.loop.settings import get_config

__all__ = ['get_config']
