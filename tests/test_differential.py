"""Pretrained networks against PyTorch: the same state dict, written by PyTorch, gives the same logits.

`make test-differential` runs this in an environment of its own; elsewhere, without PyTorch, it is skipped.
"""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from test_pretrained import drawn, empty, logits, model_class, noise, waves

import runs
from noisyjax.models.weights import pretrained

torch = pytest.importorskip('torch', reason='PyTorch is not installed; make test-differential installs it.')
sys.path.append(str(runs.ROOT / 'benchmarks'))
from torch_published import RESNETS, Lite0, ResNet  # noqa: E402


def tensors(reference):
  """A state dict of the reference, drawn by the names of its tensors."""
  shapes = {name: tuple(tensor.shape) for name, tensor in reference.state_dict().items()}
  return {n: torch.tensor(drawn(n, s), dtype=torch.float32) for n, s in shapes.items() if 'num_batches' not in n}


def expected(reference, wants, images):
  """The logits of the reference on uint8 images [n, H, W, C]."""
  x = (images - np.float32(wants.mean)) / np.float32(wants.std)
  with torch.no_grad():
    return reference.eval()(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()


def compared(name, reference, path, images):
  cls = model_class(name)
  model = cls(1000, conv='plain', **({} if name == 'efficientnet_lite0' else {'stem': 'imagenet'}))
  variables = pretrained.load(pretrained.find(cls, str(path), name), cls, empty(model))
  assert_allclose(logits(model, variables, images), expected(reference, cls.input, images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
@pytest.mark.parametrize('name', RESNETS)
def test_a_resnet_of_a_state_dict_of_torchvisions_names_has_its_logits(name, form, tmp_path):
  reference = ResNet(*RESNETS[name])
  reference.load_state_dict(tensors(reference), strict=False)
  path = tmp_path / 'net.pth'
  torch.save(reference.state_dict(), path, _use_new_zipfile_serialization=form == 'zip')
  compared(name, reference, path, noise(2, 96))


def test_efficientnet_lite0_has_the_logits_of_its_published_weights(tmp_path):
  cls = model_class('efficientnet_lite0')
  path = pretrained.find(cls, 'imagenet', 'efficientnet_lite0').path
  reference = Lite0()
  found = torch.load(path, weights_only=True)
  assert not reference.load_state_dict(found, strict=False).missing_keys
  compared('efficientnet_lite0', reference, path, waves(2, 224))
