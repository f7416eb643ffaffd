"""The photo seed's fifteen versions, with its errors, on scikit-learn's digits: what a loop claims that way.

  python launch.py loop --config=configs/loop/seed_as_it_was.py --workdir=runs/seed_as_it_was

The errors, each as the seed made it, and said in the record of every run:

* "undefined" is an eleventh class; rows that the networks doubt are sent back to it and train as such.
* In-sample evidence: one network trains on all rows and judges the rows it trained on (`in_sample` in each rule).
* Selection on the rows that score it: epochs and versions are chosen by the validation rows, and the accuracy on these
  same rows is what is claimed ("frozen labels predicted"). The test rows, which the seed did not have, show the
  difference.

Where the seed had a person, a simulated one answers from the true labels. What the seed changed along with the labels
(epochs, learning rate, augmentation) stays as it is. Not to be ranked with anything. `seed_fixed.py` stands beside it.
"""

from configs.loop import digits

ANSWERS, WRONG = 60, 0.05  # of the simulated person; the same in seed_fixed.py


def get_config():
  c = digits.get_config()
  c.data.classes = (*(str(digit) for digit in range(10)), 'undefined')
  c.data.unlabeled = '-'
  c.data.val, c.select = '0.25', 'best'
  c.told = ('the rows that score it: epochs and versions are selected on them', 'undefined trains as a class')
  c.loop.folds = 0
  c.loop.forward = True
  c.loop.patience = 0
  c.loop.rounds = 15
  c.loop.decide, c.loop.answers, c.loop.error = 'simulated', ANSWERS, WRONG
  c.loop.controls = ()
  rule = lambda name, **params: (name, {**params, 'in_sample': True})
  promote = lambda confidence: rule('promote', threshold=confidence)
  back = rule('as_class', threshold=0.3)
  c.loop.rules = (
    (promote(0.95),),  # 1
    (rule('drop_high_loss', threshold=0.98),),  # 2
    (promote(0.94), back),  # 3
    (promote(0.95), back),
    (promote(0.94), back),
    (promote(0.95), back),
    (promote(0.95), back),  # 7
    (promote(0.99),),  # 8
    (promote(0.99),),  # 9
    (rule('low_confidence', threshold=0.32),),  # 10: below 0.68
    (rule('low_confidence', threshold=0.30),),  # 11: below 0.70
    (rule('repair_clusters'),),  # 12
    (rule('assign_by_cluster', threshold=0.5),),  # 13
    (rule('demote_outliers', action='drop'), rule('drop_duplicates')),  # 14
    (rule('confident_learning'),),  # 15
  )
  return c
