"""The journal and commits: what a crash, a full disk, a second writer and a second author leave behind."""

import contextlib
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from noisyjax.system import storage
from noisyjax.system.errors import UserError
from noisyjax.tables import journal, refs, store, verify, versions
from small_tables import ANNA, BOB, RULE, made, says


def test_half_a_line_at_any_byte_is_as_if_it_was_not_written(tmp_path):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'drop')])
  path = tmp_path / 'journal.jsonl'
  kept = path.read_bytes()
  table.decide(ANNA, [says(table, 2, 'label', 'eel', reason='é\n')])
  whole = path.read_bytes()
  for end in range(len(kept), len(whole)):
    path.write_bytes(whole[:end])
    entries = [entry for entry, _ in journal.read(path)]
    assert len(entries) == 1
    if end % 97 == 0:  # the next writer goes on from there
      again = store.Table(tmp_path)
      again.decide(ANNA, [says(table, 3, 'hold')])
      assert path.read_bytes().startswith(kept) and len([*journal.read(path)]) == 2
  path.write_bytes(whole)
  assert len([*journal.read(path)]) == 2


def test_half_a_character_in_an_old_journal_is_committed_as_a_question_mark(tmp_path):
  table = made(tmp_path / 't')
  decisions = [says(table, 1, 'label', 'dog', reason='\ud83d', evidence='a \ude00')._asdict()]
  entry = {'kind': 'decide', 'author': ANNA, 'branch': 'main', 'version': table.version.name, 'decisions': decisions}
  journal.append(tmp_path / 't' / 'journal.jsonl', entry)
  version = table.commit('repaired', ANNA)
  assert versions.read_edits(tmp_path / 't', version.name).reason.tolist() == ['?'] and list(
    verify.verify(tmp_path / 't')
  )
  assert table.rows.evidence[1] == 'a ?'


def test_undo_is_an_entry_and_can_be_undone(tmp_path):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'drop'), says(table, 2, 'drop')])
  table.decide(BOB, [says(table, 3, 'drop')])
  undo = table.undo(ANNA)
  assert len(table.pending()) == 1 and len(store.Table(tmp_path).pending()) == 1
  with pytest.raises(UserError, match='no decisions of person:anna'):
    table.undo(ANNA)
  table.undo(ANNA, undo['hash'][:12])
  assert len(table.pending()) == 3
  assert len([*journal.read(tmp_path / 'journal.jsonl')]) == 4
  table.commit('m', ANNA)
  with pytest.raises(UserError, match='What is committed is taken back by revert'):
    table.undo(ANNA)


def test_what_another_committed_meanwhile_cannot_be_undone(tmp_path):
  one, two = made(tmp_path), store.Table(tmp_path)
  one.decide(ANNA, [says(one, 1, 'drop')])
  assert len(two.pending()) == 1
  one.commit('m', ANNA)
  with pytest.raises(UserError, match='What is committed is taken back by revert'):
    two.undo(ANNA)


def test_authors_who_disagree_are_named_until_it_is_resolved(tmp_path):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'label', 'dog')])
  table.decide(BOB, [says(table, 1, 'label', 'eel'), says(table, 2, 'drop')])
  with pytest.raises(
    UserError, match=r'1 rows are decided differently .* 1\.png \(person:anna, person:bob\).*--prefer'
  ):
    table.commit('m', ANNA)
  assert len(table.pending()) == 3 and len(refs.branches(tmp_path)) == 1
  with pytest.raises(UserError, match='decided differently'):
    table.commit('m', ANNA, prefer='person:carl')
  assert table.commit('m', ANNA, prefer=BOB).manifest['prefer'] == BOB
  assert table.rows.label[1] == 2 and table.rows.by[1] == BOB


def test_authors_who_come_to_agree_are_no_conflict_and_a_person_overrules_a_rule(tmp_path):
  table = made(tmp_path)
  table.decide(RULE, [says(table, 1, 'drop')])
  table.decide(ANNA, [says(table, 1, 'label', 'dog')])
  table.decide(BOB, [says(table, 1, 'label', 'eel')])
  table.decide(BOB, [says(table, 1, 'label', 'dog')])
  table.commit('m', ANNA)
  assert (table.rows.label[1], table.rows.verified[1]) == (1, 1)


def test_a_row_that_changed_since_it_was_looked_at_is_named(tmp_path):
  one, two = made(tmp_path), store.Table(tmp_path)
  seen = two.version.name
  one.decide(ANNA, [says(one, 1, 'drop')])
  one.commit('m', ANNA)
  with pytest.raises(UserError, match=r'1 rows changed since version .*: 1\.png'):
    two.decide(BOB, [says(two, 1, 'label', 'dog')], since=seen)
  two.decide(BOB, [says(two, 2, 'label', 'dog')], since=seen)
  assert two.commit('n', BOB).manifest['parents'] == [one.version.name]


def test_of_two_who_commit_at_once_one_is_told_and_loses_nothing(tmp_path):
  one, two = made(tmp_path), store.Table(tmp_path)
  one.decide(ANNA, [says(one, 1, 'drop')])
  two.decide(BOB, [says(two, 2, 'drop')])
  told, barrier = [], threading.Barrier(2)

  def commit(table, author):
    barrier.wait()
    try:
      table.commit('m', author)
    except UserError as error:
      told.append(str(error))

  threads = [threading.Thread(target=commit, args=a) for a in ((one, ANNA), (two, BOB))]
  [thread.start() for thread in threads]
  [thread.join() for thread in threads]
  assert len(told) == 1 and 'moved from' in told[0] and 'nothing is lost' in told[0]
  found = store.Table(tmp_path)
  assert found.rows.by[[1, 2]].tolist() == [ANNA, BOB]
  assert list(verify.verify(tmp_path))


def test_many_writers_at_once_lose_no_decision(tmp_path):
  table, errors = made(tmp_path), []

  def write(place):
    try:
      own = store.Table(tmp_path)
      for label in ('cat', 'dog', 'eel'):
        own.decide(ANNA, [says(table, place, 'label', label)])
    except UserError as error:
      errors.append(error)

  threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]
  [thread.start() for thread in threads]
  [thread.join() for thread in threads]
  assert not errors and len([*journal.read(tmp_path / 'journal.jsonl')]) == 12
  assert table.commit('m', ANNA).manifest['edits'] == 4


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
  table = made(tmp_path)
  table.decide(ANNA, [says(table, 1, 'drop')])
  before, write = (tmp_path / 'journal.jsonl').read_bytes(), os.write

  room = [20]

  def full(file, data):
    if not room:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(file, data[: room.pop()])

  with monkeypatch.context() as patch:
    patch.setattr(os, 'write', full)
    with pytest.raises(UserError, match=r'journal.jsonl: cannot write this file: No space left on device. Nothing was'):
      table.decide(ANNA, [says(table, 2, 'drop')])
  assert (tmp_path / 'journal.jsonl').read_bytes() == before
  table.decide(ANNA, [says(table, 2, 'drop')])
  assert len(table.pending()) == 2


class Crash(BaseException):
  pass


def writes(monkeypatch, at: int, error) -> list[int]:
  """Lets the sync number `at` of this process fail; every file, folder and journal line is synced."""
  seen, sync = [0], os.fsync

  def counted(file):
    seen[0] += 1
    if seen[0] == at:
      raise error
    return sync(file)

  monkeypatch.setattr(os, 'fsync', counted)
  return seen


@pytest.mark.parametrize('error', [Crash(), OSError(errno.ENOSPC, 'No space left on device')])
def test_a_commit_that_breaks_at_any_write_leaves_the_old_version_whole(tmp_path, error):
  at, broken = 0, True
  while broken:
    at += 1
    table = made(tmp_path / f'{at}')
    old = table.version.name
    table.decide(ANNA, [says(table, 1, 'drop')])
    with pytest.MonkeyPatch.context() as patch:
      seen = writes(patch, at, error)
      with contextlib.suppress(Crash, UserError):
        table.commit('m', ANNA)
      broken = seen[0] >= at
    again = store.Table(tmp_path / f'{at}')
    assert list(verify.verify(again.folder))
    if again.version.name == old:
      assert len(again.pending()) == 1
      again.commit('again', ANNA)
    assert again.rows.status[1] == 2 and not list(again.folder.glob('versions/.*'))
    assert list(verify.verify(again.folder))
  assert at > 5


CHILD = """
import os, sys, time
from noisyjax.tables import store
from small_tables import ANNA, made, says
folder, kills = sys.argv[1], int(sys.argv[2])
made(folder)
for kill in range(kills):
  said, says_so = os.pipe()
  pid = os.fork()
  if not pid:
    table = store.Table(folder)
    while True:
      for place in range(8):
        label = ('cat', 'dog', 'eel')[time.time_ns() // 1000 % 3]
        entry = table.decide(ANNA, [says(table, place, 'label', label)])
        os.write(1, (entry['hash'] + chr(10)).encode())
        os.write(says_so, b'.')
      try:
        table.commit('m', ANNA)
      except store.UserError as error:
        assert 'nothing to commit' in str(error), error
  os.close(says_so)
  assert os.read(said, 1)  # a busy machine may take long to begin
  time.sleep(0.2 * (kill * 0.618 % 1))
  os.kill(pid, 9)
  os.waitpid(pid, 0)
  os.close(said)
"""


@pytest.mark.parametrize('kills', [20, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_during_commits_lose_no_decision_and_break_no_version(tmp_path, kills):
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path])}
  command = [sys.executable, '-c', CHILD, str(tmp_path / 't'), str(kills)]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  known = {entry['hash'] for entry, _ in journal.read(tmp_path / 't' / 'journal.jsonl')}
  acknowledged = done.stdout.split()
  assert len(acknowledged) >= kills and set(acknowledged) <= known
  assert list(verify.verify(tmp_path / 't'))
  table = store.Table(tmp_path / 't')
  table.decide(ANNA, [says(table, 0, 'drop')])
  table.commit('after', ANNA)
  assert not list((tmp_path / 't' / 'versions').glob('.*'))
  assert list(verify.verify(tmp_path / 't'))


def test_a_decision_reads_and_writes_no_rows(tmp_path, monkeypatch):
  table = made(tmp_path, 1000)
  for name in ('read', 'write'):
    monkeypatch.setattr(versions, name, lambda *_: pytest.fail('a decision costs as much as a version'))
  before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*') if path.is_file()}
  for place in range(1, 40):
    table.decide(ANNA, [says(table, place, 'drop')])
  assert {path for path in before if path.stat().st_mtime_ns != before[path]} == set()
  assert max(map(len, (tmp_path / 'journal.jsonl').read_bytes().splitlines())) < 1000


def test_a_decision_that_was_acknowledged_is_on_the_disk(tmp_path, monkeypatch):
  table, synced = made(tmp_path), []
  monkeypatch.setattr(os, 'fsync', lambda file: synced.append(str(Path(f'/proc/self/fd/{file}').readlink())))
  table.decide(ANNA, [says(table, 1, 'drop')])
  assert synced == [str(tmp_path / 'journal.jsonl')]
  assert storage.read_bytes(tmp_path / 'journal.jsonl').endswith(b'\n')
