"""A folder or zip of photos, some of them labeled: a network from scratch, in about ten minutes of two cores.

  python launch.py train --config=configs/photos.py --config.data.path=photos.zip --config.data.labels=labels.csv \
    --workdir=runs/photos

Chosen from the data: photos are cut to squares of their median short side, at most 64 pixels; an epoch goes once
through the labeled photos, but has at least 50 steps, so that 60 epochs are 3,000 steps or more; a fifth of the labeled
photos, stratified by label, validates and chooses the epoch; there is no test part (`--config.data.test=0.2` scores a
fifth of those whose true label is known). Photos without a label (`undefined`, an empty cell, or no row) are used by
FixMatch: a confident guess on a photo becomes the label of a distorted view of it.
"""

from configs import base


def get_config():
  c = base.get_config()
  c.data.source = 'images'
  c.data.labels = 'labels.csv'
  c.data.verified = ''
  c.data.fit = 'crop'
  c.data.val, c.data.test = '0.2', ''
  c.strategy.name = 'fixmatch'
  c.strategy.fixmatch.ratio = 2
  c.epochs = 60
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.eval_batch_size = 250
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.augment.weak = ('crop', 'flip', 'rand_augment', 'random_cutout')
  c.augment.strong = ('crop', 'flip', 'rand_augment', 'random_cutout')
  return c
