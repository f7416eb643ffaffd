"""A folder or zip of photos, some of them labeled: a network from scratch, planned for minutes of two free cores.

  python launch.py train --config=configs/photos.py --config.data.path=photos.zip --config.data.labels=labels.csv \
    --workdir=runs/photos

Chosen from the data: photos are cut to squares of their median short side, at most 64 pixels; an epoch goes once
through the labeled photos, but has at least 50 steps, so that 20 epochs are 1,000 steps or more; a fifth of the labeled
photos, stratified by label, validates. The last epoch stands for the run: so few photos cannot tell epochs apart. There
is no test part; photos of one's own are scored by `launch.py predict --labels`.

Photos without a label (`undefined`, an empty cell, or no row) may lie among the others and are not learned from: on
validation no method that guesses their labels was above cross-entropy on the labeled ones, and one was far below
(benchmarks/README.md; few of one class among the unlabeled make many wrong guesses of it). To try them:
`--config.strategy.name=pseudo_label` or `fixmatch`; `benchmarks/photos.py` compares.
"""

from configs import base


def get_config():
  c = base.get_config()
  c.data.source = 'images'
  c.data.labels = 'labels.csv'
  c.data.verified = ''
  c.data.fit = 'crop'
  c.data.val, c.data.test = '0.2', ''
  c.strategy.fixmatch.ratio = 2
  c.strategy.pseudo_label.rounds = 1
  c.select = 'last'
  c.epochs = 20
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.eval_batch_size = 250
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  return c
