"""Clothing1M with DivideMix at its official settings. Never run here: the data set was not available.

  python launch.py pack --config=configs/large/clothing1m.py --config.data.path=clothing1m --out=clothing1m_224
  python launch.py train --config=configs/large/clothing1m.py --config.data.path=clothing1m_224 \
    --config.model.weights=resnet50.pth --workdir=runs/clothing1m

The first command decodes the photos once (150 GB of raw pixels; `--form=jpeg`: about 30 GB). `resnet50.pth` is
torchvision's ResNet-50 of ImageNet, from which the official code begins.

Official (LiJunnan1992/DivideMix, revision 5079ec7, Train_clothing1M.py and dataloader_clothing1M.py): two ResNet-50,
SGD 0.002, weight decay 1e-3, batches of 32 labeled and 32 unlabeled rows, 80 epochs, learning rate divided by 10 at 40;
a warm-up of 1,000 batches of 64 with the confidence penalty; alpha 0.5, no unlabeled loss. The 14,313 images of
`clean_val` select the epoch. Published: 74.76 % of the test images (Li et al. 2020).

Departures: an epoch is 1,000 steps on batches of balanced classes from all rows, and all rows are scored before each;
the official code draws 32,000 balanced rows an epoch and scores and divides these. Images are cut to squares of 224
pixels and shifted over a black border of 16; the official code cuts windows of 224 from images whose short side is 256.

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
  c = common.get_config('clothing1m', ((0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)))
  common.divide_mix(c, penalty=1.0)
  optim.sgd(c, 0.002, decay=1e-3)
  c.steps_per_epoch, c.balance = 1000, True
  if form == 'naive':
    c.strategy.name, c.strategy.naive.penalty, c.phases, c.batch_size = 'naive', 0.0, (), 64
    optim.steps(c, 40)
  return c
