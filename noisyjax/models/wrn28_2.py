"""WRN-28-2 as in USB (microsoft/Semi-supervised-learning, semilearn/nets/wrn/wrn.py, revision 1ef4cbe).

Differences from the original: leaky ReLU, slower running statistics, another epsilon in the last normalization, a
Glorot-normal head, and the first blocks of stages 2 and 3 take their input as it is (there, it is normalized and
activated, and the result is not used).

Departure: the stem has no bias. The normalization after it would cancel that. 1,467,418 parameters for 10 classes.
"""

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax

from noisyjax.models.wide_resnet import WideResNet


class Model(WideResNet):
  """WRN-28-2."""

  slope: ClassVar[float] = 0.1
  momentum: ClassVar[float] = 0.999
  epsilon: ClassVar[float] = 1e-3
  raw: ClassVar[tuple[int, ...]] = (2, 3)
  head: ClassVar[Callable[..., jax.Array]] = staticmethod(nn.initializers.variance_scaling(1.0, 'fan_avg', 'normal'))

  width: float = 2.0
