"""A network for tests: all that a run has to carry (parameters, statistics, dropout), and little to compile."""

import flax.linen as nn


class Model(nn.Module):
  """Dense, batch norm, dropout, dense."""

  classes: int
  width: int = 16
  dropout: float = 0.1

  @nn.compact
  def __call__(self, images, train: bool):
    """Returns logits [B, classes] and features [B, width] of images [B, H, W, C]."""
    x = nn.Dense(self.width, name='dense')(images.reshape(len(images), -1))
    x = nn.relu(nn.BatchNorm(not train, momentum=0.9, name='norm')(x))
    x = nn.Dropout(self.dropout)(x, deterministic=not train)
    return nn.Dense(self.classes, name='head')(x), x
