"""A loop whose process is killed with SIGKILL at random times, again and again, ends where an undisturbed one ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_loop import assert_same, data, outputs

from noisyjax.tables import verify

# Each loop runs in a fork of a process that has imported everything, so that a kill costs no import.
CHILD = """
import os, random, sys, time
from pathlib import Path
from noisyjax.loop import loop as loops
from test_loop import config
folder, kills = Path(sys.argv[1]), int(sys.argv[2])
loops.page.write = lambda *_: None

def started(name):
  pid = os.fork()
  if not pid:
    try:
      loops.loop(config(folder / 'data.npz'), folder / name)
    except BaseException as error:
      os.write(2, repr(error).encode())
      os._exit(1)
    os._exit(0)
  return pid

def ended(pid):
  return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

begin = time.monotonic()
assert ended(started('whole')) == 0
longest = time.monotonic() - begin
draw, number, killed = random.Random(0), 0, 0
while killed < kills:
  pid = started(f'killed {number}')
  until = time.monotonic() + draw.uniform(0, longest)
  while time.monotonic() < until and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
    time.sleep(0.005)
  os.kill(pid, 9)
  code = ended(pid)
  assert code in (0, -9), code
  number, killed = number + (code == 0), killed + (code == -9)
assert ended(started(f'killed {number}')) == 0
print(killed)
"""


@pytest.mark.slow
@pytest.mark.parametrize('kills', [20, 100])
def test_a_loop_that_is_killed_at_random_times_ends_where_an_undisturbed_one_ends(tmp_path, kills):
  data(tmp_path / 'data.npz')
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(Path(__file__).parent), *sys.path])}
  command = [sys.executable, '-c', CHILD, str(tmp_path), str(kills)]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-2000:]
  assert int(done.stdout.split()[-1]) == kills
  expected, ended = outputs(tmp_path / 'whole'), sorted(tmp_path.glob('killed *'))
  assert ended
  for folder in ended:
    assert_same(expected, outputs(folder))
    assert list(verify.verify(folder / 'table'))
