"""Food-101N with cross-entropy on its given labels. Never run here: the data set was not available.

  python launch.py pack --config=configs/large/food101n.py --config.data.path=food --out=food_224
  python launch.py train --config=configs/large/food101n.py --config.data.path=food_224 \
    --config.model.weights=resnet50.pth --workdir=runs/food101n

`food` holds `Food-101N_release` and `food-101`, whose test images score the run. `resnet50.pth` is torchvision's
ResNet-50 of ImageNet. Other methods: `--config.strategy.name=elr`, or the fields of a recipe of `configs/recipes/`.

The authors of the data set published no training code. The settings are those of YutingLi0606/SURE,
run/Food101N/resnet50.sh, without what belongs to its own method: ResNet-50, SGD 0.01 with a cosine, batches of 64, 30
epochs. The verified images of `verified_val` select the epoch.

Departure: images are cut to squares of 224 pixels and shifted over a black border of 16.
"""

from configs.large import common
from configs.recipes import common as optim


def get_config():
  c = common.get_config('food101n')
  c.epochs, c.batch_size = 30, 64
  optim.sgd(c, 0.01)
  c.schedule.name = 'cosine'
  return c
