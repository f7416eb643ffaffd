"""A non-finite first loss: the message names the first non-finite value and does not suggest another learning rate."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import noisyjax
import runs
import tiny
from noisyjax.engine import train
from noisyjax.engine.net import Net
from noisyjax.models import small_cnn
from noisyjax.strategies import naive
from noisyjax.system.errors import Diverged


class Silent:
  """Hooks that only let a run go by."""

  begin = step = epoch = lambda self, *args: None


class Overflows(nn.Module):
  """Its second layer leaves float32's range; its parameters do not. `hidden`: the loss is finite all the same."""

  classes: int = tiny.CLASSES
  hidden: bool = False

  @nn.compact
  def __call__(self, images, train):
    x = nn.Dense(4, name='last_by_name')(images.reshape(len(images), -1))
    x = nn.Dense(4, name='huge', kernel_init=nn.initializers.constant(3e38))(1 + jnp.abs(x))
    if self.hidden:
      x = nn.relu(nn.BatchNorm(not train, name='norm')(x))
    return nn.Dense(self.classes, name='head')(x), x


class Infinite(naive.Strategy):
  """A loss that is infinite whatever the networks say."""

  def loss(self, params, state, batch, ctx):
    loss, out = super().loss(params, state, batch, ctx)
    return loss + jnp.inf, out


BEFORE = "The initial networks of phase 'test' are not finite: "
AT = 'not finite at step 1, before any update: '


def message(phase, data=None):
  with pytest.raises(Diverged) as found:
    train.fit([phase], data or tiny.data(), None, tiny.ROOT, Silent())
  assert 'lr' not in str(found.value) and 'learning rate' not in str(found.value)
  return str(found.value)


def planted(monkeypatch, name):
  """Makes `Net.init` leave one NaN in the leaf of this name."""
  real = Net.init

  def init(self, key, images):
    def plant(tree):
      return {
        k: plant(v) if isinstance(v, dict) else v.at[(0,) * v.ndim].set(jnp.nan) if k == name else v
        for k, v in tree.items()
      }

    return tuple(map(plant, real(self, key, images)))

  monkeypatch.setattr(Net, 'init', init)


NAIVE = naive.Strategy.build()


@pytest.mark.parametrize(
  ('name', 'said'), [('kernel', "parameter 'conv/kernel', 1 of 36"), ('var', "statistic 'norm/var', 1 of 4")]
)
def test_a_number_that_begins_as_nan_is_named(name, said, monkeypatch):
  planted(monkeypatch, name)
  assert BEFORE + said in message(tiny.phase(NAIVE))


@pytest.mark.parametrize('field', ['mean', 'std'])
def test_a_statistic_of_the_pixels_is_named(field):
  """The ReLU of NaN is 0 on a CPU: without a look the loss would be finite, and nothing ever learnt."""
  spec = tiny.spec()
  bad = dataclasses.replace(spec, net=dataclasses.replace(spec.net, **{field: (float('nan'),)}))
  assert f'{BEFORE}the pixel {field} of the images is (nan,) (from the data or from model.{field})' in message(
    tiny.phase(NAIVE, bad)
  )


@pytest.mark.parametrize('per_call', [1, 3])  # on GPUs several steps are one call
def test_a_layer_that_overflows_is_named(per_call):
  text = message(tiny.phase(NAIVE, tiny.spec(model=Overflows()), per_call=per_call))
  assert f"The loss is {AT}in the output of layer 'huge' for the first batch, 64 of 64 numbers are" in text


def test_a_layer_whose_overflow_a_relu_hides_is_named():
  text = message(tiny.phase(NAIVE, tiny.spec(model=Overflows(hidden=True))))
  assert f"{AT}in the output of layer 'huge' for the first batch, 64 of 64 numbers are" in text


def test_weights_and_a_loss_of_its_own_are_named():
  weighty = dataclasses.replace(tiny.data(), weight=np.full(tiny.ROWS, np.inf, np.float32))
  assert f"{AT}'weight' in the first batch of stream 'train' is not finite" in message(tiny.phase(NAIVE), weighty)
  assert f"{AT}the loss of strategy 'test' is not finite, although" in message(tiny.phase(Infinite.build()))


def test_networks_of_a_later_phase_that_begin_anew_are_looked_at_too(monkeypatch):
  plan = [tiny.phase(NAIVE, epochs=1), tiny.phase(NAIVE, epochs=1, reset='all')]
  train.fit(plan, tiny.data(), None, tiny.ROOT, Silent())
  real = train.enter

  def enter(phase, number, *args, **more):
    if number == 1:
      planted(monkeypatch, 'kernel')
    return real(phase, number, *args, **more)

  monkeypatch.setattr(train, 'enter', enter)
  with pytest.raises(Diverged, match="are not finite: parameter 'conv/kernel'"):
    train.fit(plan, tiny.data(), None, tiny.ROOT, Silent())


def test_a_later_loss_keeps_its_advice():
  images, labels = runs.arrays()['images'], runs.arrays()['labels']
  config = runs.recipe(optim__lr=1e9, data__val='', epochs=20)
  with pytest.raises(Diverged, match=r'not finite at step \d+\. Try a smaller optim\.lr'):
    noisyjax.find_label_issues(images, labels, folds=2, config=config)


def test_find_and_train_say_it_of_the_whitening_layer(monkeypatch, tmp_path):
  monkeypatch.setattr(small_cnn, 'whitening', lambda images, floor=0.0: np.full((4, 4), np.nan, np.float32))
  path = runs.npz(tmp_path / 'data.npz')
  config = runs.recipe(path, model__name='small_cnn', model__small_cnn__widths=(4,), epochs=1)
  said = "networks of phase 'naive' are not finite: statistic 'whiten', 16 of 16 numbers"
  with pytest.raises(Diverged, match=said) as found:
    runs.fit(config, tmp_path / 'w')
  assert 'optim.lr' not in str(found.value)
  assert not (tmp_path / 'w/metrics.jsonl').exists()
  config.data.val = ''
  with pytest.raises(Diverged, match=said) as found:
    noisyjax.find_label_issues(runs.arrays()['images'], runs.arrays()['labels'], folds=2, config=config)
  assert 'optim.lr' not in str(found.value)
