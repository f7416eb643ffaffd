"""Initializations of weights that several models have."""

from flax import linen as nn

# PyTorch's default for weights of convolutions and linear layers: uniform in ±1 / sqrt(fan_in).
torch_init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
# He et al. 2015, by the fan-out, so that gradients keep their variance backwards.
he_normal = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
