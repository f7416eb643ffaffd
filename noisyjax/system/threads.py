"""Threads that compute ahead of a reader: decoding and reading files release the interpreter lock."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

COUNT = os.cpu_count() or 1


def ahead(function: Callable[[Any], Any], items: Iterable[Any], most: int = 4 * COUNT) -> Iterator[Any]:
  """Yields `function(item)` of each item in order; threads compute at most `most` results ahead of the reader."""
  pool = concurrent.futures.ThreadPoolExecutor(COUNT)
  waiting: collections.deque[concurrent.futures.Future] = collections.deque()
  try:
    for item in items:
      waiting.append(pool.submit(function, item))
      if len(waiting) > most:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(cancel_futures=True)  # after Ctrl-C, do not compute the remaining results
