"""scikit-learn's 8x8 digits with 50 % symmetric exclusive noise: seconds a run, no download. What `make demo` trains.

  python launch.py train --config=configs/digits.py --config.strategy.name=co_teaching --workdir=runs/digits

1,797 images: 20 % test (true labels, scored by the audit alone), 10 % validation (noisy), 10 % of the rest verified.
"""

from configs import base


def get_config():
  c = base.get_config()
  c.epochs = 20
  c.batch_size = 64
  c.steps_per_epoch = 21  # once through the training rows; few verified rows are walked as often
  c.model.name = 'small_cnn'
  c.model.small_cnn.widths = (16, 32, 64)
  c.model.conv = 'matmul'  # images this small take longer to hand to oneDNN than to convolve
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
