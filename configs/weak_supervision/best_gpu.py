"""A recipe for the seed's task on one GPU: a corrector and a second network, both PreAct-ResNet-18 in bfloat16.

  python launch.py train --config=configs/weak_supervision/best_gpu.py --workdir=runs/best_gpu

The corrector is trained on the verified rows and relabels the others where its confidence is at least 95 %. A newly
initialized network is trained on verified and corrected rows together. Not measured yet, for lack of a GPU.
"""

from configs.weak_supervision import common


def get_config(form: str = 'benchmark'):
  c = common.get_config(form)
  c.model.name = 'preact_resnet18'
  c.model.dtype = 'bfloat16'
  c.strategy.name = 'clean_correction'
  c.strategy.clean_correction.confidence = 0.95
  c.strategy.naive.smoothing = 0.1
  c.phases = (
    ('naive', 120, {'rows': 'trusted', 'labels': 'verified'}),
    ('clean_correction', 120, {'reset': 'all', 'batch_size': 256}),
  )
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.999
  c.augment.weak = ('crop', 'flip', 'cutout')
  return c
