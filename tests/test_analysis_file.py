"""The table of an analysis: all columns in one order, nulls where nothing is known, notes in the schema."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from noisyjax.analysis import analysis_file
from noisyjax.analysis.columns import COLUMNS
from noisyjax.system.errors import UserError

NOTES = {'run': 'abc', 'checkpoint': 'best', 'checkpoint_sha256': 'def', 'classes': ['ant', 'bee']}
BLANK = {'int64': 0, 'int32': 0, 'float32': 0.0, 'bool': False, 'str': ''}


def columns(count: int = 3) -> dict:
  """Returns values for the columns that may not be null."""
  return {name: np.full(count, BLANK[c.dtype]) for name, c in COLUMNS.items() if not c.null}


def test_nulls_come_back_as_nulls(tmp_path):
  loss = np.array([0.5, np.nan, 2.0])
  fold = np.ma.masked_array([1, 0, 2], [False, True, False])
  flag = np.ma.masked_array([True, True, False], [False, True, False])
  names = np.array(['a', 'ü', 'a name longer than the others'])
  own = columns() | {'name': names, 'loss': loss, 'fold': fold, 'issue_both': flag}
  analysis_file.write(tmp_path / 'best.parquet', own, NOTES)
  found = analysis_file.read(tmp_path / 'best.parquet')
  assert found.notes == NOTES and list(found.columns) == list(COLUMNS)
  np.testing.assert_array_equal(found['loss'], loss.astype(np.float32))
  np.testing.assert_array_equal(found['fold'], [1, -1, 2])
  np.testing.assert_array_equal(found['issue_both'], [True, False, False])
  np.testing.assert_array_equal(found.known['issue_both'], [True, False, True])
  assert found['name'].tolist() == names.tolist()
  table = pq.read_table(tmp_path / 'best.parquet')
  assert table['loss'].null_count == 1 and table['aum'].null_count == 3
  assert str(table.schema.field('fold').type) == 'int32' and table.schema.metadata[b'run'] == b'"abc"'


def test_a_column_that_the_analysis_lacks_is_refused_and_not_taken_for_evidence(tmp_path):
  analysis_file.write(tmp_path / 'best.parquet', columns(), NOTES)
  found = analysis_file.read(tmp_path / 'best.parquet')
  with pytest.raises(UserError, match=r'lacks oof_loss: null are .* everywhere without --folds'):
    found['oof_loss']
  with pytest.raises(UserError, match="no column 'los'"):
    found.need(['los'])


@pytest.mark.parametrize(
  'wrong', [{'los': np.zeros(3)}, {'entropy': np.array([0, np.nan, 1])}, {'second': np.zeros(2, np.int32)}]
)
def test_wrong_columns_are_refused(tmp_path, wrong):
  with pytest.raises(ValueError, match=next(iter(wrong))):
    analysis_file.write(tmp_path / 'best.parquet', columns() | wrong, NOTES)
  assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named(tmp_path):
  path = tmp_path / 'best.parquet'
  analysis_file.write(path, columns(), NOTES)
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(UserError, match=r'best\.parquet'):
    analysis_file.read(path)
