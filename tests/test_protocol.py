"""Which kind of model a class is, by the methods it has."""

import dataclasses

import pytest

from noisyjax.config.build import find_model
from noisyjax.models.cnn9 import Model as Cnn9
from noisyjax.models.protocol import Calibrated, Fitted, is_model, is_trained
from noisyjax.models.small_cnn import Model as SmallCnn
from noisyjax.system import plugins


@pytest.mark.parametrize('name', plugins.names('noisyjax.models', 'Model'))
def test_every_model_is_of_one_kind(name):
  cls = find_model(name)
  assert is_model(cls) and is_trained(cls) == (name != 'histogram') != issubclass(cls, Fitted)
  assert is_trained(cls(classes=3)) == is_trained(cls)


def test_only_a_model_with_a_calibrated_layer_is_calibrated():
  assert isinstance(SmallCnn(3), Calibrated) and not isinstance(Cnn9(3), Calibrated)


def test_a_class_that_cannot_predict_is_no_model():
  @dataclasses.dataclass
  class Half:
    def fit(self, images, labels):
      return {}

  assert not is_model(Half)
