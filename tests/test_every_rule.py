"""Each rule on a planted truth: its proposals, their precision, and what no rule may do whatever it is."""

import contextlib
import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_label_tables import invariant

from noisyjax.rules import apply, rule as rules
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import ASK, PACKAGE
from noisyjax.rules.within import majority, share_below
from noisyjax.system import plugins
from noisyjax.system.errors import UserError
from noisyjax.tables import edits, rows as rows_, store, versions
from noisyjax.tables.decisions import Decision, act, state_of
from noisyjax.tables.rows import DROPPED, HELD, LABELED, TEST, TRAIN, UNLABELED, VAL, Rows

CLASSES = ['cat', 'dog', 'eel']
COUNT = 900
NAMES = plugins.names(PACKAGE, 'Rule')
LOOSE = {  # parameters with which each rule proposes something on `planted`
  'promote': {'threshold': 0.8},
  'drop_high_loss': {'threshold': 0.9},
  'relabel_high_loss': {'threshold': 0.9},
  'demote_outliers': {'given': True},
  'assign_by_cluster': {'purity': 0.5},
  'repair_clusters': {'threshold': 0.5},
  'as_class': {'label': 'eel'},
}
LABELS = {'promote', 'relabel_high_loss', 'repair_clusters', 'assign_by_cluster', 'confident_learning', 'as_class'}
UNJUDGED = {'low_confidence', 'drop_duplicates', 'as_class'}


def planted(seed: int = 0) -> tuple[Rows, np.ndarray, Evidence]:
  """Rows of a third each: unlabeled, labeled by the source, labeled by a rule. One label in five is wrong.

  Networks are right about nine rows in ten; outliers are wrong labels; clusters are classes with one row in ten astray.
  """
  random = np.random.default_rng(seed)
  truth = random.integers(0, 3, COUNT).astype(np.int32)
  other = lambda: (truth + random.integers(1, 3, COUNT)).astype(np.int32) % 3
  label = np.where(random.random(COUNT) < 0.2, other(), truth)
  kind = np.arange(COUNT) % 3
  ids = [f'{i:05d}' + 'a' * 59 for i in range(COUNT)]
  made = rows_.first(ids, [f'{i}.png' for i in range(COUNT)], np.where(kind == 1, label, -1), CLASSES)
  promoted = kind == 2
  made.label[promoted], made.status[promoted], made.by[promoted] = label[promoted], LABELED, 'rule:promote'
  predicted = np.where(random.random(COUNT) < 0.9, truth, other())
  sure = random.uniform(0.5, 1, COUNT)
  probs = random.dirichlet([1, 1, 1], COUNT)
  probs[np.arange(COUNT), predicted] = 0
  probs *= ((1 - sure) / probs.sum(1))[:, None]
  probs[np.arange(COUNT), predicted] = sure
  group = np.where(np.arange(COUNT) % 10 == 0, np.arange(COUNT) // 20 * 20, -1)  # every second with one other
  columns = {
    'knn_label': truth,
    'outlier': np.where(random.random(COUNT) < 0.9, np.where(label != truth, 3.0, 1.0), 1.0).astype(np.float32),
    'duplicate_group': group.astype(np.int32),
    'cluster': np.where(random.random(COUNT) < 0.9, truth, other()).astype(np.int32),
  }
  agree = random.choice([0.6, 0.8, 1.0], COUNT).astype(np.float32)
  return made, truth, Evidence('v' * 64, probs.astype(np.float32), agree, columns)


def done(name: str, rows: Rows, evidence: Evidence, truth: np.ndarray | None = None, **params) -> apply.Outcome:
  return apply.dry_run(rules.build(name, LOOSE.get(name, {}) | params), evidence, rows, CLASSES, truth)


def right(outcome: apply.Outcome, rows: Rows, truth: np.ndarray) -> np.ndarray:
  place, _, label, _ = outcome.proposed
  return np.where(label >= 0, label == truth[place], rows.label[place] != truth[place])


@pytest.mark.parametrize('name', NAMES)
def test_a_rule_proposes_and_its_estimate_holds_on_the_truth(name):
  rows, truth, evidence = planted()
  frozen = np.where(rows.given_label >= 0, truth, -1)
  outcome = done(name, rows, evidence, frozen)
  assert len(outcome.proposed) > 10
  assert sum(count['rows'] for count in outcome.entry['counts']) == len(outcome.proposed)
  assert set(outcome.proposed.action) == {'label'} if name in LABELS else 'label' not in outcome.proposed.action
  estimate = outcome.entry['estimate']
  if name in UNJUDGED:
    assert estimate is None
    return
  real = right(outcome, rows, truth).mean()
  assert real > 0.6
  assert estimate['low'] - 0.03 < real < estimate['high'] + 0.03  # 95 % hold without, and there are many rules
  assert estimate['frozen'] == (frozen >= 0).sum()


@pytest.mark.parametrize('name', NAMES)
def test_no_rule_touches_verified_validation_test_dropped_or_held_rows(name):
  rows, truth, evidence = planted()
  random = np.random.default_rng(1)
  kind = random.integers(0, 6, COUNT)
  split = np.select([kind == 0, kind == 1], [VAL, TEST], TRAIN).astype(np.int8)
  status = np.select([kind == 2, kind == 3], [DROPPED, HELD], rows.status).astype(np.int8)
  out = (kind == 2) | (kind == 3)
  checked = (kind == 4) & (status == LABELED)
  rows = dataclasses.replace(
    rows,
    split=split,
    status=status,
    label=np.where(out, -1, rows.label).astype(np.int32),
    verified=np.where(checked, rows.label, -1).astype(np.int32),
    weight=np.where(out, 0, 1).astype(np.float32),
  )
  outcome = done(name, rows, evidence, np.where(rows.given_label >= 0, truth, -1))
  assert len(outcome.proposed)
  assert not np.isin(outcome.proposed.place, np.flatnonzero((kind < 4) | checked)).any()


@pytest.mark.parametrize('name', NAMES)
def test_labels_of_validation_and_test_rows_reach_no_proposal(name):
  rows, _, evidence = planted()
  split = np.where(np.arange(COUNT) % 7 < 2, 1 + np.arange(COUNT) % 7, TRAIN).astype(np.int8)
  outcomes = []
  for shift in (0, 1):
    old = {key: getattr(rows, key) for key in ('label', 'given_label')}
    changed = {k: np.where((split != TRAIN) & (label >= 0), (label + shift) % 3, label) for k, label in old.items()}
    outcomes.append(done(name, dataclasses.replace(rows, split=split, **changed), evidence))
  assert len(outcomes[0].proposed) and outcomes[0].decisions == outcomes[1].decisions
  assert_array_equal(outcomes[0].proposed.place, outcomes[1].proposed.place)


@pytest.mark.parametrize('name', NAMES)
def test_a_missing_column_is_named(name):
  rows, _, evidence = planted()
  params = {'neighbours': True} if name == 'promote' else LOOSE.get(name, {})
  rule = rules.build(name, params)
  bare = dataclasses.replace(evidence, columns={})
  if rule.reads:
    with pytest.raises(UserError, match=f"rule {name}: needs the column '{rule.reads[0]}'"):
      apply.dry_run(rule, bare, rows, CLASSES)
  else:
    apply.dry_run(rule, bare, rows, CLASSES)


@pytest.mark.parametrize('name', NAMES)
def test_rows_that_no_network_judged_are_no_error(name):
  rows, _, evidence = planted()
  evidence.probs[::2] = np.nan
  evidence.columns['outlier'][::2] = np.nan
  for column in ('cluster', 'duplicate_group', 'knn_label'):
    evidence.columns[column][::2] = -1
  outcome = done(name, rows, evidence)
  assert not (outcome.proposed.place % 2 == 0).any()
  evidence.probs[:] = np.nan
  done(name, rows, evidence, rows.given_label)


@pytest.mark.parametrize('name', sorted(set(NAMES) - {'low_confidence'}))
def test_a_commit_changes_what_was_counted_and_the_entry_replays(tmp_path, name):
  rows, truth, evidence = planted()
  table = store.create(tmp_path, rows, CLASSES, 'person:anna', {})
  outcome = done(name, table.rows, evidence, np.where(rows.given_label >= 0, truth, -1), cap=9)
  table.decide(outcome.author, outcome.decisions, **outcome.entry)
  made = table.commit('cleaned', 'person:anna')
  assert made.manifest['changes'] == outcome.entry['counts']
  (entry,) = made.manifest['rules']
  again = apply.again(entry, evidence, rows, CLASSES, np.where(rows.given_label >= 0, truth, -1))
  assert again.decisions == outcome.decisions


@pytest.mark.parametrize('seed', range(3))
def test_any_sequence_of_rules_and_persons_keeps_the_invariant_and_replays(tmp_path, seed):
  rows, truth, evidence = planted(seed)
  table = store.create(tmp_path, rows, CLASSES, 'person:anna', {})
  random = np.random.default_rng(seed)
  for name in random.permutation(sorted(set(NAMES) - {'low_confidence'}))[:6]:
    before = table.rows
    outcome = done(str(name), table.rows, evidence, rows.given_label, cap=int(random.integers(1, 30)))
    table.decide(outcome.author, outcome.decisions, **outcome.entry)
    for place in random.choice(COUNT, 10, replace=False):
      action, label = str(random.choice(['label', 'unlabel', 'drop', 'hold', 'restore', 'curate'])), ''
      label = CLASSES[truth[place]] if action in ('label', 'curate') else ''
      with contextlib.suppress(UserError):
        table.decide('person:anna', [Decision(str(table.rows.id[place]), action, label)])
    checked = before.verified >= 0
    old = table.version
    table.commit('drawn', 'person:anna')
    invariant(table.rows)
    by_rules = np.array([by.startswith('rule:') for by in table.rows.by])
    changed = np.zeros(COUNT, bool)
    changed[edits.changed(before, table.rows)] = True
    assert not (checked & by_rules & changed).any()
    assert not ((before.split != TRAIN) & by_rules & changed).any()
    again = edits.apply(old.rows, versions.read_edits(tmp_path, table.version.name), 3, table.version.name)
    assert rows_.digest(again, rows_.COLUMNS) == rows_.digest(table.rows, rows_.COLUMNS)


def test_promote_asks_for_agreement_of_networks_and_neighbours():
  rows, truth, evidence = planted()
  place = done('promote', rows, evidence, agreement=0.7, neighbours=True).proposed.place
  free = (rows.status == UNLABELED) & (evidence.confidence >= 0.8)
  assert_array_equal(place, np.flatnonzero(free & (evidence.agree >= 0.7) & (truth == evidence.predicted)))


def test_loss_is_ranked_within_the_class_and_right_predictions_are_left_alone():
  rows, _, evidence = planted()
  place = done('drop_high_loss', rows, evidence).proposed.place
  loss = -np.log(evidence.probs[np.arange(COUNT), np.maximum(rows.label, 0)])
  for k in range(3):
    mine = np.flatnonzero(rows.label == k)
    worst = mine[loss[mine] >= np.quantile(loss[mine], 0.9, method='lower')]
    wrong = worst[evidence.predicted[worst] != k]
    assert abs(len(wrong) - (rows.label[place] == k).sum()) <= 1
  assert (evidence.predicted[place] != rows.label[place]).all()
  relabeled = done('relabel_high_loss', rows, evidence, confidence=0.8).proposed
  assert set(relabeled.place) <= set(place) and (evidence.confidence[relabeled.place] >= 0.8).all()


def test_outliers_of_rules_alone_are_demoted_unless_the_source_is_asked_for_and_may_be_dropped():
  rows, _, evidence = planted()
  odd = (rows.status == LABELED) & (evidence.columns['outlier'] >= 2)
  by_rule = rows.by == 'rule:promote'
  assert_array_equal(done('demote_outliers', rows, evidence, given=False).proposed.place, np.flatnonzero(odd & by_rule))
  outcome = done('demote_outliers', rows, evidence, action='drop')
  assert_array_equal(outcome.proposed.place, np.flatnonzero(odd))
  assert set(outcome.proposed.action) == {'drop'}
  evidence.columns['outlier'][:] = np.inf
  assert len(done('demote_outliers', rows, evidence).proposed) == (rows.status == LABELED).sum()


def test_only_promoted_rows_are_demoted_when_networks_change_their_mind():
  rows, _, evidence = planted()
  place = done('demote_changed', rows, evidence).proposed.place
  assert_array_equal(
    place,
    np.flatnonzero((rows.by == 'rule:promote') & (evidence.predicted != rows.label) & (evidence.confidence >= 0.5)),
  )


def test_low_confidence_asks_and_decides_nothing():
  rows, _, evidence = planted()
  outcome = done('low_confidence', rows, evidence, total=20)
  assert set(outcome.proposed.action) == {ASK} and not outcome.decisions
  assert_array_equal(np.sort(outcome.proposed.score), np.sort(1 - evidence.confidence.astype(np.float64))[-20:])
  assert {count['action'] for count in outcome.entry['counts']} == {'ask'}


def test_clusters_need_enough_labels_and_their_own_row_has_no_vote():
  label = np.array([0, 0, 0, 1, -1, 2, -1, -1])
  cluster = np.array([0, 0, 0, 0, 0, 1, 1, -1])
  found, share = majority(label, cluster, 3, least=1)
  assert found.tolist() == [0, 0, 0, 0, 0, -1, 2, -1]
  assert_allclose(share, [2 / 3, 2 / 3, 2 / 3, 1, 0.75, np.nan, 1, np.nan])
  assert majority(label, cluster, 3, least=4)[0].tolist() == [-1, -1, -1, -1, 0, -1, -1, -1]
  assert majority(label, np.full(8, -1), 3, least=1)[0].tolist() == [-1] * 8


def test_ranks_within_groups():
  values = np.array([1.0, 2.0, 2.0, 3.0, np.nan, 5.0])
  assert_allclose(share_below(values, np.array([0, 0, 0, 0, 0, -1])), [0.25, 0.75, 0.75, 1, np.nan, np.nan])


def test_one_row_of_duplicates_stays_and_conflicts_are_held():
  #        unlabeled+labeled  conflict  checked  validation  a test row is not looked at
  group = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, -1]
  label = [-1, 1, 0, 1, 0, 1, 2, 1, 1, 1, 0]
  split = [0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0]
  verified = [-1, -1, -1, -1, -1, 1, -1, -1, -1, -1, -1]
  rows = rows_.first(
    [f'{i:02d}' for i in range(11)],
    [f'{i}.png' for i in range(11)],
    np.array(label),
    CLASSES,
    split=np.array(split),
    verified=np.array(verified),
  )
  evidence = Evidence('v', np.full((11, 3), np.nan, np.float32), np.ones(11), {'duplicate_group': np.array(group)})
  found = done('drop_duplicates', rows, evidence).proposed
  assert dict(zip(found.place.tolist(), found.action.tolist())) == {
    0: 'drop',
    2: 'hold',
    3: 'hold',
    4: 'drop',
    6: 'drop',
  }


@pytest.mark.parametrize('filter', ['prune_by_noise_rate', 'both', 'confident_learning', 'low_self_confidence'])
def test_confident_learning_flags_what_cleanlab_flags(filter):
  find = pytest.importorskip('cleanlab.filter').find_label_issues
  rows, _, evidence = planted()
  labeled = np.flatnonzero(rows.status == LABELED)
  expected = labeled[find(rows.label[labeled], evidence.probs[labeled].astype(np.float64), filter_by=filter, n_jobs=1)]
  for action in ('label', 'unlabel'):
    outcome = done('confident_learning', rows, evidence, filter=filter, action=action)
    assert_array_equal(outcome.proposed.place, expected)
    assert len(expected) > 50


def test_when_frozen_labels_are_all_right_a_rule_about_wrong_ones_has_no_estimate_and_a_floor_stops_it():
  rows, _, evidence = planted()
  outcome = done('demote_changed', rows, evidence, rows.given_label)
  assert outcome.entry['estimate'] is None and outcome.decisions
  assert not done('demote_changed', rows, evidence, rows.given_label, floor=0.1).decisions


@pytest.mark.parametrize('params', [{'floor': 0.1}, {'class_floor': 0.1}, {'by': 'calibrated'}])
def test_a_rule_that_labels_cannot_judge_takes_no_floor(params):
  rows, _, evidence = planted()
  with pytest.raises(UserError, match='cannot be judged by labels'):
    done('drop_duplicates', rows, evidence, **params)


def test_states_of_the_dry_run_are_those_of_the_decisions():
  rows, _, evidence = planted()
  outcome = done('promote', rows, evidence)
  for place, decision in list(zip(outcome.proposed.place.tolist(), outcome.decisions))[:5]:
    state = act(state_of(rows, place), decision, outcome.author, -1, CLASSES)
    assert (state.status, state.label) == (LABELED, evidence.predicted[place])
