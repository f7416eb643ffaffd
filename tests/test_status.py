"""What folders say of their runs, from the files alone; and how runs are ended."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

import runs
from noisyjax.runs import cancel, presence, standing, status
from noisyjax.system import formats, storage
from noisyjax.system.errors import Diverged, UserError


def at_work(folder, **changed):
  """Writes the presence of this process, or of what `changed` says of it."""
  folder.mkdir(parents=True, exist_ok=True)
  with presence.shown(folder, epochs=10):
    own = storage.read_json(folder / presence.NAME)
  storage.write_json(folder / presence.NAME, own | changed)


def epochs(folder, count):
  folder.mkdir(exist_ok=True)
  for number in range(count):
    storage.JsonLines(folder / 'metrics.jsonl').append({'epoch': number + 1, 'seconds': 90.0 if number == 0 else 30.0})


def ordered(folder):
  folder.mkdir(exist_ok=True)
  (folder / standing.ORDER).write_text('{}')


@pytest.fixture
def sweep(tmp_path):
  names = ['seed=2', 'seed=10', 'seed=0', 'seed=1', 'seed=3', 'seed=4', 'seed=5']
  formats.write_json(formats.SWEEP, tmp_path / 'sweep.json', {'runs': names, 'fields': ['seed']})
  at_work(tmp_path / 'seed=2')
  epochs(tmp_path / 'seed=2', 4)
  ordered(tmp_path / 'seed=2')
  (tmp_path / 'seed=10').mkdir()
  (tmp_path / 'seed=10' / 'result.json').write_text('{}')
  standing.fail(tmp_path / 'seed=0', Diverged('the loss is not\nfinite.'))
  ordered(tmp_path / 'seed=1')
  at_work(tmp_path / 'seed=3', pid=2**22 + 1)  # killed: there is no such process
  epochs(tmp_path / 'seed=3', 2)
  at_work(tmp_path / 'seed=4', host='node7', jobs={'slurm': '31'})
  at_work(tmp_path / 'seed=5', host='node7', jobs={'slurm': '32'})
  long_ago = time.time() - 10 * presence.SILENT
  os.utime(tmp_path / 'seed=5' / presence.NAME, (long_ago, long_ago))
  return tmp_path


def test_the_folders_say_what_each_run_is_at(sweep):
  here = presence.socket.gethostname()
  found = {row.name: row[1:] for row in status.rows(sweep)}
  assert list(found) == ['seed=2', 'seed=10', 'seed=0', 'seed=1', 'seed=3', 'seed=4', 'seed=5']
  assert found['seed=2'] == ('running', f'epoch 4/10, 3:00 left, on {here}, process {os.getpid()}')
  assert found['seed=10'] == ('finished', '') and found['seed=1'] == ('waiting', '')
  assert found['seed=0'] == ('failed', r'the loss is not\nfinite.')
  assert found['seed=3'] == ('waiting', 'was interrupted after epoch 2')
  assert found['seed=4'] == ('running', 'epoch 0/10, on node7, slurm job 31')
  assert found['seed=5'] == ('waiting', '')  # its machine has been silent for minutes
  text = status.text(sweep)
  assert text.startswith(f'{sweep}: 2 running, 1 failed, 3 waiting, 1 finished\n')
  assert [line.split()[1] for line in text.splitlines()[3:]] == [
    'seed=2',
    'seed=4',
    'seed=0',
    'seed=1',
    'seed=3',
    'seed=5',
  ]


def test_runs_of_a_loop_are_found_below_it_and_a_single_run_is_one(tmp_path):
  epochs(tmp_path / 'seed=0', 3)
  for name in ('round=0/fold=0,seed=0', 'round=0/fold=1,seed=0', 'loop=1/round=10/seed=0', 'loop=1/round=2/seed=0'):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / 'result.json').write_text('{}')
  at_work(tmp_path, epochs=0)  # the driver; no run
  names = [row.name for row in status.rows(tmp_path)]
  assert names[:2] == ['loop=1/round=2/seed=0', 'loop=1/round=10/seed=0'] and len(names) == 5
  assert f'started by process {os.getpid()}' in status.text(tmp_path)
  (only,) = status.rows(tmp_path / 'seed=0')
  assert only == ('seed=0', 'waiting', 'was interrupted after epoch 3')
  (tmp_path / 'empty').mkdir()
  with pytest.raises(UserError, match='holds no run'):
    status.text(tmp_path / 'empty')
  with pytest.raises(UserError, match='is no folder'):
    status.text(tmp_path / 'nowhere')


def test_watching_ends_when_nothing_runs(sweep, monkeypatch):
  looks = []

  def sleep(seconds):
    looks.append(seconds)
    for name in ('seed=2', 'seed=4'):
      (sweep / name / presence.NAME).unlink()

  monkeypatch.setattr(status.time, 'sleep', sleep)
  assert len(list(status.watched(sweep))) == 2 and len(looks) == 1


SLEEPER = """
import sys, time, signal
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from noisyjax.runs import presence
with presence.shown(Path(sys.argv[1]), 3):
  try:
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
    print('ready', flush=True)
    time.sleep(600)
  finally:
    pass
"""


def test_cancel_ends_what_is_at_work_and_nothing_else(sweep, monkeypatch):
  for name in ('seed=2', 'seed=4'):
    (sweep / name / presence.NAME).unlink()
  command = [sys.executable, '-c', SLEEPER, str(sweep / 'seed=1'), str(runs.ROOT)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    try:
      assert process.stdout.readline() == 'ready\n'
      assert cancel.cancel(sweep) == f'{sweep / "seed=1"}: process {process.pid} has ended.'
      assert process.wait() == 143
    finally:
      process.kill()
  assert cancel.cancel(sweep) == f'{sweep}: nothing runs.'
  with pytest.raises(UserError, match='swep: is no folder; expected that of a run'):
    cancel.cancel(sweep.with_name('swep'))
  at_work(sweep / 'seed=4', host='node7', jobs={'slurm': '31'})
  asked = []

  def scancel(command, **unused):
    asked.append(command)
    (sweep / 'seed=4' / presence.NAME).unlink()
    return subprocess.CompletedProcess(command, 0)

  monkeypatch.setattr(cancel.subprocess, 'run', scancel)
  assert cancel.cancel(sweep) == f'{sweep / "seed=4"}: slurm job 31 has ended.' and asked[0][-1] == '31'
  at_work(sweep / 'seed=4', host='node7')
  with pytest.raises(UserError, match=r'of node7 is at work here; expected one of this machine'):
    cancel.cancel(sweep)


def test_cancel_ends_every_job_that_a_killed_driver_left(sweep, monkeypatch):
  for name in ('seed=2', 'seed=4'):
    (sweep / name / presence.NAME).unlink()
  left, asked, forgotten = sweep / 'engine' / cancel.JOBS, [], {'30'}
  left.parent.mkdir()
  storage.write_json(left, {'scheduler': 'slurm', 'jobs': ['30', '31']})

  def scancel(command, **unused):
    asked.append(command)
    return subprocess.CompletedProcess(command, int(command[-1] in forgotten), '', 'Invalid job id\n')

  monkeypatch.setattr(cancel.subprocess, 'run', scancel)
  said = cancel.cancel(sweep).splitlines()
  assert said == [
    f'{sweep}: slurm job 30 cannot be ended: Invalid job id.',
    f'{sweep}: slurm job 31 is asked to end.',
  ]
  assert asked == [['scancel', '30'], ['scancel', '31']] and left.exists()
  forgotten.clear()
  cancel.cancel(sweep)
  assert not left.exists()


def test_nobody_is_at_work_in_a_copy_of_a_folder(tmp_path):
  """`cancel` of the copy would end the process that is at work in the original."""
  (tmp_path / 'run').mkdir()
  with presence.shown(tmp_path / 'run'):
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    (tmp_path / 'link').symlink_to(tmp_path / 'run')
    assert presence.of(tmp_path / 'run') and presence.of(tmp_path / 'link')
    assert presence.of(tmp_path / 'copy') is None
    assert cancel.cancel(tmp_path / 'copy').endswith('nothing runs.')
    note = tmp_path / 'run' / presence.NAME  # as it is where a folder is mounted at two places
    storage.write_json(note, json.loads(note.read_text()) | {'folder': str(tmp_path / 'link')})
    assert presence.of(tmp_path / 'run')


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"format": 1, "diverged": 1, "message": []}'])
def test_a_damaged_file_of_a_state_is_named(tmp_path, content):
  for folder, name in (('seed=0', standing.FAILED), ('engine', cancel.JOBS)):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).write_text(content)
  (row,) = status.rows(tmp_path)
  assert row.state == 'failed' and 'failed.json: ' in row.about
  with pytest.raises(UserError, match=r'jobs\.json: '):
    cancel.cancel(tmp_path)


def test_a_failure_that_is_forgotten_while_it_is_read_is_none(tmp_path, monkeypatch):
  standing.fail(tmp_path, UserError('no'))
  removed = lambda kind, path: path.unlink() or storage.read_json(path)
  monkeypatch.setattr(formats, 'read_json', removed)
  assert standing.failure(tmp_path) is None


def test_a_pod_is_ended_in_its_namespace(sweep, monkeypatch):
  asked = []
  monkeypatch.setattr(
    cancel.subprocess, 'run', lambda command, **_: asked.append(command) or subprocess.CompletedProcess(command, 0)
  )
  for job, namespace in (('team/pod-1', 'team'), ('pod-1', 'default')):
    assert cancel._refusal('kubernetes', job) == ''
    assert f'--namespace={namespace}' in asked[-1] and asked[-1][-1] == 'pod-1'


def test_a_heartbeat_moves_the_time_of_the_file(tmp_path, monkeypatch):
  monkeypatch.setattr(presence, 'BEAT', 0.01)
  with presence.shown(tmp_path):
    path = tmp_path / presence.NAME
    os.utime(path, (1, 1))
    for _ in range(3000):
      if path.stat().st_mtime > 1:
        break
      time.sleep(0.01)
    assert path.stat().st_mtime > 1 and presence.of(tmp_path).pid == os.getpid()
  assert not path.exists() and presence.of(tmp_path) is None
