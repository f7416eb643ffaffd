import importlib.util
import logging
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

import runs
from noisyjax import __main__
from noisyjax.cli import help, main, train
from noisyjax.cli.command import Command, folders
from noisyjax.cli.parse import Call, named, parse
from noisyjax.engine import step
from noisyjax.experiments import grid, kfold, sweep
from noisyjax.runs.engines.fan_out import FanOut
from noisyjax.system import commands, log, parquet
from noisyjax.system.errors import UserError


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.reports.report.write_report', lambda folder: None)


DIGITS = '--config=configs/digits.py'
# A user's mistake: one sentence on stderr, exit code 2, no traceback.
MISTAKES = {
  'unknown command': (['trian'], "command: found 'trian'. Did you mean 'train'? Commands:\n  train --config=F"),
  'no command': ([], "command: found 'nothing'"),
  'something beside the command': (['train', 'fast'], "train: found 'fast' beside the command; expected only flags"),
  'missing recipe': (['train', '--workdir={dir}/w'], '--config: missing; expected a recipe such as configs/digits.py'),
  'missing workdir': (['train', DIGITS], '--workdir: missing; expected a folder such as runs/'),
  'missing images': (['predict', '--workdir={dir}/w'], '--images: missing; expected a folder or zip of images'),
  'no such recipe': (
    ['train', '--config', 'configs/digit.py'],
    "there is no file 'configs/digit.py', and noisyjax ships none of that name. Similar names: digits",
  ),
  'unknown flag': (
    ['train', '--work=w'],
    'train: found --work, which it does not take; its flags are --config, --coordinator, --dry_run, --process, '
    '--processes, --rerun, --workdir. Did you mean --workdir?',
  ),
  'flag of another command': (
    ['train', '--images=photos'],
    'train: found --images, which it does not take; its flags are --config, --coordinator, --dry_run, --process, '
    '--processes, --rerun, --workdir. Set its data with --config.data.path and',
  ),
  'field without a config': (
    ['predict', '--config.epochs=3'],
    'predict: found --config.epochs, which it does not take',
  ),
  'field that is a flag of the command': (
    ['features', '--images={dir}', '--config.model.name=efficientnet_lite0'],
    'its flags are --images, --model, --out, --skip_bad, --views. Write --model=efficientnet_lite0.',
  ),
  'flag of a command without any': (['strategies', '--workdir=w'], 'found --workdir, which it does not take; it takes'),
  'value of a switch turned off': (['train', '--norerun=1'], '--norerun=1 does not take an argument'),
  'word for a dry run': (['sweep', '--dry_run=foo'], "--dry_run: found 'foo', expected true, false or timed."),
  'no replica': (['kfold', '--replicas=0'], "--replicas: found '0', expected a positive integer."),
  'folder for a switch': (['predict', '--probs=p.npy'], "--probs: found 'p.npy', expected true or false."),
  'text for a number': (['kfold', '--folds=x'], "--folds: found 'x', expected a whole number such as 5."),
  'number of many digits': (['kfold', f'--folds={"9" * 5000}'], "--folds: found '99999"),
  'flag that is not UTF-8': (['find', '--images=\udcff.zip'], '--images=\\udcff.zip: is not UTF-8 text'),
  'control characters': (['train', '--config=\x1b[31mdigits'], "there is no file '\\x1b[31mdigits'"),
  'field without recipe': (['train', '--config.epochs=3'], '--config: missing; expected a recipe such as'),
  'a whole table': (['train', DIGITS, '--config.optim=3'], "--config: there is no field 'optim'. Did you mean 'optim."),
  'element of a list': (
    ['train', DIGITS, '--config.told=(1,None)', '--workdir={dir}/w'],
    "--config: told='(1,None)': expected a list, each element text, such as a,b,c.",
  ),
  'unknown word in a list': (
    ['train', DIGITS, '--config.augment.weak=crop,flop', '--workdir={dir}/w'],
    "augment.weak[1]: unknown value 'flop'. Did you mean 'flip'?",
  ),
  'name too long': (['report', f'--workdir={"w" * 5000}'], 'File name too long'),
  'recipe that is no Python': (['train', '--config={dir}/syntax.py'], '{dir}/syntax.py, line 2: IndentationError: '),
  'recipe without a config': (['train', '--config={dir}/none.py'], '{dir}/none.py: get_config() returns a NoneType;'),
  'recipe of its own fields': (
    ['train', '--config={dir}/own.py'],
    "{dir}/own.py: the config has no field '",
  ),
  'unknown field': (
    ['train', DIGITS, '--config.optim.lrr=1'],
    "--config: there is no field 'optim.lrr'. Did you mean 'optim.lr'? Fields of optim: b1, b2",
  ),
  'value of another type': (
    ['train', DIGITS, '--config.optim.lr=high'],
    "--config: optim.lr='high': expected a finite number such as",
  ),
  'unknown strategy': (
    ['train', DIGITS, '--config.strategy.name=naiv', '--workdir={dir}/w'],
    "strategy.name: unknown value 'naiv'. Did you mean 'naive'? Choices: active_passive, aum",
  ),
  'unknown model': (
    ['train', DIGITS, '--config.model.name=modell_1', '--workdir={dir}/w'],
    "model.name: unknown value 'modell_1'. Did you mean 'model_1'? Choices: cnn9",
  ),
  'unknown source': (
    ['train', DIGITS, '--config.data.source=digit', '--workdir={dir}/w'],
    "data.source: unknown value 'digit'. Did you mean 'digits'? Choices: animal10n, cifar, clothing1m",
  ),
  'contradiction': (
    ['train', DIGITS, '--config.schedule.name=plateau', '--config.data.val=', '--workdir={dir}/w'],
    "schedule.name: 'plateau' needs validation rows, and data.val is empty",
  ),
  'missing data': (
    ['train', DIGITS, '--config.data.source=npz', '--config.data.path={dir}/no.npz', '--workdir={dir}/w'],
    "data.path: there is no file '{dir}/no.npz'",
  ),
  'workdir that is a file': (
    ['train', DIGITS, '--workdir={dir}/file'],
    '{dir}/file: cannot use this workdir: File exists',
  ),
  'field a recipe invented': (
    ['train', '--config={dir}/invented.py', '--workdir={dir}/w'],
    '{dir}/invented.py, line 6: AttributeError: ',
  ),
  'name a recipe does not know': (
    ['train', '--config={dir}/broken.py', '--workdir={dir}/w'],
    '{dir}/broken.py, line 6: NameError: ',
  ),
  'sweep of nothing': (
    ['sweep', DIGITS, '--workdir={dir}/w'],
    'sweep: expected either --grid=field=value,value,… or --sweep',
  ),
  'malformed grid': (
    ['sweep', DIGITS, '--workdir={dir}/w', '--grid=optim.lr'],
    "--grid: found 'optim.lr', expected field=",
  ),
  'no such sweep': (['sweep', DIGITS, '--workdir={dir}/w', '--sweep=s.py'], "--sweep: there is no file 's.py'"),
  'not a run': (
    ['predict', '--workdir={dir}/w', '--images={dir}/w'],
    '{dir}/w: is not a finished run; expected a result.json in it',
  ),
  'report of no run': (['report', '--workdir={dir}/w'], '{dir}/w: is not a finished run'),
}


def test_mistakes_are_one_sentence_exit_code_2_and_no_traceback(tmp_path):
  invented, broken, file = (tmp_path / name for name in ('invented.py', 'broken.py', 'file'))
  for path, line in ((invented, '  c.epoch = 3'), (broken, '  c.epochs = n')):
    path.write_text(f'from configs import base\n\n\ndef get_config():\n  c = base.get_config()\n{line}\n  return c\n')
  file.write_text('')
  (tmp_path / 'syntax.py').write_text('def get_config():\nreturn\n')
  (tmp_path / 'none.py').write_text('def get_config():\n  pass\n')
  (tmp_path / 'own.py').write_text(
    'from ml_collections import ConfigDict\n\n\ndef get_config():\n  return ConfigDict({"lr": 1.0})\n'
  )
  filled = lambda text: text.replace('{dir}', str(tmp_path))
  commands = [[filled(argument) for argument in command] for command, _ in MISTAKES.values()]
  found = runs.launch_all(commands)
  for (name, (_, expected)), (code, out, err) in zip(MISTAKES.items(), found, strict=True):
    assert code == 2, (name, code, err)
    assert err.startswith('error: ') and filled(expected) in err, (name, err)
    assert 'Traceback' not in out + err and not out, (name, out, err)
  assert not list(tmp_path.glob('w/*.json'))


def call(run) -> Call:
  """Returns a call of `train` that runs the given function."""
  command = Command('train', '', '', train.declare, run)
  return parse(['train'], [command])


@pytest.mark.parametrize(
  ('error', 'said'),
  [
    (
      MemoryError('Unable to allocate 9 TiB'),
      'train: not enough memory (Unable to allocate 9 TiB). Expected a smaller',
    ),
    (
      RuntimeError('RESOURCE_EXHAUSTED: Out of memory\nallocating'),
      'not enough memory (RESOURCE_EXHAUSTED: Out of mem',
    ),
    (OSError(28, 'No space left on device', 'w/x'), 'w/x: No space left on device.'),
    (UserError('class \x1b]0;title\x07 \u202etxt.exe'), 'class \\x1b]0;title\\x07 \\u202etxt.exe'),
  ],
)
def test_what_the_machine_refuses_is_one_sentence_too(capsys, error, said):
  def command(values):
    raise error

  with pytest.raises(SystemExit) as exit:
    main.guarded(call(command))
  assert exit.value.code == 2
  err = capsys.readouterr().err
  assert err.startswith('error: ') and said in err and err.count('\n') == 1


def test_a_defect_of_ours_keeps_its_traceback():
  def broken(values):
    raise RuntimeError('a defect')

  with pytest.raises(RuntimeError, match='a defect'):
    main.guarded(call(broken))


def test_a_traceback_holds_no_control_characters(capsys):
  error = ValueError('of a plug-in: \x1b[2J')
  main._show_defect(ValueError, error, None)
  assert capsys.readouterr().err == 'ValueError: of a plug-in: \\x1b[2J\n'


def test_no_name_moves_the_cursor_of_a_terminal(capsys, caplog):
  name = 'a\tb\nc \x1b[2J \x9b1m \r \x07 \u202e \udcff é 🐈'
  log.say(name, 7)
  assert capsys.readouterr().out == 'a\tb\nc \\x1b[2J \\x9b1m \\r \\x07 \\u202e \\udcff é 🐈\n7\n'
  record = logging.LogRecord('noisyjax', logging.INFO, '', 0, '%s: read', ('\x1b[2J',), None)
  assert log._Plain('%(message)s').format(record) == '\\x1b[2J: read'


@pytest.mark.parametrize(
  ('change', 'overrides', 'said'),
  [
    ({'labels': np.full(168, -1), 'verified': np.full(168, -1)}, {}, 'All 168 rows are unlabeled'),
    ({'labels': np.zeros(168, int), 'verified': np.full(168, -1)}, {}, "All labels are 'ant': one class only"),
    (
      {
        'labels': np.minimum(np.arange(168) // 96, 1),
        'true': np.full(168, -1),
        'verified': np.full(168, -1),
        'classes': np.array(['ant', 'bee']),
      },
      {'data__test_labels': 'given'},
      "among its 96 is of one class, 'ant'",
    ),
    ({'labels': np.full(168, 3)}, {}, r'labels: row 0 \(from 0\): .* and 163 more; expected a position in 0\.\.2'),
    ({'labels': np.zeros(167, int)}, {}, 'labels: has 167 labels for 168 images; expected one per image'),
    ({}, {'data__train': '0:200'}, "data.train: '0:200' reaches outside the data, which has 168 rows"),
    ({}, {'rows': 'trusted', 'data__train': '1:4'}, "rows: 'trusted' leaves no row to phase 'naive'"),
    ({}, {'noise__kind': 'symetric'}, "noise.kind: unknown value 'symetric'. Did you mean 'symmetric'"),
  ],
)
def test_data_that_cannot_be_trained_on_is_a_users_mistake(tmp_path, change, overrides, said):
  path = runs.npz(tmp_path / 'data.npz', **change)
  with pytest.raises(UserError, match=said):
    runs.fit(runs.recipe(path, **overrides), tmp_path / 'w')
  assert not (tmp_path / 'w/result.json').exists()


def test_training_rows_without_any_label_are_named(tmp_path):
  labels = runs.arrays()['labels']
  labels[:96] = -1
  path = runs.npz(tmp_path / 'data.npz', labels=labels, verified=np.full(168, -1))
  with pytest.raises(UserError, match=r'data\.train: all 96 rows are unlabeled'):
    runs.fit(runs.recipe(path), tmp_path / 'w')


# The commands that need no training of their own.


def test_strategies_and_inspect_tell_what_there_is(data, tmp_path):
  recipe = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(data))
  listed, inspected = runs.launch_all(
    [['strategies'], ['inspect', f'--config={recipe}', f'--workdir={tmp_path / "w"}']]
  )
  code, out, err = listed
  assert code == 0, err
  rows = {line.split()[0]: line.split() for line in out.split('\n\n')[0].splitlines()}
  assert {'naive', 'clean_correction', 'loss_filter', 'co_teaching', 'l2rw'} <= rows.keys()
  assert rows['naive'][1:4] == ['1', 'nothing', '3']
  assert rows['clean_correction'][1:4] == ['1', 'verified', '3']
  assert rows['co_teaching'][1:4] == ['2', 'rate', '6'] and {'(Han', 'et', 'al.'} <= set(rows['co_teaching'])
  assert rows['loss_filter'][3] == '4'  # a score of all rows every epoch
  assert rows['l2rw'][3] == '11'  # a virtual step and the gradient through it, the verified rows, and the step
  code, out, err = inspected
  assert code == 0, err
  assert '168' in out and 'ant' in out
  assert {p.name for p in (tmp_path / 'w').iterdir()} == {'inspect.txt', 'inspect.png', 'matrix.png', 'lock'}
  Image.open(tmp_path / 'w/inspect.png').verify()


def test_train_prints_its_table_and_report_and_the_same_command_again_does_nothing(data, tmp_path):
  recipe, folder = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(data)), tmp_path / 'w'
  arguments = ('train', f'--config={recipe}', '--config.epochs=2', f'--workdir={folder}')
  code, out, err = runs.launch(*arguments)
  assert code == 0, err
  assert '| naive' in out and str(folder / 'report.html') in out and (folder / 'report.html').exists()
  assert len(runs.lines(folder)) == 2  # the flag counted
  assert runs.read_json(folder / 'environment.json')['command'][-len(arguments) :] == list(arguments)
  (again, refused) = runs.launch_all([arguments, [*arguments, '--config.seed=5']])
  assert again[0] == 0 and 'already finished' in again[2] and again[1] == out
  assert refused[0] == 2 and 'seed: 0 → 5' in refused[2] and 'Traceback' not in refused[2]


# Sweeps and folds.


def test_a_grid_is_the_product_of_its_axes_with_values_as_python_writes_them():
  points = list(grid.grid(['optim.lr=0.1,1e-2', 'augment.weak=(),("crop","flip")', 'model.name=cnn9']))
  assert points == [
    {'optim.lr': lr, 'augment.weak': weak, 'model.name': 'cnn9'}
    for lr in (0.1, 0.01)
    for weak in ((), ('crop', 'flip'))
  ]
  for axis in ('optim.lr', '=1', 'optim.lr='):
    with pytest.raises(UserError, match='--grid: found'):
      list(grid.grid([axis]))


def test_a_sweep_runs_every_point_once_and_groups_seeds(data, tmp_path, caplog):
  points = list(grid.grid(['optim.lr=0.1,0.01', 'seed=0,1']))
  config = runs.recipe(data)
  results, table = sweep.sweep(config, points, str(tmp_path))
  assert [r['seed'] for r in results] == [0, 1, 0, 1]
  folders = {p.name for p in tmp_path.iterdir() if p.is_dir()}
  assert folders == {f'lr={lr},seed={seed}' for lr in (0.1, 0.01) for seed in (0, 1)}
  rows = [line for line in table.splitlines() if line.startswith('| 0')]
  assert len(rows) == 2 and all('±' in row and '(2)' in row for row in rows)
  assert (tmp_path / 'table.md').read_text() == table
  traced = step.train_step._cache_size()
  with caplog.at_level(logging.INFO, 'noisyjax'):
    again, _ = sweep.sweep(config, [*points, {'optim.lr': 0.001}], str(tmp_path))
  assert again[:4] == results and caplog.text.count('already finished') == 4
  assert step.train_step._cache_size() == traced


def test_a_sweep_refuses_a_bad_point_before_it_runs_any(data, tmp_path):
  config = runs.recipe(data)
  for points, said in (
    ([{}, {'optim.lrr': 0.1}], r"sweep point 1 \(lrr=0\.1\): there is no field 'optim\.lrr'"),
    ([{}, {'optim.lr': -1.0}], r'optim\.lr: expected at least 0, found -1'),
    ([{'seed': 1}, {'seed': 2}, {'seed': 1}], r'points 0 and 2 \(seed=1\) are the same'),
    ([{'model.dense.dropout': 0.2}, {'model.model_1.dropout': 0.2}], r'points 0 and 1 \(.*\) would share a folder'),
    ([], 'there is no point to run'),
  ):
    with pytest.raises(UserError, match=said):
      sweep.sweep(config, points, str(tmp_path / 'w'))
  assert not (tmp_path / 'w').exists()


def test_a_folder_is_called_by_what_its_point_sets():
  assert grid.name({'strategy.name': 'naive', 'optim.lr': 0.1, 'seed': 1}) == 'strategy=naive,lr=0.1,seed=1'
  both = {'model.dense.dropout': 0.2, 'model.model_1.dropout': 0.3}
  assert grid.name(both) == 'model.dense.dropout=0.2,model.model_1.dropout=0.3'
  assert grid.name({'data.path': '/a/b', 'augment.weak': ('crop', 'flip')}) == 'path=a_b,weak=crop_flip'
  assert grid.name({}) == 'base'


def test_a_sweep_file_yields_its_points_or_says_why_not(tmp_path):
  file = tmp_path / 'lr.py'
  file.write_text("def sweep():\n  for lr in (0.1, 0.2):\n    yield {'optim.lr': lr, 'seed': 0}\n")
  assert grid.generated(str(file)) == [{'optim.lr': 0.1, 'seed': 0}, {'optim.lr': 0.2, 'seed': 0}]
  file.write_text('points = 3\n')
  for text, message in (
    ('sweeps = 1', r'lr\.py: has no function sweep\(\)'),
    ('def sweep(:', r'lr\.py, line 1: SyntaxError: '),
    ('def sweep():\n  yield {}\n  1 / 0', r'lr\.py, line 3: ZeroDivisionError: '),
    ('def sweep():\n  exit("no")', r'lr\.py, line 2: SystemExit: no'),
    ('def sweep():\n  return 3', r'lr\.py: sweep\(\) returns a int; expected a function sweep\(\)'),
    ('def sweep():\n  yield 0.1', r'lr\.py: point 0 is 0\.1; expected a function sweep\(\)'),
    ('def sweep():\n  yield {1: 2}', r'lr\.py: point 0 is \{1: 2\}; expected a function sweep\(\)'),
    ('\0', r'lr\.py: SyntaxError: source code string cannot contain null bytes'),
  ):
    file.write_text(text)
    with pytest.raises(UserError, match=message):
      grid.generated(str(file))


def test_folds_validate_each_training_row_once_and_report_their_mean(data, tmp_path):
  results, table = kfold.kfold(runs.recipe(data, data__train='0:128', data__val='0.3'), 4, str(tmp_path))
  held = []
  for i, result in enumerate(results):
    samples, _ = parquet.read(tmp_path / f'fold={i}/samples.parquet')
    own = samples['row'][samples['split'] == 'val']
    assert result['data']['rows'] == {
      'train': 128 - len(own),
      'val': len(own),
      'trusted': result['data']['rows']['trusted'],
      'unlabeled': 0,
    }
    accuracy = (samples['predicted'] == samples['given'])[samples['split'] == 'val'].mean()
    assert result['validation']['best'] == pytest.approx(accuracy)
    held += own.tolist()
  assert sorted(held) == list(range(128))
  last = [100 * r['validation']['last'] for r in results]
  assert f'{np.mean(last):.2f} ± {np.std(last, ddof=1):.2f}' in table and (tmp_path / 'table.md').read_text() == table
  assert kfold.kfold(runs.recipe(data, data__train='0:128'), 4, str(tmp_path))[0] == results  # not run twice
  pool = runs.InThisProcess()
  elsewhere, _ = kfold.kfold(runs.recipe(data, data__train='0:128'), 4, str(tmp_path / 'engine'), engine=FanOut(pool))
  assert [r['validation'] for r in elsewhere] == [r['validation'] for r in results] and len(pool.done) == 4
  with pytest.raises(UserError, match='fold=0: holds a fold of another division of the data'):
    kfold.kfold(runs.recipe(data, data__train='0:128'), 3, str(tmp_path))
  with pytest.raises(UserError, match='folds: found 1, expected 2 or more'):
    kfold.kfold(runs.recipe(data), 1, str(tmp_path / 'one'))


def test_folds_may_validate_on_verified_labels_alone_and_stop_early(data, tmp_path):
  config = runs.recipe(data, data__train='0:128', data__val='', data__val_labels='verified', stop__patience=1)
  results, table = kfold.kfold(config, 2, str(tmp_path))
  assert [r['validation']['labels'] for r in results] == ['verified'] * 2 and 'verified labels' in table
  assert sum(r['validation']['rows'] for r in results) == 32  # a quarter of 128 rows is verified


@pytest.mark.slow
def test_kfold_and_sweep_from_the_command_line(data, tmp_path):
  recipe = runs.recipe_file(tmp_path / 'recipe.py', runs.recipe(data))
  file = tmp_path / 'points.py'
  file.write_text("def sweep():\n  for seed in range(2):\n    yield {'seed': seed}\n")
  for arguments, names in (
    (['kfold', '--folds=2'], ['fold=0', 'fold=1']),
    (['sweep', '--grid=optim.lr=0.1,0.2', '--grid=seed=0'], ['lr=0.1,seed=0', 'lr=0.2,seed=0']),
    (['sweep', f'--sweep={file}'], ['seed=0', 'seed=1']),
  ):
    workdir = tmp_path / 'w' / str(len(arguments[1]))
    code, out, err = runs.launch(*arguments, f'--config={recipe}', f'--workdir={workdir}')
    assert code == 0, err
    assert out.startswith((workdir / 'table.md').read_text())
    assert all((workdir / f / 'report.html').exists() for f in names)
    table = (workdir / 'table.md').read_text()
    for made in (workdir / 'table.md', workdir / names[0] / 'report.html'):
      made.unlink()
    code, out, err = runs.launch('report', f'--workdir={workdir}')  # makes anew what is made of finished runs
    assert code == 0 and table in out and (workdir / 'table.md').read_text() == table, err
    assert (workdir / names[0] / 'report.html').exists()


def test_help_names_the_commands_and_the_help_of_each_its_flags():
  overall, *each = runs.launch_all([['--help'], *([*c.name.split(), '--help'] for c in main.COMMANDS)])
  assert overall[0] == 0 and all(f'  {command}\n' in overall[1] for command in main.COMMANDS)
  for command, (code, out, err) in zip(main.COMMANDS, each, strict=True):
    own = command.flags()
    assert code == 0 and not err and out.startswith(f'{command}\n')
    assert out.count('\n  --') == len(own)
    for name in own:
      assert f'--{name}: ' in out or f'--[no]{name}: ' in out


def test_help_on_a_group_lists_its_commands():
  text = help.text(['table', '--help'], main.COMMANDS)
  shown = [line.strip() for line in text.splitlines()[1:-1]]
  assert shown == [str(command) for command in main.COMMANDS if command.name.startswith('table ')]
  assert help.text(['tabel', '--help'], main.COMMANDS) == help.text(['--help'], main.COMMANDS)
  assert help.text(['table', 'log', '--help'], main.COMMANDS).startswith('table log')


def test_a_flag_may_stand_anywhere_and_its_value_apart():
  for arguments in (
    ['find', '--images', 'photos', '--labels=a.csv', '--skip_bad'],
    ['--images', 'photos', '-labels', 'a.csv', 'find', '--skip_bad=true'],
    ['--skip_bad', '--images=photos', '--labels=b.csv', 'find', '--labels=a.csv', '--verbosity=-1'],
  ):
    found = parse(arguments, main.COMMANDS)
    assert found.command.name == 'find' and not found.words
    assert (found.flags.images, found.flags.labels, found.flags.skip_bad) == ('photos', 'a.csv', True)


def test_the_fields_of_a_config_are_set_in_the_order_given():
  values = ['--config.epochs=3', '--noconfig.data.cache', '--config.balance', '--config.epochs', '4']
  config = parse(['train', *values, '--config', 'digits'], main.COMMANDS).flags.config
  assert (config.epochs, config.data.cache, config.balance) == (4, False, True)


def test_a_name_may_be_of_several_words():
  run = lambda values, *words: None
  declare = lambda values: None
  commands = [
    Command(name, '', '', declare, run, word=name == 'table') for name in ('train', 'table', 'table log', 'run a b')
  ]
  names = lambda *arguments: (named(arguments, commands)[0].name, named(arguments, commands)[1])
  assert names('table', 'log', '--x=1') == ('table log', ['--x=1'])
  assert names('--x', '1', 'table', 'log') == ('table log', ['--x', '1'])
  assert names('table', 'digits') == ('table', ['digits'])
  assert names('run', 'a', 'b') == ('run a b', [])
  assert parse(['table', 'digits'], commands).words == ['digits']
  assert parse(['table', 'log'], commands).words == []
  with pytest.raises(UserError, match=r"command: found 'run a'\. Did you mean 'run a b'\?"):
    names('run', 'a')
  with pytest.raises(UserError, match=r"command: found 'tabel'\. Did you mean 'table'\?"):
    names('tabel', 'log')
  with pytest.raises(UserError, match="table log: found 'x' beside the command; expected only flags"):
    parse(['table', 'log', 'x'], commands)


@pytest.mark.parametrize(
  ('typed', 'script', 'wanted'),
  [
    ('python launch.py', 'launch.py', 'python launch.py'),
    ('/venv/bin/python -X dev ../nx/launch.py', '../nx/launch.py', '/venv/bin/python -X dev ../nx/launch.py'),
    ('python3 -m noisyjax', '/site/noisyjax/__main__.py', 'python3 -m noisyjax'),
    ('/venv/bin/python /venv/bin/noisyjax', '/venv/bin/noisyjax', 'noisyjax'),
    ('python -m pytest', '/site/pytest/__main__.py', 'noisyjax'),
    ('jupyter', 'launch.py', 'noisyjax'),
  ],
)
def test_a_command_in_a_message_is_spelled_as_the_program_was_started(monkeypatch, typed, script, wanted):
  monkeypatch.setattr(sys, 'argv', [script, 'table', 'log'])
  monkeypatch.setattr(sys, 'orig_argv', [*typed.split(), *(['table', 'log'] if typed != 'jupyter' else [])])
  assert commands.command('table decide', '--from=my file.csv') == f"{wanted} table decide '--from=my file.csv'"


def test_a_path_in_a_flag_may_begin_at_the_home_folder(monkeypatch):
  monkeypatch.setenv('HOME', '/home/eve')
  call = parse(
    ['features', '--images=~/p.zip', '--model=resnet18:~/w.npz', '--out=~/~/f.npz', '--noskip_bad'], main.COMMANDS
  )
  assert (call.flags.images, call.flags.model) == ('/home/eve/p.zip', 'resnet18:/home/eve/w.npz')
  assert call.flags.out == '/home/eve/~/f.npz'
  call = parse(['train', '--config=digits', '--config.data.train=@~/rows.txt', '--workdir=a~/b'], main.COMMANDS)
  assert (call.flags.config.data.train, call.flags.workdir) == ('@/home/eve/rows.txt', 'a~/b')
  assert parse(['report', '--workdir=~/a,~/b'], main.COMMANDS).flags.workdir == '/home/eve/a,/home/eve/b'


def test_launch_py_and_the_installed_command_start_alike():
  project = tomllib.loads((runs.ROOT / 'pyproject.toml').read_text())['project']
  assert project['scripts'] == {'noisyjax': 'noisyjax.__main__:main'}
  spec = importlib.util.spec_from_file_location('launcher', runs.ROOT / 'launch.py')
  launcher = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(launcher)
  assert launcher.main is __main__.main


def test_the_package_is_imported_without_jax_and_lists_its_names():
  code = (
    'import sys, noisyjax; print(sorted({m.split(".")[0] for m in sys.modules} & {"jax", "numpy", "sklearn"}));'
    'print(all(getattr(noisyjax, name) for name in noisyjax.__all__), noisyjax.__all__ <= dir(noisyjax))'
  )
  done = subprocess.run([sys.executable, '-c', code], cwd=runs.ROOT, capture_output=True, text=True, check=False)
  assert done.stdout.split('\n')[:2] == ['[]', 'True True'], done.stderr


def test_several_folders_are_told_by_commas_which_may_be_of_their_names(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in ('a', 'lr=0.1', 'lr=0.1,seed=0', 'lr=0.1,seed=1'):
    (tmp_path / name).mkdir()
  assert folders('a') == ['a'] and folders('lr=0.1,seed=1') == ['lr=0.1,seed=1']
  assert folders('lr=0.1,seed=0,a,lr=0.1,seed=1') == ['lr=0.1,seed=0', 'a', 'lr=0.1,seed=1']
  assert folders('a,none,,other') == ['a', 'none', 'other']


def test_many_workdirs_are_longer_than_a_name_may_be(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = [f'run{i:03d}' for i in range(60)] + ['lr=0.1,seed=1']
  for name in names:
    (tmp_path / name).mkdir()
  assert folders(','.join(names)) == names
