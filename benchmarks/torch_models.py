"""The networks of the speed benchmarks in PyTorch: the same layers and widths as ours, random weights."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
  return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class Block(nn.Module):
  """conv-norm-relu-conv-norm, plus the shortcut, then relu."""

  def __init__(self, inputs: int, outputs: int, stride: int):
    super().__init__()
    self.conv1, self.conv2 = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
    self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
    self.shortcut = nn.Sequential()
    if stride != 1 or inputs != outputs:
      self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

  def forward(self, x):
    y = F.relu(self.norm1(self.conv1(x)))
    return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
  """norm-relu-conv-norm-relu-conv, plus the shortcut."""

  def __init__(self, inputs: int, outputs: int, stride: int):
    super().__init__()
    self.conv1, self.conv2 = conv(inputs, outputs, stride=stride), conv(outputs, outputs)
    self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
    self.shortcut = conv(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

  def forward(self, x):
    y = F.relu(self.norm1(x))
    x = x if self.shortcut is None else self.shortcut(y)
    return x + self.conv2(F.relu(self.norm2(self.conv1(y))))


class ResNet(nn.Module):
  """A 3x3 stem and four stages of two blocks."""

  def __init__(self, block=Block):
    super().__init__()
    layers, inputs = [conv(3, 64), nn.BatchNorm2d(64), nn.ReLU()], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
      layers += [block(inputs, outputs, stride), block(outputs, outputs, 1)]
      inputs = outputs
    self.layers, self.head = nn.Sequential(*layers), nn.Linear(512, 10)

  def forward(self, x):
    return self.head(self.layers(x).mean((2, 3)))


class CNN9(nn.Module):
  """Co-teaching's nine layers."""

  def __init__(self):
    super().__init__()
    layers, inputs = [], 3
    for group, widths in enumerate(((128, 128, 128), (256, 256, 256), (512, 256, 128))):
      for outputs in widths:
        padding = 1 if group < 2 else 0
        layers += [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.01)]
        inputs = outputs
      if group < 2:
        layers += [nn.MaxPool2d(2), nn.Dropout2d(0.25)]
    self.layers, self.head = nn.Sequential(*layers), nn.Linear(128, 10)

  def forward(self, x):
    return self.head(self.layers(x).mean((2, 3)))


class SmallCNN(nn.Module):
  """The small fast CNN."""

  def __init__(self, widths: tuple[int, ...] = (32, 96, 192)):
    super().__init__()
    self.whiten = nn.Conv2d(3, 12, 2, bias=False).requires_grad_(False)
    self.layers, self.norms, inputs = nn.ModuleList(), nn.ModuleList(), 24
    for width in widths:
      self.layers += [conv(inputs, width), conv(width, width)]
      self.norms += [nn.BatchNorm2d(width), nn.BatchNorm2d(width)]
      inputs = width
    self.head = nn.Linear(inputs, 10, bias=False)

  def forward(self, x):
    x = self.whiten(x)
    x = F.gelu(torch.cat([x, -x], 1), approximate='tanh')
    for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):
      x = layer(x)
      x = F.gelu(norm(F.max_pool2d(x, 2) if i % 2 == 0 else x), approximate='tanh')
    return self.head(x.amax((2, 3))) / 9


def model_2() -> nn.Module:
  """The course project's Model II."""
  after = lambda channels, norm: [nn.ReLU(), nn.Dropout(0.1), norm(channels)]
  return nn.Sequential(
    nn.Conv2d(3, 128, 2),
    *after(128, nn.BatchNorm2d),
    nn.Conv2d(128, 64, 2),
    *after(64, nn.BatchNorm2d),
    nn.Flatten(),
    nn.Linear(64 * 30 * 30, 64),
    *after(64, nn.BatchNorm1d),
    nn.Linear(64, 10),
  )


MODELS = {
  'resnet18': ResNet,
  'preact_resnet18': lambda: ResNet(PreActBlock),
  'cnn9': CNN9,
  'small_cnn': SmallCNN,
  'model_2': model_2,
}
