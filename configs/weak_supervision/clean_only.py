"""Training on the verified rows only, on two CPU cores in two to three minutes: 83.5 ± 0.5 % (n = 2).

  python launch.py train --config=configs/weak_supervision/clean_only.py --workdir=runs/clean_only

A fast network and 9,000 rows: one-cycle SGD, label smoothing, crop, flip, cutout and averaged weights. The epoch is
selected on 1,000 verified validation rows. `best_cpu.py` also uses the 35,000 noisy rows and takes more time.
Convolutions multiply in bfloat16, for cores with AMX or avx512_bf16; `--config.model.conv=auto` uses float32
(83.9 ± 0.1 %, n = 2, four minutes).
"""

from configs.weak_supervision import common


def get_config(form: str = 'benchmark'):
  c = common.get_config(form)
  c.model.name = 'small_cnn'
  c.model.conv = 'amx'
  c.rows = 'trusted'
  c.labels = 'verified'
  c.epochs = 18
  c.strategy.naive.smoothing = 0.1
  c.optim.lr = 0.2
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  c.augment.weak = ('crop', 'flip', 'cutout')
  c.augment.pad = 3
  c.augment.cutout = 8
  return c
