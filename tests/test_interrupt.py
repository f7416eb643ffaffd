"""Ctrl-C and SIGTERM: no signal is lost; the first stops the run at the next step, the second immediately."""

import contextlib
import signal
import threading
import time

import pytest

import runs
from noisyjax.analysis import issues
from noisyjax.engine import train
from noisyjax.experiments import kfold, sweep
from noisyjax.runs import run
from noisyjax.system import interrupt

WAIT = 600  # seconds: a busy machine is no failure


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


def swallowed(number: int) -> None:
  """A signal during a callback of the compiler, which swallows the exception."""
  with contextlib.suppress(BaseException):
    signal.raise_signal(number)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_wish_and_the_handlers_come_back(number):
  before = [signal.getsignal(n) for n in interrupt.NAMES]
  with interrupt.watched():
    assert interrupt.asked() is None
    with interrupt.watched():  # a run within a sweep
      swallowed(number)
    assert interrupt.asked() == number
    with pytest.raises(interrupt.Stopped, match=f'w: stopped by {interrupt.NAMES[number]} here') as error:
      interrupt.check('w', 'here')
    assert error.value.signal == number
  assert interrupt.asked() is None and [signal.getsignal(n) for n in interrupt.NAMES] == before


def test_a_signal_that_is_ignored_stays_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    with interrupt.watched():
      assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_compilation_stops_the_run_at_its_first_step_and_the_same_command_goes_on(
  data, tmp_path, monkeypatch, number
):
  config, enter = runs.recipe(data, checkpoint__every='1000 seconds'), train.enter

  def interrupted(*arguments, **options):
    swallowed(number)
    return enter(*arguments, **options)

  with monkeypatch.context() as patch:
    patch.setattr(train, 'enter', interrupted)
    with pytest.raises(interrupt.Stopped, match=f'stopped by {interrupt.NAMES[number]} at step 1; the same command'):
      run.run(config, tmp_path / 'w')
  assert [p.name for p in (tmp_path / 'w/checkpoints').iterdir() if p.name.isdigit()] == ['1']
  run.run(config, tmp_path / 'w')
  run.run(config, tmp_path / 'whole')
  runs.assert_same(runs.outputs(tmp_path / 'whole'), runs.outputs(tmp_path / 'w'))


def test_a_signal_ends_find_a_sweep_and_folds_too(data, tmp_path, monkeypatch):
  enter = train.enter

  def interrupted(*arguments, **options):
    swallowed(signal.SIGINT)
    return enter(*arguments, **options)

  monkeypatch.setattr(train, 'enter', interrupted)
  arrays, config = runs.arrays(), runs.recipe(data)
  with pytest.raises(interrupt.Stopped, match='find: stopped by Ctrl-C in fold 1 of 2; nothing is kept'):
    issues.find_label_issues(arrays['images'], arrays['labels'], folds=2, config=config)
  with pytest.raises(interrupt.Stopped, match=r'lr=0\.1: stopped by Ctrl-C at step 1; the same command goes on'):
    sweep.sweep(config, [{'optim.lr': 0.1}, {'optim.lr': 0.2}], str(tmp_path / 's'))
  monkeypatch.setattr(train, 'enter', enter)
  monkeypatch.setattr(run, 'run', lambda *a, **k: swallowed(signal.SIGINT) or {'audit': {}})
  for command in (
    lambda: sweep.sweep(config, [{'optim.lr': 0.3}, {'optim.lr': 0.4}], str(tmp_path / 't')),
    lambda: kfold.kfold(config, 2, str(tmp_path / 'k')),
  ):
    with pytest.raises(interrupt.Stopped, match=r'stopped by Ctrl-C after 1 of 2 .*; the same command goes on'):
      command()


def test_ctrl_c_on_a_command_saves_says_so_and_exits_with_130(data, tmp_path):
  config = runs.recipe(data, checkpoint__every='1000 seconds', epochs=10**5)
  folder = tmp_path / 'w'
  process = runs.start('train', f'--config={runs.recipe_file(tmp_path / "r.py", config)}', f'--workdir={folder}')
  while not (folder / 'metrics.jsonl').exists() or not (folder / 'metrics.jsonl').stat().st_size:
    assert process.poll() is None, process.communicate()
    time.sleep(0.1)
  process.send_signal(signal.SIGINT)
  _, err = process.communicate(timeout=WAIT)
  assert process.returncode == 130, err
  assert 'Ctrl-C: the run stops' in err and 'stopped by Ctrl-C at step' in err and 'Traceback' not in err
  step = err.split('by Ctrl-C at step ')[1].split(';')[0]
  assert [p.name for p in (folder / 'checkpoints').iterdir() if p.name.isdigit()] == [step]


def test_the_second_ctrl_c_ends_at_once_whatever_the_program_does():
  code = (
    'import time; from noisyjax.system import interrupt, log; log.show()\n'
    'with interrupt.watched():\n  print("ready", flush=True)\n  while True: time.sleep(1)\n'
  )
  process = runs._child(code, cwd=runs.ROOT)
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(signal.SIGINT)
  assert 'press Ctrl-C again to exit immediately' in process.stderr.readline()
  process.send_signal(signal.SIGINT)
  assert process.wait(timeout=WAIT) == 130
  for stream in (process.stdin, process.stdout, process.stderr):
    stream.close()


def test_the_wish_is_not_seen_outside_the_main_thread():
  seen = []

  def work():
    with interrupt.watched():
      seen.append(signal.getsignal(signal.SIGINT))

  before = signal.getsignal(signal.SIGINT)
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [before]
