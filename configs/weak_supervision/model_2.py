"""The seed's Model II: a corrector, trained on the verified rows, relabels the others; a new network learns all rows.

  python launch.py train --config=configs/weak_supervision/model_2.py --workdir=runs/model_2

Two phases, both with Nadam and early stopping (patience 3, last weights): the corrector with batch size 256 for at most
30 epochs; the final network with batch size 32 for at most 10 epochs. Verified labels are kept; all others are replaced
by the prediction of the corrector, whatever its confidence, as in the seed.
--config.strategy.clean_correction.confidence=0.8 leaves out rows with a lower confidence.
"""

from configs.weak_supervision import corrector


def get_config(form: str = 'benchmark'):
  c = corrector.get_config(form)
  c.strategy.name = 'clean_correction'
  c.phases = (*c.phases, ('clean_correction', 10, {'reset': 'all', 'batch_size': 32}))
  return c
