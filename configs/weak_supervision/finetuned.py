"""EfficientNet-Lite0, pretrained on ImageNet-1k, fine-tuned on enlarged images: 92.3 % by validation (n = 1).

  python launch.py train --config=configs/weak_supervision/finetuned.py --workdir=runs/finetuned

Results say that the network is pretrained; they have tables of their own. Images are enlarged to 96 pixels inside
the network. The method is that of `best_cpu.py`, clean-subset correction with the given labels, in two phases: all
layers are trained on the verified rows, and then on all rows with soft labels p(true | image, given). Layers far from
the output learn more slowly (`optim.layer_decay`), and batch norm keeps ImageNet's running statistics, which batches of
32 would blur. The epoch is selected on 1,000 verified validation rows. It took 83 minutes on two CPU cores that other
jobs shared (benchmarks/README.md).
"""

from configs.weak_supervision import common

SIZE = 96  # pixels


def get_config(form: str = 'benchmark'):
  c = common.get_config(form)
  c.model.name = 'efficientnet_lite0'
  c.model.weights = f'imagenet@{SIZE}'
  c.model.freeze_stats = True
  c.model.efficientnet_lite0.dropout = 0.2
  c.batch_size, c.eval_batch_size = 32, 100
  c.optim.lr = 0.02
  c.optim.decay = 1e-4
  c.optim.clip = 5.0
  c.optim.layer_decay = 0.9
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.995
  c.augment.weak = ('crop', 'flip')
  c.augment.pad = 3
  c.strategy.naive.smoothing = 0.1
  return common.corrected(c, 8, 3, lr=0.01)
