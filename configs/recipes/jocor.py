"""JoCoR: two networks are trained on the rows with a small joint loss.

  python launch.py train --config=configs/recipes/jocor.py:worse --workdir=runs/jocor-worse

Official (hongxin001/JoCoR): the training of co-teaching (Adam 1e-3, batch size 128, no augmentation, 200 epochs,
learning rate falling linearly to 0 from epoch 80 on) with a 7-layer CNN (departure: the 9-layer CNN of co-teaching);
`agree` is 0.9 up to 50 % noise and 0.65 at 80 %. The forget rate is the fraction of wrong labels, which the method is
told (half of the nominal rate for asymmetric noise), and is reached over 10 epochs. The recipe has `official` on, its
short forms off.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 31.3 % (n = 1), 92 s. The code has changed
since.

Published (worse, best test epoch): 83.37; `PUBLISHED` says the protocol.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(
  common.table(network='network as in its paper or PreAct-ResNet-18'),
  sym20='85.7',
  sym50='79.4',
  sym80='27.8',
  asym40='76.4',
  c100_sym20='53.0',
  c100_sym50='43.5',
  c100_sym80='15.5',
) | common.published(common.CIFAR_N, aggre='91.44', random1='90.30', worse='83.37')


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'jocor'
  c.strategy.jocor.forget = common.rate(form)
  c.strategy.jocor.ramp = 10.0
  high = common.noise(form) in ('sym80', 'sym90')
  c.strategy.jocor.agree = 0.85 if common.hundred(form) else 0.65 if high else 0.9
  common.adam_then_linear(c, 100 if common.hundred(form) else 80)
  return common.finish(c, form, 'ramp')
