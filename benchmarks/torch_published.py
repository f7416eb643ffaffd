"""Networks with published weights in PyTorch: torchvision's ResNets and EfficientNet-Lite0, with their names of layers.

`tests/test_differential.py` compares ours with these, and `benchmarks/features.py` their speed.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

# EfficientNet-Lite0, a stage: blocks, size of the depthwise kernel, stride of the first block, expansion, channels.
STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


def conv(inputs, outputs, size, stride=1):
  return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class Basic(nn.Module):
  """Two 3x3 convolutions."""

  growth = 1

  def __init__(self, inputs, width, stride):
    super().__init__()
    self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
    self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
    if stride != 1 or inputs != width:
      self.downsample = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

  def body(self, x):
    return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

  def forward(self, x):
    return F.relu(self.body(x) + (self.downsample(x) if hasattr(self, 'downsample') else x))


class Bottleneck(Basic):
  """1x1, 3x3 and 1x1 convolutions; the stride is in the second."""

  growth = 4

  def __init__(self, inputs, width, stride):
    nn.Module.__init__(self)
    self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
    self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
    self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
    if stride != 1 or inputs != 4 * width:
      self.downsample = nn.Sequential(conv(inputs, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))

  def body(self, x):
    x = F.relu(self.bn1(self.conv1(x)))
    return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(x)))))


class ResNet(nn.Module):
  """torchvision's ResNet with its first stage `width` channels wide instead of 64."""

  def __init__(self, block, blocks, width=64, classes=1000):
    super().__init__()
    self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
    inputs = width
    for stage, count in enumerate(blocks):
      layers = []
      for number in range(count):
        layers.append(block(inputs, width << stage, 2 if stage and not number else 1))
        inputs = (width << stage) * block.growth
      setattr(self, f'layer{stage + 1}', nn.Sequential(*layers))
    self.fc = nn.Linear(inputs, classes)

  def forward(self, x):
    x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
    x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
    return self.fc(x.mean((2, 3)))


class Same(nn.Conv2d):
  """A convolution with TensorFlow's 'SAME' padding, which pads the far side more."""

  def forward(self, x):
    for axis in (-1, -2):
      side, size, stride = x.shape[axis], self.kernel_size[axis], self.stride[axis]
      total = max((-(-side // stride) - 1) * stride + size - side, 0)
      x = F.pad(x, ((0, 0) if axis == -2 else ()) + (total // 2, total - total // 2))
    return super().forward(x)


def norm(channels):
  return nn.BatchNorm2d(channels, eps=1e-3)


class MBConv(nn.Module):
  """An inverted bottleneck."""

  def __init__(self, inputs, outputs, size, stride, expansion):
    super().__init__()
    inner = inputs * expansion
    if expansion > 1:
      self._expand_conv, self._bn0 = Same(inputs, inner, 1, bias=False), norm(inner)
    self._depthwise_conv = Same(inner, inner, size, stride, groups=inner, bias=False)
    self._bn1 = norm(inner)
    self._project_conv, self._bn2 = Same(inner, outputs, 1, bias=False), norm(outputs)
    self.adds = stride == 1 and inputs == outputs

  def forward(self, x):
    y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, '_expand_conv') else x
    y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
    return x + y if self.adds else y


class Lite0(nn.Module):
  """EfficientNet-Lite0."""

  def __init__(self):
    super().__init__()
    self._conv_stem, self._bn0 = Same(3, 32, 3, 2, bias=False), norm(32)
    blocks, inputs = [], 32
    for count, size, stride, expansion, outputs in STAGES:
      for number in range(count):
        blocks.append(MBConv(inputs, outputs, size, stride if number == 0 else 1, expansion))
        inputs = outputs
    self._blocks = nn.Sequential(*blocks)
    self._conv_head, self._bn1 = Same(inputs, 1280, 1, bias=False), norm(1280)
    self._fc = nn.Linear(1280, 1000)

  def forward(self, x):
    x = self._blocks(F.relu6(self._bn0(self._conv_stem(x))))
    return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


RESNETS = {
  'resnet18': (Basic, (2, 2, 2, 2)),
  'resnet34': (Basic, (3, 4, 6, 3)),
  'resnet50': (Bottleneck, (3, 4, 6, 3)),
}


def main(batch: int, side: int, repeats: int) -> None:
  """Prints the images per second through EfficientNet-Lite0, eager and compiled."""
  net, images = Lite0().eval(), torch.randn(batch, 3, side, side)
  for name, call in (('eager', net), ('compiled', torch.compile(net))):
    times = []
    with torch.inference_mode():
      call(images)
      for _ in range(repeats):
        started = time.perf_counter()
        call(images)
        times.append(time.perf_counter() - started)
    print(f'PyTorch, {name}: {batch / statistics.median(times):.1f} images per second', flush=True)


if __name__ == '__main__':
  main(*map(int, sys.argv[1:]))
