"""A folder or zip of photos, some of them labeled: a network from scratch, planned for minutes of two free cores.

  python launch.py train --config=configs/photos.py --config.data.path=photos.zip --config.data.labels=labels.csv \
    --workdir=runs/photos

Chosen from the data: photos are cut to squares of their median short side, at most 64 pixels; an epoch goes once
through the labeled photos, but has at least 50 steps, so that 60 epochs are 3,000 steps or more; a fifth of the labeled
photos, stratified by label, validates. The last epoch stands for the run: so few photos cannot tell epochs apart. There
is no test part; photos of one's own are scored by `launch.py predict --labels`.

Half of the epochs learn from the labeled photos. Then photos without a label (`undefined`, an empty cell, or no row) of
which that network is at least 95 % sure are labeled by it, and a new network learns from both, every class equally
often (pseudo-labels, one round). All views are strong: RandAugment and a hole of up to half the side.

What was measured is in benchmarks/README.md; `benchmarks/photos.py` compares methods on photos of two kinds.
"""

from configs import base


def get_config():
  c = base.get_config()
  c.data.source = 'images'
  c.data.labels = 'labels.csv'
  c.data.verified = ''
  c.data.fit = 'crop'
  c.data.val, c.data.test = '0.2', ''
  c.strategy.name = 'pseudo_label'
  c.strategy.pseudo_label.rounds = 1
  c.balance = True
  c.select = 'last'
  c.epochs = 60
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.eval_batch_size = 250
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.augment.weak = c.augment.strong = ('crop', 'flip', 'rand_augment', 'random_cutout')
  return c
