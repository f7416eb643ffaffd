"""What a compiled program exchanges between devices and with the host, read from its text (XLA's optimized HLO)."""

import dataclasses
import math
import re

KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
BYTES = {'pred': 1, 'bf16': 2} | {f'{kind}{bits}': bits // 8 for kind in 'sufc' for bits in (8, 16, 32, 64, 128)}
_INSTRUCTION = re.compile(rf'^\s*(?:ROOT )?%?\S+ = (.*?) ({"|".join(KINDS)})(-start)?\(', re.MULTILINE)
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
# What makes a device wait for the host: callbacks of Python (custom calls), and transfers within a program.
_HOST = re.compile(r'custom_call_target="[^"]*callback[^"]*"| (?:infeed|outfeed|send|recv)\(')


@dataclasses.dataclass(frozen=True)
class Collective:
  """An operation in which all devices take part. The body of a loop counts once.

  Attributes:
    kind: one of KINDS.
    size: bytes of its result on one device.
    shapes: its results, such as "f32[512,10]".
    origin: the operation in the program from which the compiler made it.
  """

  kind: str
  size: int
  shapes: str
  origin: str

  def sent(self, devices: int) -> float:
    """Returns the bytes that each of the devices sends if they form a ring."""
    others = devices - 1
    parts = {'all-reduce': 2 * others / devices, 'reduce-scatter': others, 'collective-permute': 1.0}
    return self.size * parts.get(self.kind, others / devices)


def collectives(text: str) -> list[Collective]:
  """Returns the collective operations of a program, in the order of its text.

  TPUs compute beside an operation, which the text then names once for each part of that computation: those of one
  channel are one operation.
  """
  found, channels = [], set()
  for match in _INSTRUCTION.finditer(text):
    result, kind, start = match.groups()
    line = text[match.start() : text.find('\n', match.end())]
    channel = re.search(r'channel_id=(\d+)', line)
    if channel and channel.group(1) in channels:
      continue
    channels.add(channel and channel.group(1))
    arrays = [array for array in _ARRAY.findall(result) if array[0] in BYTES]
    if start and kind != 'all-reduce':  # operands, results, and counters without dimensions
      arrays = [array for array in arrays if array[1]]
      arrays = arrays[len(arrays) // 2 :]
    origin = re.search(r'op_name="([^"]*)"', line)
    size = sum(BYTES[dtype] * math.prod(map(int, filter(None, shape.split(',')))) for dtype, shape in arrays)
    shapes = ' '.join(f'{dtype}[{shape}]' for dtype, shape in arrays)
    found.append(Collective(kind, size, shapes, origin.group(1) if origin else ''))
  return found


def host_transfers(text: str) -> int:
  """Returns the number of operations that exchange data with the host while the program runs."""
  return len(_HOST.findall(text))


def float64(text: str) -> int:
  """Returns the number of arrays in double precision that a program names."""
  return len(re.findall(r'\b(?:f64|c128)\[', text))
