"""The CIFAR seed's data, 50,000 images with 60.6 % of the labels wrong: rules repair them instead of one correction.

  python launch.py loop --config=configs/loop/weak_supervision.py --workdir=runs/weak_loop

The first 10,000 rows are verified as well; they are the frozen labels, which estimate the precision of the rules and
compare the versions, and no rule edits them. Each network learns the verified rows first, and then all rows with labels
that it corrects (`clean_correction`), without its fold. Rules relabel rows whose label the networks contradict, take
back what confident learning still flags, and promote at a calibrated confidence. Rows [45000, 50000) are test rows, by
their true labels. Not run at this size yet: expect an hour or more on two cores.

What it cannot show yet: `clean_correction` replaces every label that is not verified by its own prediction, so a label
that a rule changes is repaired in the table, but reaches no network of a later round.
"""

from configs.loop import common
from configs.weak_supervision.common import CLASSES
from noisyjax.data import home


def get_config():
  c = common.get_config()
  c.data.source = 'images'
  c.data.path = home.path('weak_supervision')
  c.data.classes = CLASSES
  c.data.train, c.data.val, c.data.test = '0:45000', '', '45000:50000'
  c.data.truth = 'true_labels.npy'
  c.model.small_cnn.widths = (64, 128, 256)
  c.select = 'last'
  c.batch_size = 128
  c.steps_per_epoch = 350
  c.epochs = 8
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.phases = (
    ('naive', 4, {'rows': 'trusted', 'labels': 'verified', 'steps_per_epoch': 80}),
    ('clean_correction', 8, {'optim.lr': 0.1, 'schedule.peak': 0.0}),
  )
  c.loop.folds = 2
  c.loop.rounds = 3
  c.loop.final = 1
  c.loop.scored = 'ends'
  c.loop.rules = (
    (
      ('relabel_high_loss', {'threshold': 0.4, 'confidence': 0.8}),
      ('confident_learning', {'action': 'unlabel'}),
    ),
    (
      ('relabel_high_loss', {'threshold': 0.8, 'confidence': 0.8}),
      ('promote', {'by': 'calibrated', 'target': 0.9}),
    ),
  )
  c.loop.controls = (('longer', {}),)
  return c
