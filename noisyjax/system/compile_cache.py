"""JAX's persistent compilation cache, in the user's cache folder: a second run of the same program does not compile."""

import hashlib
import os
import platform
from pathlib import Path

import jax


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
  try:
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
  except RuntimeError:  # a user without a home, as in some containers
    return
  jax.config.update('jax_compilation_cache_dir', str(root / 'noisyjax' / 'xla' / _processor()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
