"""Meta-Weight-Net: a small network, trained on trusted rows, maps the loss of a row to its weight.

  python launch.py train --config=configs/recipes/meta_weight_net.py:worse --workdir=runs/meta-weight-net-worse

1,000 trusted rows, equally many of each true class. Official (xjtushujun/meta-weight-net, MW-Net.py): ResNet-32
(departure: ResNet-18; `--config.model.name=wrn28_10` is the network of the published numbers), SGD 0.1, momentum 0.9,
weight decay 5e-4, batch size 100, crops of reflected images, 120 epochs, learning rate divided by 10 at 80 and 100; a
weight network 1-100-1, trained by Adam with learning rate 1e-3 and weight decay 1e-4.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 64.1 % (n = 1), 164 s. The code has changed
since.

Published: 89.27 and 84.07 at 40 and 60 % uniform noise (the Meta-Weight-Net poster: 1,000 trusted and 49,000 other
training rows, 40 epochs, WRN-28-10 with CIFAR stem; best or last not said).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.POSTER, clean='94.52')


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.trusted(c, form, 1000, by='true')
  c.augment.weak = ('reflect_crop', 'flip')
  c.strategy.name = 'meta_weight_net'
  c.model.name = 'resnet18'
  c.epochs, c.batch_size = 120, 100
  common.sgd(c, 0.1)
  common.steps(c, 80, 100)
  return common.finish(c, form)
