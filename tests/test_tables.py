"""Tables as Markdown, CSV and LaTeX, with and without a test part."""

import csv
import io

import pytest
from scipy import stats

from noisyjax.reports import report, tables
from noisyjax.reports.tables import Spread, Table

TABLE = Table(
  ('method', 'a_b %', 'told'),
  [('co_teaching & <x> \\ 5^2', Spread(60, 10.0, 3, (51.234, 68.1)), 'rate'), ('naïve ~$', Spread(50, None, 1), None)],
  ('Not equal: a → b_c.',),
)


def test_markdown_is_as_it_was_written_down():
  assert str(TABLE).splitlines() == [
    r'| method                  | a_b %                            | told |',
    r'|-------------------------|----------------------------------|------|',
    r'| co_teaching & <x> \ 5^2 | 60.00 ± 10.00 (3) [51.23, 68.10] | rate |',
    r'| naïve ~$                | 50.00 (1)                        | -    |',
    '',
    'Not equal: a → b_c.',
  ]


def test_csv_has_no_dust_of_floats():
  assert Table(('last',), [[Spread(83.74999999999999, None, 1)]]).csv().splitlines()[1].startswith('83.75,')


def test_csv_has_a_column_a_number():
  rows = list(csv.reader(io.StringIO(TABLE.csv())))
  assert rows[0] == ['method', 'a_b %', 'a_b % std', 'a_b % n', 'a_b % low', 'a_b % high', 'told']
  assert rows[1] == ['co_teaching & <x> \\ 5^2', '60', '10.0', '3', '51.234', '68.1', 'rate']
  assert rows[2] == ['naïve ~$', '50', '', '1', '', '', '']


def test_latex_is_escaped_and_of_booktabs():
  assert TABLE.latex().splitlines() == [
    r'% \usepackage{booktabs}',
    r'\begin{tabular}{lrl}',
    r'\toprule',
    r'method & a\_b \% & told \\',
    r'\midrule',
    r'co\_teaching \& \textless{}x\textgreater{} \textbackslash{} 5\textasciicircum{}2 & '
    r'60.00 $\pm$ 10.00 (3) [51.23, 68.10] & rate \\',
    r'naïve \textasciitilde{}\$ & 50.00 (1) & - \\',
    r'\bottomrule',
    r'\multicolumn{3}{p{0.9\linewidth}}{\footnotesize Not equal: a $\rightarrow$ b\_c.} \\',
    r'\end{tabular}',
  ]
  assert tables.latex('a\x1b[31m\nb') == 'a {[}31m b'  # a row that begins with [ would be read as a length


def run(seed=0, strategy='naive', rows=40, last=0.75, test=None, **fields):
  """A result with validation, and a test accuracy or none."""
  validation = {'labels': 'given', 'rows': rows, 'last': last, 'best': last + 0.05} if rows else None
  audit = {'test_rows': 0} if test is None else {'test_rows': 9, 'last': test, 'mean_last_10': test, 'oracle': test}
  return {'strategy': strategy, 'seed': seed, 'seconds': 2.0, 'validation': validation, 'audit': audit} | fields


def test_without_test_rows_a_table_shows_validation():
  table = report.table([run(0), run(1, last=0.85), run(strategy='gce', rows=20)], ('strategy',))
  best = 'validation best epoch (optimistic)'
  assert table.head == ('strategy', 'validation last', best, 'validated on', 'seconds', 'told')
  low, high = stats.binomtest(32, 40).proportion_ci(0.95, 'wilson')
  assert table.rows[0][1].text() == f'80.00 ± 7.07 (2) [{100 * low:.2f}, {100 * high:.2f}]'
  assert table.rows[0][3] == '40 rows, given labels' and table.rows[1][3] == '20 rows, given labels'
  assert '| - ' not in str(table) and 'Wilson' in str(table) and 'Not equal: validation rows: 40, 20.' in str(table)


def test_with_test_rows_everywhere_a_table_shows_those_alone():
  head = report.table([run(test=0.9)], ('strategy',)).head
  assert 'last' in head and not any('valid' in name for name in head if name != 'best by validation')


def test_with_test_rows_here_and_there_a_table_shows_both():
  table = report.table([run(test=0.9), run(strategy='gce')], ('strategy',))
  assert table.rows[0][1].text() == '90.00 (1)' and table.rows[1][1] is None
  column = table.head.index('validation last')
  assert all(row[column].mean == pytest.approx(75) for row in table.rows)


def test_nothing_to_score_is_said():
  table = report.table([run(rows=0)], ('strategy',))
  assert table.head == ('strategy', 'seconds', 'told') and 'There are no test or validation rows' in str(table)
