"""Frozen features of EfficientNet-Lite0, and a linear layer or small network on them: minutes on two CPU cores.

  python launch.py train --config=configs/weak_supervision/pretrained.py --workdir=runs/pretrained

The network was trained on ImageNet-1k, which results say; they have tables of their own. The 50,000 images are
enlarged to 160 pixels and pass through it once; the features are kept in the cache. The method is that of
`best_cpu.py`, clean-subset correction with the given labels: a network is trained on the verified rows, and then on all
rows with soft labels p(true | image, given). The epoch is selected on 1,000 verified validation rows.
`benchmarks/features.py` compares sizes of the images and methods, and chooses both by validation.
"""

from configs.weak_supervision import common

SIZE = 160  # pixels; of 96, 128 and 160 the best on the validation rows


def get_config(form: str = 'benchmark'):
  c = common.get_config(form)
  c.data.features = f'efficientnet_lite0@{SIZE}'
  c.model.name = 'mlp'
  c.model.mlp.hidden = 512
  c.model.mlp.dropout = 0.3
  c.optim.lr = 0.3
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.strategy.naive.smoothing = 0.1
  return common.corrected(c, 20, 8)
