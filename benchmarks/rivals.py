"""The networks of benchmarks/cpu.py in PyTorch and Keras: channels last, fused optimizer; PyTorch eager, not compiled.

They are written as one would in either: our small CNN leaves out the odd row and column that its pooling drops, and has
whitened patches of both signs from one convolution; theirs compute them, and change the sign.
Each function returns two: one that trains a pass over random images and waits for it, one that predicts them. Both
train by SGD with Nesterov momentum and weight decay on cross-entropy, without augmentation, like ours in cpu.py.
Needs benchmarks/requirements.txt, in an environment of its own.
"""

import contextlib
import os

import numpy as np

CHUNK = 512  # images a forward pass when predicting, as ours


def torch_epochs(part: str, batch: int, images: np.ndarray, labels: np.ndarray, low: bool = False):
  """PyTorch; `low`: bfloat16 by autocast."""
  import torch
  import torch_models

  torch.manual_seed(0)
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  model = torch_models.MODELS[part]().to(memory_format=torch.channels_last)
  learnt = [p for p in model.parameters() if p.requires_grad]
  optimizer = torch.optim.SGD(learnt, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
  pixels, answers = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels).long()
  computing = (lambda: torch.autocast('cpu', torch.bfloat16)) if low else contextlib.nullcontext
  normalised = lambda x: ((x.float() - 120.0) / 60.0).contiguous(memory_format=torch.channels_last)

  def train():
    model.train()
    for rows in torch.randperm(len(pixels)).split(batch):
      optimizer.zero_grad(set_to_none=True)
      with computing():
        loss = torch.nn.functional.cross_entropy(model(normalised(pixels[rows])), answers[rows])
      loss.backward()
      optimizer.step()

  def predict():
    model.eval()
    with torch.inference_mode(), computing():
      for part in pixels.split(CHUNK):
        model(normalised(part)).float().softmax(-1).numpy()

  return train, predict


def torch_low_epochs(part, batch, images, labels):
  return torch_epochs(part, batch, images, labels, low=True)


def keras_epochs(part: str, batch: int, images: np.ndarray, labels: np.ndarray):
  """Keras on TensorFlow; the seed's own networks are those of seed_keras.py."""
  import seed_keras
  import tensorflow as tf

  def small_cnn(widths=(32, 96, 192)):
    layers = tf.keras.layers
    x = images_in = tf.keras.Input((32, 32, 3))
    x = layers.Conv2D(12, 2, use_bias=False, trainable=False)(layers.Rescaling(1 / 60, -2.0)(x))
    x = tf.keras.activations.gelu(layers.Concatenate()([x, layers.Rescaling(-1.0)(x)]), approximate=True)
    for width in widths:
      for pooled in (True, False):
        x = layers.Conv2D(width, 3, padding='same', use_bias=False)(x)
        x = layers.BatchNormalization()(layers.MaxPooling2D()(x) if pooled else x)
        x = tf.keras.activations.gelu(x, approximate=True)
    x = layers.Dense(10, activation='softmax', use_bias=False)(layers.GlobalMaxPooling2D()(x))
    return tf.keras.Model(images_in, x)

  parts = {
    'model_1': seed_keras.create_model_I,
    'corrector': seed_keras.label_cor,
    'model_2': seed_keras.create_model_II,
  }
  model = (parts | {'small_cnn': small_cnn})[part]()
  optimizer = tf.keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
  model.compile(optimizer=optimizer, loss='sparse_categorical_crossentropy', metrics=['accuracy'])
  pixels = images.astype(np.float32)
  return (
    lambda: model.fit(pixels, labels, batch_size=batch, epochs=1, verbose=0),
    lambda: model.predict(pixels, batch_size=CHUNK, verbose=0),
  )
