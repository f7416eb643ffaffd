"""WebVision-mini, the first 50 classes of Google's images, with DivideMix. Never run here: the data were not available.

  python launch.py pack --config=configs/large/webvision.py --config.data.path=webvision --out=webvision_224
  python launch.py train --config=configs/large/webvision.py --config.data.path=webvision_224 --workdir=runs/webvision

With `--config.data.name=google` (or `flickr`, `all`) in both commands, all 1,000 classes.

Official (LiJunnan1992/DivideMix, revision 39740b2, Train_webvision.py and dataloader_webvision.py): two networks from
scratch, SGD 0.01, weight decay 5e-4, batches of 32 labeled and 32 unlabeled rows, 80 epochs, learning rate divided by
10 at 40; a warm-up of one epoch with batches of 64; alpha 0.5, no unlabeled loss. Published: 77.32 % of the validation
images, top-1 (Li et al. 2020).

Departures: ResNet-50, because noisyjax has no Inception-ResNet-v2. Images are cut to squares of 224 pixels and shifted
over a black border of 16; the official code cuts windows of 227 from images whose short side is 256. 5 % of the
training rows, with their given labels, select the epoch; the official code selects none.

The form `naive` is cross-entropy with the same network, optimizer and epochs, for comparison.
"""

from configs.large import common
from configs.recipes import common as optim
from noisyjax.system.errors import check_choice


def get_config(form: str = 'divide_mix'):
  """Returns the recipe.

  Args:
    form: 'divide_mix' or 'naive'.
  """
  check_choice('form', form, ('divide_mix', 'naive'))
  c = common.get_config('webvision')
  common.divide_mix(c, penalty=0.0)
  optim.sgd(c, 0.01)
  if form == 'naive':
    c.strategy.name, c.phases, c.batch_size = 'naive', (), 64
    optim.steps(c, 40)
  return c
