"""A grid over Model II's dropout, learning rate and batch size, as the seed suggests, for its corrector only."""

import itertools


def sweep():
  for dropout, lr, batch in itertools.product((0.1, 0.3, 0.5), (1e-3, 3e-4), (64, 256)):
    phases = (('naive', 30, {'rows': 'trusted', 'labels': 'verified', 'batch_size': batch}),)
    yield {'model.model_2.dropout': dropout, 'optim.lr': lr, 'phases': phases}
