"""The first phase of the seed's Model II: its network on the verified rows; Nadam, batch size 256, early stopping.

About 20 minutes on two shared cores; 52.3 ± 1.9 % (n = 3, last epoch, benchmark form). Keras: 51.3 ± 0.8 % (n = 3).

python launch.py train --config=configs/weak_supervision/corrector.py --workdir=runs/corrector
"""

from configs.weak_supervision import common

# Early stopping as Keras' EarlyStopping(patience=3): by validation loss, and keeping the last weights.
OVERRIDES = {'rows': 'trusted', 'labels': 'verified', 'batch_size': 256}


def get_config(form: str = 'benchmark'):
  c = common.keras(common.get_config(form))
  c.model.name = 'model_2'
  c.optim.name = 'nadam'
  c.stop.patience = 3
  c.phases = (('naive', 30, OVERRIDES),)
  return c
