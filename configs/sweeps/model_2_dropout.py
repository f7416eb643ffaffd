"""The seed's outlook: a grid over Model II's dropout, learning rate and batch size, judged on its corrector."""

import itertools


def sweep():
  for dropout, lr, batch in itertools.product((0.1, 0.3, 0.5), (1e-3, 3e-4), (64, 256)):
    phases = (('naive', 30, {'rows': 'trusted', 'labels': 'verified', 'batch_size': batch}),)
    yield {'model.model_2.dropout': dropout, 'optim.lr': lr, 'phases': phases}
