"""JAX's persistent compilation cache, in the user's cache folder: a second run of the same program does not compile."""

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache


def processor_flags() -> set[str]:
  """Returns what the processor can do ("avx2", "sve", …), as Linux says on x86 and ARM; elsewhere nothing."""
  try:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    return set()
  flags = next((line for line in lines if line.lower().startswith(('flags', 'features'))), '')
  return set(flags.partition(':')[2].split())


def _processor() -> str:
  """Returns what code was compiled for: a folder shared between machines must not hand one the other's instructions."""
  text = ' '.join(sorted(processor_flags())) or platform.processor() + platform.machine()
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def enable() -> None:
  """Turns the cache on, unless the user chose a folder (JAX_COMPILATION_CACHE_DIR) of their own."""
  if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    return
  root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
  jax.config.update('jax_compilation_cache_dir', str(root / 'noisyjax' / 'xla' / _processor()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def forbid() -> None:
  """Turns the cache off for the rest of the process: a program is about to be made that must not be kept."""
  if jax.config.jax_enable_compilation_cache:
    _switch(False)


@contextlib.contextmanager
def spared() -> Iterator[None]:
  """What is forbidden within is allowed again after it, for whoever knows that no such program is left by then."""
  before = jax.config.jax_enable_compilation_cache
  try:
    yield
  finally:
    _switch(before)


def _switch(on: bool) -> None:
  jax.config.update('jax_enable_compilation_cache', on)
  reset_cache()  # JAX looks at the option once
