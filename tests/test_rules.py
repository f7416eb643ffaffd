"""Rules on a planted truth: what they propose and spare, the estimate of their precision, and where they stop."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from noisyjax.estimate.interval import wilson
from noisyjax.rules import apply, evidence as evidence_, limits, precision, rule as rules, thresholds
from noisyjax.rules.evidence import Evidence
from noisyjax.system.errors import UserError
from noisyjax.tables import rows as rows_, store
from noisyjax.tables.rows import HELD, TEST, TRAIN, UNLABELED, VAL

CLASSES = ['cat', 'dog', 'eel']
COUNT = 600


def planted(seed: int = 0, count: int = COUNT) -> tuple[rows_.Rows, np.ndarray, Evidence]:
  """Returns rows of which a third is labeled, their truth, and evidence that is right as often as it is confident."""
  random = np.random.default_rng(seed)
  truth = random.integers(0, 3, count).astype(np.int32)
  labeled = random.random(count) < 1 / 3
  made = rows_.first(
    [f'{i:05d}' + 'a' * 59 for i in range(count)],
    [f'{i}.png' for i in range(count)],
    np.where(labeled, truth, -1),
    CLASSES,
  )
  sure = random.uniform(0.4, 1, count)  # a class of this confidence is the true one with this probability
  predicted = np.where(random.random(count) < sure, truth, (truth + random.integers(1, 3, count)) % 3)
  probs = np.repeat(((1 - sure) / 2)[:, None], 3, 1)
  probs[np.arange(count), predicted] = sure
  found = Evidence('v' * 64, probs.astype(np.float32), np.ones(count, np.float32), {}, told={'runs': ['a']})
  return made, truth, found


def frozen(rows: rows_.Rows) -> np.ndarray:
  return rows.given_label.copy()


def test_promote_labels_the_sure_rows_and_its_estimate_holds_on_the_truth():
  rows, truth, evidence = planted(count=6000)
  done = apply.dry_run(rules.build('promote', {'threshold': 0.9}), evidence, rows, CLASSES, frozen(rows))
  place = done.proposed.place
  expected = (rows.status == UNLABELED) & (evidence.confidence >= 0.9)
  assert_array_equal(place, np.flatnonzero(expected))
  assert_array_equal(done.proposed.label, evidence.predicted[place])
  estimate, real = done.entry['estimate'], (done.proposed.label == truth[place]).mean()
  assert estimate['low'] < real < estimate['high'] and real > 0.9
  assert_allclose(estimate['precision'], real, atol=0.02)
  for k, name in enumerate(CLASSES):
    mine = done.proposed.label == k
    assert estimate['classes'][name]['low'] < (truth[place][mine] == k).mean() < estimate['classes'][name]['high']


def test_the_estimate_is_of_frozen_rows_that_reach_the_threshold():
  rows, _, evidence = planted()
  done = apply.dry_run(rules.build('promote', {'threshold': 0.9}), evidence, rows, CLASSES, frozen(rows))
  sure = (rows.given_label >= 0) & (evidence.confidence >= 0.9)
  assert done.entry['estimate']['proposed'] == sure.sum()
  assert done.entry['estimate']['right'] == (evidence.predicted == rows.given_label)[sure].sum()
  assert done.entry['estimate']['frozen'] == (rows.given_label >= 0).sum()


def test_what_was_counted_is_what_a_commit_changes_and_the_manifest_replays_it(tmp_path):
  rows, _, evidence = planted()
  table = store.create(tmp_path, rows, CLASSES, 'person:anna', {})
  evidence = dataclasses.replace(evidence, version=table.version.name)
  done = apply.dry_run(rules.build('promote', {'cap': 5}), evidence, rows, CLASSES, frozen(rows))
  table.decide(done.author, done.decisions, **done.entry)
  made = table.commit('promoted', 'person:anna')
  assert made.manifest['changes'] == done.entry['counts']
  assert sum(change['rows'] for change in done.entry['counts']) == len(done.decisions) == 15
  (entry,) = made.manifest['rules']
  again = apply.again(entry, evidence, rows, CLASSES, frozen(rows))
  assert again.decisions == done.decisions
  assert {**again.entry, 'author': 'rule:promote'} == entry
  other = dataclasses.replace(evidence, agree=evidence.agree / 2)
  with pytest.raises(UserError, match='other evidence'):
    apply.again(entry, other, rows, CLASSES, frozen(rows))


def test_evidence_of_networks_that_trained_on_the_row_is_refused_unless_asked_for():
  rows, _, evidence = planted()
  evidence = dataclasses.replace(evidence, in_sample=True)
  with pytest.raises(UserError, match='in-sample'):
    apply.dry_run(rules.build('promote', {}), evidence, rows, CLASSES)
  done = apply.dry_run(rules.build('promote', {'in_sample': True}), evidence, rows, CLASSES, frozen(rows))
  assert len(done.proposed) and done.entry['in_sample']
  assert any('too high: in-sample' in line for line in apply.told(done))


def test_verified_validation_test_and_held_rows_are_never_proposed():
  rows, truth, evidence = planted()
  random = np.random.default_rng(1)
  split = random.choice([TRAIN, VAL, TEST], COUNT).astype(np.int8)
  held = random.random(COUNT) < 0.2
  checked = (random.random(COUNT) < 0.3) & ~held
  rows = dataclasses.replace(
    rows,
    split=split,
    status=np.where(held, HELD, np.where(checked, 0, rows.status)).astype(np.int8),
    label=np.where(held, -1, np.where(checked, truth, rows.label)).astype(np.int32),
    verified=np.where(checked, truth, -1).astype(np.int32),
    weight=np.where(held, 0, 1).astype(np.float32),
  )
  done = apply.dry_run(rules.build('promote', {'threshold': 0.0}), evidence, rows, CLASSES)
  assert_array_equal(done.proposed.place, np.flatnonzero((split == TRAIN) & (rows.status == UNLABELED)))


def test_labels_of_test_rows_reach_no_estimate():
  rows, truth, evidence = planted()
  rows = dataclasses.replace(rows, split=np.where(np.arange(COUNT) % 2, TEST, TRAIN).astype(np.int8))
  rule = rules.build('promote', {'by': 'calibrated', 'target': 0.8})
  one = apply.dry_run(rule, evidence, rows, CLASSES, truth)
  two = apply.dry_run(rule, evidence, rows, CLASSES, np.where(rows.split == TEST, (truth + 1) % 3, truth))
  assert one.entry == two.entry


def test_a_missing_column_is_named_with_what_makes_it():
  rows, _, evidence = planted()
  with pytest.raises(UserError, match=r"rule promote: needs the column 'knn_label'.*neighbours"):
    apply.dry_run(rules.build('promote', {'neighbours': True}), evidence, rows, CLASSES)


def test_a_floor_stops_a_rule_and_a_class_floor_a_class():
  rows, _, evidence = planted(count=3000)
  truth = frozen(rows)
  loose = {'threshold': 0.4}
  low = apply.dry_run(rules.build('promote', loose), evidence, rows, CLASSES, truth).entry['estimate']['low']
  done = apply.dry_run(rules.build('promote', loose | {'floor': low + 0.01}), evidence, rows, CLASSES, truth)
  assert not done.decisions and not len(done.proposed) and 'below the floor' in done.entry['stopped'][0]
  assert apply.dry_run(rules.build('promote', loose | {'floor': low}), evidence, rows, CLASSES, truth).decisions
  eel = evidence.predicted == 2  # as often wrong as right
  truth = np.where(eel & (truth >= 0) & (np.arange(len(rows)) % 2 == 0), 0, truth)
  done = apply.dry_run(rules.build('promote', {'class_floor': 0.8}), evidence, rows, CLASSES, truth)
  assert set(done.proposed.label.tolist()) == {0, 1} and done.entry['stopped'][0].startswith('eel: ')


def test_a_floor_without_frozen_labels_stops_the_rule():
  rows, _, evidence = planted()
  done = apply.dry_run(rules.build('promote', {'floor': 0.5}), evidence, rows, CLASSES)
  assert not done.decisions and done.entry['estimate'] is None and 'no frozen label' in done.entry['stopped'][0]


def test_a_class_without_labeled_rows_has_no_estimate_and_a_class_floor_stops_it():
  rows, _, evidence = planted(count=3000)
  truth = np.where(rows.given_label == 2, -1, rows.given_label)
  done = apply.dry_run(rules.build('promote', {'threshold': 0.95}), evidence, rows, CLASSES, truth)
  assert 2 in done.proposed.label
  done = apply.dry_run(rules.build('promote', {'threshold': 0.95, 'class_floor': 0.5}), evidence, rows, CLASSES, truth)
  assert set(done.proposed.label.tolist()) == {0, 1}


def test_caps_take_the_surest_of_each_class():
  rows, _, evidence = planted()
  free = apply.dry_run(rules.build('promote', {'threshold': 0.5}), evidence, rows, CLASSES).proposed
  done = apply.dry_run(rules.build('promote', {'threshold': 0.5, 'cap': 7}), evidence, rows, CLASSES).proposed
  for k in range(3):
    best = np.sort(free.score[free.label == k])[-7:]
    assert_array_equal(np.sort(done.score[done.label == k]), best)
  done = apply.dry_run(rules.build('promote', {'threshold': 0.5, 'total': 10}), evidence, rows, CLASSES).proposed
  assert_array_equal(np.sort(done.score), np.sort(free.score)[-10:])


def test_balance_takes_the_same_number_or_share_of_each_class():
  group = np.repeat([0, 1, 2], [100, 50, 10])
  score = np.random.default_rng(0).permutation(160) / 160
  passed = np.ones(160, bool)
  passed[:40] = False  # 60 of 100, 50 of 50, 10 of 10
  taken = lambda **params: np.bincount(group[limits.taken(rules.build('promote', params), group, score, passed)])
  assert taken(balance='number').tolist() == [10, 10, 10]
  assert taken(balance='share').tolist() == [60, 30, 6]
  assert taken(balance='number', total=9).tolist() == [3, 3, 3]
  assert taken(balance='share', total=48).tolist() == [30, 15, 3]
  assert taken(cap=20).tolist() == [20, 20, 10]


def test_a_quantile_leaves_out_its_share_of_the_candidates():
  rows, _, evidence = planted()
  candidates = (rows.status == UNLABELED).sum()
  done = apply.dry_run(rules.build('promote', {'by': 'quantile', 'threshold': 0.75}), evidence, rows, CLASSES)
  assert_allclose(len(done.proposed), candidates / 4, atol=1)
  rule = rules.build('promote', {'by': 'quantile', 'threshold': 0.75, 'per_class': True})
  done = apply.dry_run(rule, evidence, rows, CLASSES)
  of = np.bincount(evidence.predicted[rows.status == UNLABELED])
  assert_allclose(np.bincount(done.proposed.label), of / 4, atol=1)
  assert set(done.entry['threshold']) == set(CLASSES)


def test_a_calibrated_threshold_is_the_lowest_that_reaches_the_target():
  rows, truth, evidence = planted(count=6000)
  rule = rules.build('promote', {'by': 'calibrated', 'target': 0.9})
  done = apply.dry_run(rule, evidence, rows, CLASSES, frozen(rows))
  assert done.entry['estimate']['low'] >= 0.9
  assert (truth[done.proposed.place] == done.proposed.label).mean() > 0.9
  assert 0.8 < done.entry['temperature'] < 1.25  # the planted confidence is calibrated
  lower = thresholds.calibrated(rule, np.zeros(4, int), np.array([0.9, 0.8, 0.8, 0.1]), np.ones(4, bool), np.ones(4), 1)
  assert lower == np.inf  # four of four: the bound is 0.51
  score = np.repeat([0.9, 0.8, 0.7, 0.6], 100)
  right = np.repeat([True, True, False, False], [100, 98, 2, 200])  # two wrong ones are at 0.8
  found = thresholds.calibrated(rule, np.zeros(400, int), score, right, np.ones(400), 2)
  assert found.tolist() == [0.8, 0.8]
  right[150:200] = False
  assert thresholds.calibrated(rule, np.zeros(400, int), score, right, np.ones(400), 2).tolist() == [0.9, 0.9]
  none = apply.dry_run(rules.build('promote', {'by': 'calibrated'}), evidence, rows, CLASSES)
  assert not none.decisions and none.entry['threshold'] is None and 'no threshold' in none.entry['stopped'][0]


def test_the_temperature_undoes_overconfidence():
  _, truth, evidence = planted(count=6000)
  hot = evidence.probs.astype(np.float64) ** 3
  hot /= hot.sum(1, keepdims=True)
  plain = thresholds.temperature(evidence.probs, truth)
  assert_allclose(thresholds.temperature(hot, truth), 3 * plain, rtol=0.02)
  back = thresholds.scaled(dataclasses.replace(evidence, probs=hot), 3.0)
  near = evidence.confidence < 0.999  # probabilities below 1e-12 count as that
  assert_allclose(back.probs[near], evidence.probs[near], atol=1e-6)


@pytest.mark.parametrize('right, count', [(0, 10), (10, 10), (93, 100), (1, 3), (4750, 5000)])
def test_the_interval_is_wilsons(right, count):
  there = stats.binomtest(right, count).proportion_ci(0.95, 'wilson')
  low, high = wilson(right, count)
  assert_allclose([low, high], [there.low, there.high], atol=1e-9)
  same = precision.rated(np.arange(count) < right, np.full(count, 2.5))
  assert_allclose([same['low'], same['high']], [low, high], atol=1e-12)


def test_the_estimate_follows_the_shares_of_the_other_rows():
  """100 + 100 frozen rows, of which networks tell 95 % right; among the others 9 in 10 are cats."""
  random = np.random.default_rng(0)
  truth = np.repeat([0, 1, 0, 1], [1000, 1000, 18000, 2000]).astype(np.int32)
  given = np.where(np.arange(len(truth)) < 2000, truth, -1)
  predicted = np.where(random.random(len(truth)) < 0.95, truth, 1 - truth)
  probs = np.eye(2, dtype=np.float32)[predicted] * 0.98 + 0.01
  rows = rows_.first(
    [f'{i:05d}' for i in range(len(truth))], [f'{i}' for i in range(len(truth))], given, ['cat', 'dog']
  )
  evidence = Evidence('v', probs, np.ones(len(truth), np.float32), {})
  done = apply.dry_run(rules.build('promote', {}), evidence, rows, ['cat', 'dog'], given)
  dogs = done.proposed.label == 1
  real = (truth[done.proposed.place] == 1)[dogs].mean()
  assert real < 0.7
  assert_allclose(done.entry['estimate']['classes']['dog']['precision'], real, atol=0.05)
  assert done.entry['estimate']['classes']['dog']['low'] < real


def test_frozen_rows_that_stand_unlabeled_show_no_label_to_a_rule():
  rows, *_ = planted()
  places = np.flatnonzero(rows.label >= 0)[:9]
  met = rules.as_unlabeled(rows, places)
  assert {*met.label[places], *met.given_label[places], *met.verified[places]} == {-1}
  assert (np.delete(met.label, places) == np.delete(rows.label, places)).all() and (rows.label[places] >= 0).all()


def test_predictions_that_tell_nothing_leave_the_shares_as_they_are():
  truth = np.repeat([0, 1, 2], [10, 20, 30])
  all_dogs = np.ones(60, int)
  assert_allclose(precision.weights(all_dogs, truth, all_dogs, 3), 1, atol=1e-6)
  assert_allclose(precision.weights(truth, truth, all_dogs, 3), [0, 3, 0], atol=0.05)
  assert_allclose(precision.weights(np.full(60, -1), truth, all_dogs, 3), 1)


def test_evidence_comes_back_from_its_file(tmp_path):
  rows, _, evidence = planted()
  evidence = dataclasses.replace(evidence, columns={'cluster': np.arange(COUNT)})
  evidence.probs[3] = np.nan
  evidence_.write(tmp_path / 'evidence.parquet', evidence, rows)
  found = evidence_.read(tmp_path / 'evidence.parquet', rows)
  assert found.digest() == evidence.digest() and found.told == evidence.told and not found.in_sample
  assert found.predicted[3] == -1 and np.isnan(found.confidence[3])
  fewer, *_ = planted(count=5)
  with pytest.raises(UserError, match='about other rows'):
    evidence_.read(tmp_path / 'evidence.parquet', fewer)


def test_confidence_margin_entropy_and_second_label():
  evidence = Evidence('v', np.array([[0.5, 0.3, 0.2], [0, 1, 0]], np.float32), np.ones(2), {})
  assert evidence.second.tolist() == [1, 0] and evidence.predicted.tolist() == [0, 1]
  assert_allclose(evidence.margin, [0.2, 1], atol=1e-6)
  assert_allclose(evidence.entropy, [-(0.5 * np.log(0.5) + 0.3 * np.log(0.3) + 0.2 * np.log(0.2)), 0], atol=1e-6)
  assert_allclose(evidence.of(np.array([1, -1])), [0.3, np.nan])


@pytest.mark.parametrize(
  'text, message',
  [
    ('promot', "Did you mean 'promote'"),
    ('promote:treshold=0.9', "Did you mean 'threshold'"),
    ('promote:threshold=high', "threshold: found 'high'; expected a number"),
    ('promote:threshold=nan', 'expected a number'),
    ('promote:cap=1.5', "cap: found '1.5'; expected a whole number"),
    ('promote:cap=-1', 'expected 0 \\(no limit\\) or more'),
    ('promote:neighbours=maybe', 'expected true or false'),
    ('promote:by=guess', 'Choices: calibrated, fixed, quantile'),
    ('promote:threshold=2,by=quantile', 'threshold: found 2; expected 0 to 1'),
    ('promote:cap', 'expected NAME:param=value'),
  ],
)
def test_a_mistake_in_a_rule_is_named(text, message):
  with pytest.raises(UserError, match=message):
    rules.parsed(text)


def test_a_rule_is_built_from_text_and_from_values_alike():
  assert rules.parsed('promote:threshold=0.9,cap=3,neighbours=true') == rules.build(
    'promote', {'threshold': 0.9, 'cap': 3, 'neighbours': True}
  )
  entry = json.loads(json.dumps(dataclasses.asdict(rules.parsed('promote'))))
  assert rules.build('promote', entry) == rules.parsed('promote')


def test_a_rule_without_propose_is_refused_by_name(tmp_path):
  path = tmp_path / 'silent.py'
  path.write_text(
    'import dataclasses\nfrom noisyjax.rules.rule import Base\n'
    '@dataclasses.dataclass(frozen=True)\nclass Rule(Base):\n  threshold: float = 0.5\n'
  )
  with pytest.raises(UserError, match=r'silent\.py has no method `propose`'):
    rules.build(str(path), {})
