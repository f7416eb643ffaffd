"""scikit-learn's 8x8 digits with 50 % symmetric exclusive noise: a run takes seconds. `make demo` uses this recipe.

  python launch.py train --config=configs/digits.py --config.strategy.name=co_teaching --workdir=runs/digits

No download. Of 1,797 images, 20 % are test rows (true labels, scored only by the audit), 10 % of the others are
validation rows (noisy labels), and 10 % of the training rows are verified.
"""

from configs import base


def get_config():
  c = base.get_config()
  c.epochs = 20
  c.batch_size = 64
  c.steps_per_epoch = 21  # one pass over the training rows; also for phases on the few verified rows
  c.model.name = 'small_cnn'
  c.model.small_cnn.widths = (16, 32, 64)
  c.model.conv = 'matmul'  # for images this small, calling oneDNN takes longer than the convolution
  c.optim.lr = 0.2
  c.augment.weak = ('crop',)
  c.augment.strong = ('crop', 'rotate', 'cutout')
  c.augment.pad = 1
  c.augment.cutout = 3
  c.data.source = 'digits'
  c.data.channels = 1
  c.data.trusted = 0.1
  c.noise.kind = 'symmetric'
  c.noise.rate = 0.5
  c.strategy.co_teaching.forget = 0.5
  c.strategy.loss_filter.rate = 0.5
  return c
