"""The seed's Model II: a corrector learns the verified rows, labels the rest, and a new network learns both.

  python launch.py train --config=configs/weak_supervision/model_2.py --workdir=runs/model_2

Two phases, both with Nadam and early stopping (patience 3, last weights): the corrector with batch 256, at most 30
epochs; the final network with batch 32, at most 10. Every label that was verified is kept; every other is replaced by
the corrector's, however unsure, as in the seed; --config.strategy.clean_correction.confidence=0.8 leaves unsure ones
out.
"""

from configs.weak_supervision import corrector


def get_config(form: str = 'benchmark'):
  c = corrector.get_config(form)
  c.strategy.name = 'clean_correction'
  c.phases = (*c.phases, ('clean_correction', 10, {'reset': 'all', 'batch_size': 32}))
  return c
