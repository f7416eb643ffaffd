"""The files of a finished run, read back: what pictures, pages and tables are made of."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax import writer
from noisyjax.errors import UserError


@dataclass(frozen=True)
class Record:
  """The files of one finished run, read."""

  config: dict[str, Any]
  environment: dict[str, Any]
  result: dict[str, Any]
  metrics: list[dict[str, Any]]  # one per epoch
  audit: list[dict[str, Any]]  # one per audited epoch; empty where no truth is known
  samples: dict[str, np.ndarray]  # columns [N] of training and validation rows
  truth: dict[str, np.ndarray] | None  # columns [N] of the rows whose truth is known

  @property
  def classes(self) -> list[str]:
    return [str(name) for name in self.result['data']['classes']]


def read(workdir: str | os.PathLike) -> Record:
  """Reads a finished workdir.

  Raises:
    UserError: naming the missing or damaged file.
  """
  folder = Path(workdir)
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: not a finished run: it has no result.json.')
  audit, truth = folder / 'audit.jsonl', folder / 'audit.parquet'
  return Record(
    config=writer.read_json(folder / 'config.json'),
    environment=writer.read_json(folder / 'environment.json'),
    result=writer.read_json(folder / 'result.json'),
    metrics=writer.read_lines(folder / 'metrics.jsonl'),
    audit=writer.read_lines(audit) if audit.exists() else [],
    samples=writer.read_parquet(folder / 'samples.parquet')[0],
    truth=writer.read_parquet(truth)[0] if truth.exists() else None,
  )


def history(log: Iterable[Mapping[str, Any]], field: str) -> tuple[list[int], list[float]]:
  """The epochs that have the field, and its values there (null becomes NaN, a gap in the line)."""
  points = [(r['epoch'], np.nan if r[field] is None else float(r[field])) for r in log if field in r]
  if all(np.isnan(value) for _, value in points):
    return [], []
  return [epoch for epoch, _ in points], [value for _, value in points]


def nested(result: Mapping[str, Any], dotted: str) -> Any:
  """Returns the value under a dotted name; None where there is none."""
  value: Any = result
  for part in dotted.split('.'):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value
