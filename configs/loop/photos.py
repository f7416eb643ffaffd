"""A folder of photos, few of them labeled: a loop labels the others. From scratch, or on pretrained features.

  python launch.py loop --config=configs/loop/photos.py --workdir=runs/photos --config.data.path=FOLDER
  python launch.py loop --config=configs/loop/photos.py:pretrained --workdir=runs/photos --config.data.path=FOLDER

FOLDER has `labels.csv` (image,label; `undefined`, an empty cell or no row for photos without a label) and the photos.
Each class needs two labeled photos, and nothing is promoted to one with fewer than 22: so many right predictions are
the fewest that show a precision of 85 % (95 % interval). Where the folder also has test photos, name them:
`--config.data.test=@FOLDER/test.txt --config.data.truth=truth.csv`; `benchmarks/photos.py` lays chihuahua_muffin out
so.

A row is promoted where all networks of a round, none of which trained on it, agree, at a confidence that is calibrated,
for each class, to a precision on the frozen labels: where one class is rare among the photos without a label, the same
confidence says less about it. A promoted row goes back where the networks change their mind. Batches walk the classes
in turn.

The form from scratch has three folds and three rounds after the first, so that its rounds take 9 minutes of two quiet
cores with `model.conv=amx` and each of its two controls about as long again. Its views and epochs were chosen by the
frozen labels of version 0. On chihuahua_muffin it gains nothing that longer training does not: 87.1 ± 0.8 % of the test
photos by the chosen version, 85.8 ± 2.5 by version 0, and with the passes of the whole loop 89.2 ± 0.8 by cross-entropy
and 92.8 ± 0.6 by FixMatch on version 0 (3 loops).

The form `pretrained` trains linear layers on features of EfficientNet-Lite0 (ImageNet-1k; the report says so). Results:
benchmarks/README.md.
"""

from configs.loop import common
from noisyjax.system.errors import check_choice

PROMOTE = {'agreement': 1.0, 'by': 'calibrated', 'per_class': True}


def get_config(form: str = 'scratch'):
  """Returns the recipe.

  Args:
    form: 'scratch' or 'pretrained'.
  """
  check_choice('form', form, ('scratch', 'pretrained'))
  c = common.get_config()
  c.data.source = 'images'
  c.data.labels = 'labels.csv'
  c.data.verified = ''
  c.data.fit = 'crop'
  c.data.val = c.data.test = ''
  c.data.size = 48
  c.model.small_cnn.widths = (32, 64, 128)
  c.augment.weak = ('resized_crop', 'flip', 'jitter')
  c.augment.scale = (0.35, 1.0)
  c.select = 'last'
  c.epochs = 20
  c.batch_size = 32
  c.steps_per_epoch = 50
  c.eval_batch_size = 250
  c.balance = True
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.checkpoint.every = '300 seconds'
  c.loop.folds = 3
  c.loop.rounds = 3
  c.loop.final = 1
  c.loop.scored = 'ends'
  rule = PROMOTE | {'target': 0.85}
  c.loop.rules = ((('demote_changed', {'threshold': 0.6}), ('promote', rule)),)
  c.loop.controls = (
    ('longer', {}),
    ('fixmatch', {'strategy.name': 'fixmatch', 'strategy.fixmatch.ratio': 2, 'batch_size': 16}),
  )
  # What the photo seed changed along with its labels: here beside them.
  c.loop.axes = (('shorter, weaker views', {'epochs': 12, 'augment.weak': ('crop', 'flip', 'jitter')}),)
  if form == 'pretrained':
    c.data.size = 0
    c.data.features, c.model.name, c.optim.lr = 'efficientnet_lite0', 'linear', 0.5
    c.augment.weak = ()
    c.epochs, c.loop.folds, c.loop.rounds, c.loop.final = 12, 5, 4, 3
    c.loop.controls = (('longer', {}),)
    c.loop.axes = ()
  return c
