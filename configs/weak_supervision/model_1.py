"""The seed's Model I: a small CNN trained on all noisy labels as if they were clean; Adam, batch size 256, 5 epochs.

243 s in the least disturbed of three runs; 47.7 ± 2.1 % (n = 3, last epoch, benchmark form). Keras: 47.7 ± 0.9 %.

python launch.py train --config=configs/weak_supervision/model_1.py --workdir=runs/model_1
"""

from configs.weak_supervision import common


def get_config(form: str = 'benchmark'):
  c = common.keras(common.get_config(form, validates=False))
  c.model.name = 'model_1'
  c.optim.name = 'adam'
  c.batch_size = 256
  c.epochs = 5
  return c
