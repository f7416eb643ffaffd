"""The photo seed's loop without its errors, on the rows and with the person of `seed_as_it_was.py`.

  python launch.py loop --config=configs/loop/seed_fixed.py --workdir=runs/seed_fixed --beside=runs/seed_as_it_was

As many training, labeled and test rows, the same steps, answers and share of wrong answers. What differs: rows without
a label have none, evidence is out-of-fold, versions are compared on the labels of version 0, rules stop themselves
where their estimated precision is too low, and the test rows are opened once, at the end. The report sets both side by
side.
"""

from configs.loop import digits, seed_as_it_was


def get_config():
  c = digits.get_config()
  c.data.train = '0.75'  # the seed's validation rows are neither trained on nor asked
  c.loop.rounds = 6
  c.loop.decide, c.loop.answers, c.loop.error = 'simulated', seed_as_it_was.ANSWERS, seed_as_it_was.WRONG
  c.loop.controls = ()
  sure = {'agreement': 1.0, 'floor': 0.8}
  ask = ('low_confidence', {'threshold': 0.3, 'total': 30})
  c.loop.rules = (
    (('promote', {**sure, 'threshold': 0.95}), ask),
    (('demote_changed', {}), ('promote', {**sure, 'threshold': 0.9}), ask),
    (('demote_changed', {}), ('promote', {**sure, 'threshold': 0.8}), ask),
  )
  return c
