"""Engines: groups, orders, what happens to runs whose processes die, and the same table as in this process."""

import re
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

import runs
from noisyjax.config.check import plan_of
from noisyjax.experiments import grid, sweep
from noisyjax.experiments.outcome import concluded
from noisyjax.runs import dry_run, identity, launch, order, standing, work
from noisyjax.runs.engines import devices, engine, estimate, fan_out, pool, processes, task
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.runs.engines.pool import Lost
from noisyjax.runs.job import Job
from noisyjax.system import formats, interrupt, lock, storage
from noisyjax.system.errors import Diverged, UserError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr(fan_out, 'POLL', 0.01)
  monkeypatch.setattr('noisyjax.reports.collection.write', lambda folder: 'the table')


def jobs(folder, *points):
  return sweep.jobs(runs.recipe(), [{'seed': 0, **point} for point in points], str(folder))


class Scripted:
  """A pool whose commands do at once what `script` says: for each run in turn, 'done', a failure, or how it dies.

  Args:
    script: name of the run → what happens at each try, the last entry for good: "done", "diverged", an exit code, Lost.
    width: commands at once.
  """

  def __init__(self, script, width=2):
    self.script, self.width, self.commands, self.closed = script, width, [], 0

  def open(self, folder):
    pass

  def check(self):
    pass

  def close(self):
    self.closed += 1

  def submit(self, command, log):
    future = Future()
    folders = [Path(folder) for folder in re.split(r',(?=/)', command[-1].removeprefix('--workdir='))]
    self.commands.append([folder.name for folder in folders])
    for folder in folders:
      if not standing.waits(folder):
        continue
      steps = self.script.get(folder.name, ['done'])
      step = steps.pop(0) if len(steps) > 1 else steps[0]
      if step == 'done':
        formats.write_json(formats.RUN, folder / 'result.json', {'run': folder.name})
      elif step == 'diverged':
        standing.fail(folder, Diverged('not finite'))
      else:
        log.write_text('first line\nSegmentation fault.\n\n')
        future.set_exception(step) if isinstance(step, Exception) else future.set_result(step)
        return future
      standing.settle(folder)
    future.set_result(0)
    return future

  def text(self, commands):
    return '\n'.join(map(' '.join, commands))


def test_runs_that_compile_alike_share_a_command_and_no_place_is_idle(tmp_path):
  rates = [{'optim.lr': lr} for lr in (0.1, 0.2, 0.3, 0.4, 0.5)]
  sizes = [{'optim.lr': 0.1, 'batch_size': 16}, {'optim.lr': 0.2, 'batch_size': 16}]
  names = lambda made: [[job.workdir.name.replace('seed=0,', '') for job in group] for group in made]
  points = jobs(tmp_path, *rates, *sizes)
  found = names(FanOut(Scripted({}, 2)).groups(points))
  assert found[:2] == [['lr=0.1', 'lr=0.2', 'lr=0.3', 'lr=0.4'], ['lr=0.5']]
  assert found[2:] == [['lr=0.1,batch_size=16', 'lr=0.2,batch_size=16']]
  assert list(map(len, FanOut(Scripted({}, 7)).groups(points))) == [1] * 7
  assert list(map(len, FanOut(Scripted({}, 1), group=3).groups(points))) == [3, 2, 2]


def test_an_order_says_the_whole_config(tmp_path):
  config = runs.recipe(strategy__name='elr', strategy__elr__beta=0.55, told=('noise rate',))
  config.phases = (('naive', 2, {'optim.lr': 0.01}), ('elr', 1, {'reset': 'all', 'augment.weak': ('crop',)}))
  job = Job(plan_of(config), tmp_path / 'a', rerun=True, page=False)
  order.write(job)
  read = order.read(tmp_path / 'a')
  assert identity.plain(read.plan) == identity.plain(job.plan) and read.rerun and not read.page
  assert [p.config.optim.lr for p in read.plan.phases] == [0.01, config.optim.lr]


def test_one_run_that_fails_or_kills_its_process_ends_no_other(tmp_path):
  own = jobs(tmp_path, *({'optim.lr': lr} for lr in (0.1, 0.2, 0.3, 0.4, 0.5)))
  script = {'seed=0,lr=0.2': ['diverged'], 'seed=0,lr=0.3': [-9], 'seed=0,lr=0.4': [1, 'done']}
  where = Scripted(script, 1)
  results = launch.launch(own, engine=FanOut(where))
  assert [isinstance(found, UserError) for found in results] == [False, True, True, False, False]
  assert isinstance(results[1], Diverged) and not isinstance(results[2], Diverged)
  assert 'ended with code -9 2 times: Segmentation fault.' in str(results[2])
  assert results[3] == {'run': 'seed=0,lr=0.4'} and where.closed == 1
  assert [len(names) for names in where.commands] == [5, 3, 2, 2]  # what is left, the run that died first again
  with pytest.raises(UserError, match=r'2 of 5 points failed \(seed=0,lr=0\.2, seed=0,lr=0\.3\)'):
    concluded('sweep', 'points', own, results, lambda done: 'table')


def test_a_run_whose_failure_could_not_be_recorded_ends_no_other(tmp_path):
  own = jobs(tmp_path, {'optim.lr': 0.1}, {'optim.lr': 0.2})
  where = Scripted({'seed=0,lr=0.1': ['diverged']}, 1)
  where.close = lambda: standing.forget_failure(own[0].workdir)  # as on a full disk
  first, second = launch.launch(own, engine=FanOut(where))
  assert isinstance(first, UserError) and second == {'run': 'seed=0,lr=0.2'}


def test_a_process_that_was_taken_away_costs_its_run_nothing(tmp_path):
  own = jobs(tmp_path, {'optim.lr': 0.1})
  where = Scripted({'seed=0,lr=0.1': [Lost(), -15, 143, 75, Lost(), Lost(), 'done']})
  assert launch.launch(own, engine=FanOut(where)) == [{'run': 'seed=0,lr=0.1'}]
  assert len(where.commands) == 7


def test_a_run_whose_process_is_taken_away_without_end_fails_and_ends_no_other(tmp_path):
  own = jobs(tmp_path, {'optim.lr': 0.1}, {'optim.lr': 0.2})
  where = Scripted({'seed=0,lr=0.1': [-15]}, 1)
  first, second = launch.launch(own, engine=FanOut(where))
  assert 'was taken away 20 times while the run finished no epoch' in str(first)
  assert second == {'run': 'seed=0,lr=0.2'} and len(where.commands) == 21


def test_a_run_that_gets_on_may_lose_its_process_any_number_of_times(tmp_path, monkeypatch):
  epochs = iter(range(100))
  monkeypatch.setattr(fan_out, '_recorded', lambda folder: next(epochs) // 15)
  where = Scripted({'seed=0,lr=0.1': [*[Lost()] * 50, 'done']}, 1)
  assert launch.launch(jobs(tmp_path, {'optim.lr': 0.1}), engine=FanOut(where)) == [{'run': 'seed=0,lr=0.1'}]


def test_many_runs_that_kill_their_processes_end_no_other(tmp_path):
  own = jobs(tmp_path, *({'optim.lr': i / 100} for i in range(1, 12)))
  where = Scripted({job.workdir.name: [127] for job in own[:10]}, 1)
  *bad, good = launch.launch(own, engine=FanOut(where))
  assert all('ended with code 127 2 times' in str(found) for found in bad)
  assert good == {'run': own[-1].workdir.name} and where.closed == 1


def test_the_same_call_adopts_what_is_finished(tmp_path, monkeypatch):
  own = jobs(tmp_path, {'optim.lr': 0.1}, {'optim.lr': 0.2})
  monkeypatch.setattr(
    'noisyjax.runs.run.finished', lambda plan, folder, load: storage.read_json(folder / 'result.json')
  )
  for job in own:
    storage.make_folder(job.workdir)
    storage.write_json(job.workdir / 'result.json', {'of': job.workdir.name})
  where = Scripted({})
  assert launch.launch(own, engine=FanOut(where)) == [{'of': job.workdir.name} for job in own]
  assert not where.commands and not where.closed  # nothing was started
  order.write(own[0])  # as a driver leaves it that was killed when the run had just finished
  launch.launch(own, engine=FanOut(where))
  assert not where.commands and not standing.waits(own[0].workdir)
  again = [Job(job.plan, job.workdir, rerun=True) for job in own]
  launch.launch(again, engine=FanOut(where))
  assert len(where.commands) == 2  # the processes decide what is run anew


@pytest.fixture
def program(monkeypatch):
  """Processes that know the model "dense" and no picture."""
  head = f'import sys; sys.path.insert(0, {str(runs.ROOT)!r}); import noisyjax.models as m; '
  head += f'm.__path__.append({runs.PLUGINS!r}); import noisyjax.reports.report as r; r.write_report = lambda f: None; '
  code = head + 'from noisyjax.cli.main import run; run()'
  monkeypatch.setattr(fan_out, 'program', lambda: [sys.executable, '-c', code])


def test_processes_give_the_results_of_this_process(tmp_path, program, monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)
  data = runs.npz(tmp_path / 'data.npz')
  points = list(grid.grid(['optim.lr=0.05,2e9', 'seed=0,1']))
  made = lambda folder: sweep.jobs(runs.recipe(data, epochs=2), points, str(tmp_path / folder))
  order.write(made('here')[0])  # of an engine that was interrupted
  here = launch.launch(made('here'))
  apart = launch.launch(
    made('apart'), engine=FanOut(processes.Processes([processes.Slot({'JAX_PLATFORMS': 'cpu'})] * 2))
  )
  assert [isinstance(found, Diverged) for found in here] == [False, False, True, True]
  for one, other, job in zip(here, apart, made('apart')):
    assert type(one) is type(other)
    if not isinstance(one, UserError):
      runs.assert_same(runs.outputs(tmp_path / 'here' / job.workdir.name), runs.outputs(job.workdir))
    assert not standing.waits(tmp_path / 'here' / job.workdir.name)
    assert not standing.waits(job.workdir) and not (job.workdir / 'running.json').exists()
  logs = sorted(path.name for path in (tmp_path / 'apart' / 'engine').iterdir())
  assert logs == ['lr=0.05,seed=0.log', 'lr=2000000000.0,seed=0.log']


def test_a_process_waits_for_the_one_that_still_saves(tmp_path, monkeypatch):
  (job,) = jobs(tmp_path, {})
  order.write(job)
  calls = []

  def busy(job, load):
    calls.append(job.workdir)
    if len(calls) < 3:
      raise lock.InUse('in use')

  monkeypatch.setattr(launch, 'executed', busy)
  monkeypatch.setattr('time.sleep', lambda seconds: None)
  work.work([job.workdir])
  assert len(calls) == 3 and not standing.waits(job.workdir)


def test_a_process_whose_starter_died_while_it_loaded_ends(tmp_path, monkeypatch):
  (job,) = jobs(tmp_path, {})
  order.write(job)
  monkeypatch.setenv(task.STARTER, '0')

  def trains(job, load):
    while True:
      interrupt.check('run', 'at a step')
      time.sleep(0.01)

  monkeypatch.setattr(launch, 'executed', trains)
  with pytest.raises(interrupt.Stopped, match='SIGTERM'):
    work.work([job.workdir])
  assert standing.waits(job.workdir)


def test_ctrl_c_ends_the_processes_and_keeps_the_orders(tmp_path, monkeypatch):
  own = jobs(tmp_path, {'optim.lr': 0.1})
  monkeypatch.setattr(fan_out, 'command', lambda group: ['sleep', '600'])
  monkeypatch.setattr(interrupt, 'asked', lambda: 2)

  def stop(where, after):
    raise interrupt.Stopped(f'{where}: stopped {after}', 2)

  monkeypatch.setattr(interrupt, 'check', stop)
  with pytest.raises(interrupt.Stopped, match='with 1 runs left; the same command goes on'):
    launch.launch(own, engine=FanOut(processes.Processes([processes.Slot()])))
  assert standing.waits(own[0].workdir)


def test_an_engine_is_read_from_its_file(tmp_path):
  assert isinstance(engine.load(''), launch.Here) and isinstance(engine.load('here'), launch.Here)
  made = engine.load('configs/engines/processes.py:at_once=3,group=2')
  assert made.pool.width == 3 and made.group == 2
  with pytest.raises(UserError, match=r"get_engine\(\) has no argument 'nodes'; it has at_once, cores, group"):
    engine.load('processes:nodes=3')
  with pytest.raises(UserError, match=r'key=value'):
    engine.load('processes:3')
  with pytest.raises(UserError, match=r"processes\.py: group='-1': expected at least 0\."):
    engine.load('processes:at_once=2,group=-1')
  with pytest.raises(UserError, match=r"processes\.py: at_once='two': expected a whole number such as 0\."):
    engine.load('processes:at_once=two')
  with pytest.raises(UserError, match=r"processes\.py: cores='9{11}': expected at most 2147483647\."):
    engine.load(f'processes:cores={"9" * 11}')
  with pytest.raises(UserError, match="has no argument 'function'"):
    engine.load('processes:function=3')
  (tmp_path / 'mine.py').write_text('def get_engine():\n  return 3\n')
  (tmp_path / 'told.py').write_text(
    'from noisyjax.system.errors import UserError\n\n\n'
    "def get_engine(account='', hours=1.0, requeue=True, nodes=1, other=None):\n"
    '  raise UserError(repr((account, hours, requeue, nodes, other)))\n'
  )
  with pytest.raises(UserError, match=re.escape("('0123', 2.0, False, 3, '4')")):  # an account of digits is a name
    engine.load(f'{tmp_path / "told.py"}:account=0123,hours=2,requeue=False,nodes=3,other=4')
  with pytest.raises(UserError, match=r'returns a int; expected an engine'):
    engine.load(str(tmp_path / 'mine.py'))
  with pytest.raises(UserError, match=r'no file .*Similar names: processes'):
    engine.load('proceses')


def test_a_dry_run_says_how_long_and_writes_nothing(tmp_path, monkeypatch):
  asked = []
  hours = lambda config, timed: asked.append(timed) or dry_run.Estimated('', 3600.0 * config.batch_size, 0.0)
  monkeypatch.setattr(dry_run, 'estimated', hours)
  points = [{'optim.lr': 0.1, 'batch_size': 1}, {'optim.lr': 0.2, 'batch_size': 1}, {'batch_size': 2}]
  text = estimate.text(FanOut(Scripted({}, 2)), jobs(tmp_path, *points), timed=True)
  assert asked == [True, True]  # once for all that take as long
  assert text.count(' work --workdir=') == 2 and 'runs: 3, of 2 kinds that compile apart' in text
  assert '(4.00 hours)' in text and 'divided by the places: 2:00:00' in text
  assert text.endswith('Nothing was written.') and not list(tmp_path.iterdir())


def test_each_process_sees_one_device(tmp_path, monkeypatch):
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
  for name in ('nvidia0', 'nvidia1', 'nvidia2', 'nvidiactl', 'accel0', 'accel1'):
    (tmp_path / name).touch()
  seen = lambda made: [slot.environment for slot in made]
  assert [e['CUDA_VISIBLE_DEVICES'] for e in seen(devices.slots('cuda', 0, dev=tmp_path))] == ['0', '1', '2']
  assert [e['TPU_VISIBLE_CHIPS'] for e in seen(devices.slots('tpu', 2, dev=tmp_path))] == ['0', '1']
  shared = seen(devices.slots('cuda', 1, each=2, dev=tmp_path))
  assert shared == [{'CUDA_VISIBLE_DEVICES': '0', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.38'}] * 2
  with pytest.raises(UserError, match='expected 4 devices of kind cuda; found 3'):
    devices.slots('cuda', 4, dev=tmp_path)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')  # what a scheduler gave
  assert [e['CUDA_VISIBLE_DEVICES'] for e in seen(devices.slots('cuda', 0, dev=tmp_path))] == ['5', '7']
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  with pytest.raises(UserError, match='found 0 in CUDA_VISIBLE_DEVICES'):
    devices.slots('cuda', 0, dev=tmp_path)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5,7')
  text = processes.Processes(devices.slots('cuda', 0, dev=tmp_path)).text([['train', 'a b'], ['x'], ['y']])
  assert text.splitlines()[1:] == [
    "  CUDA_VISIBLE_DEVICES=5 train 'a b'",
    '  CUDA_VISIBLE_DEVICES=7 x',
    '  CUDA_VISIBLE_DEVICES=5 y',
  ]


def test_pinned_processes_share_no_core(monkeypatch):
  monkeypatch.setattr('os.sched_getaffinity', lambda pid: {0, 1, 2, 3, 4})
  assert [slot.cores for slot in processes.cores(0, 2)] == [(0, 1), (2, 3)]
  assert processes.cores(2, 1)[1].command(['x']) == ['taskset', '-c', '1', 'x']
  assert len(processes.cores(0, 0)) == 5
  with pytest.raises(UserError, match='need 6 cores; this process may use 5'):
    processes.cores(3, 2)


def test_the_program_is_this_checkout(monkeypatch):
  assert pool.program() == [sys.executable, str(runs.ROOT / 'launch.py')]


def test_a_worker_s_command_sees_one_of_the_devices_of_its_job(tmp_path, monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2,5')  # as Slurm numbers them
  seen = []
  for rank in ('0', '1', '2'):
    monkeypatch.setenv('PARSL_WORKER_RANK', rank)
    seen.append(task.environment()['CUDA_VISIBLE_DEVICES'])
  assert seen == ['2', '5', '2']
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
  assert 'CUDA_VISIBLE_DEVICES' not in task.environment()
  assert task.execute(['sh', '-c', 'pwd; exit 3'], str(tmp_path / 'log'), str(tmp_path)) == 3
  assert (tmp_path / 'log').read_text() == f'{tmp_path}\n'
