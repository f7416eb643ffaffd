"""JAX's persistent compilation cache in the user's cache folder: a second run of the same program does not compile."""

import hashlib
import os
import platform
from pathlib import Path

import jax


def processor_flags() -> set[str]:
  """Returns the instruction sets of the processor ("avx2", "sve", …) that Linux lists on x86 and ARM.

  Returns an empty set on other systems.
  """
  try:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    return set()
  flags = next((line for line in lines if line.lower().startswith(('flags', 'features'))), '')
  return set(flags.partition(':')[2].split())


def _processor() -> str:
  """Returns a digest of the processor's features.

  It names the cache folder: compiled code must not be loaded on a machine that lacks the instructions it uses, even if
  several machines share the home folder.
  """
  text = ' '.join(sorted(processor_flags())) or platform.processor() + platform.machine()
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def enable() -> None:
  """Enables the cache, unless the user has set a folder in JAX_COMPILATION_CACHE_DIR."""
  if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    return
  try:
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
  except RuntimeError:  # the user has no home folder, as in some containers
    return
  jax.config.update('jax_compilation_cache_dir', str(root / 'noisyjax' / 'xla' / _processor()))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
