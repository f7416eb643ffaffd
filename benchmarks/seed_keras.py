"""The seed's own stack (Keras, TensorFlow, scikit-learn) on the rows of our `benchmark` form, to hold ours against.

  python benchmarks/seed_keras.py --part=model_1 --seed=0 --out=model_1_0.json

Models, optimizers, batch sizes, epochs and early stopping are the notebook's, and so are its images: raw, 0..255. What
departs from it is what its figures could not be trusted for:
  rows        train [0, 45000) without 9000..9999, validation 9000..9999, test [45000, 50000). The notebook validated on
              the end of each array: noisy labels for Model I, labels its corrector wrote for Model II (its "65 %").
  scoring     by the true labels, once, after training: the test part, and the labels that the corrector wrote.
  validation  the verified labels, also for Model I, where they are only reported: it has no early stopping.
  reading     Pillow on the zip, not OpenCV on a folder (both give the same RGB); float32, not float64, which Keras
              casts anyway; no TensorBoard callback, whose histograms would count as training time.
As in the notebook, early stopping watches the validation loss and keeps the last weights, not the best.

Parts: baseline (colour histograms, logistic regression), model_1 (noisy labels), corrector (verified labels), model_2
(9,000 verified labels and 35,000 that the corrector wrote). Needs benchmarks/requirements.txt, in an environment of its
own.
"""

import io
import json
import os
import platform
import time
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('tensorflow-cpu', 'keras', 'numpy', 'scikit-learn', 'pillow')

ROWS, CLASSES = 50_000, 10
VERIFIED = np.arange(9_000)  # trained on with their verified labels
VALIDATION = np.arange(9_000, 10_000)
UNVERIFIED = np.arange(10_000, 45_000)  # the rows whose labels the corrector writes
TRAIN = np.concatenate([VERIFIED, UNVERIFIED])
TEST = np.arange(45_000, 50_000)

PART = flags.DEFINE_enum('part', None, ['baseline', 'model_1', 'corrector', 'model_2'], 'What to train.', required=True)
SEED = flags.DEFINE_integer('seed', 0, 'Seeds Python, NumPy and TensorFlow; the baseline has no randomness.')
DATA = flags.DEFINE_string(
  'data',
  str(Path(os.environ.get('NOISYJAX_DATA', '')) / 'weak_supervision'),
  'Folder with images.zip, noisy_labels.csv, clean_labels.csv, true_labels.npy.',
)
OUT = flags.DEFINE_string('out', None, 'The JSON record to write; labels go beside it.', required=True)
LABELS = flags.DEFINE_string('labels', '', 'model_2: the labels a corrector wrote (.npy); empty = train one first.')


@dataclass(frozen=True)
class Data:
  """The seed's data set: row i is `images/{i+1:05d}.png`."""

  images: np.ndarray  # uint8 [N, 32, 32, 3], RGB
  noisy: np.ndarray  # int64 [N]
  verified: np.ndarray  # int64 [10000]
  true: np.ndarray  # int64 [N], for scoring only


def load(folder: Path) -> Data:
  """Reads the zip and the labels.

  Raises:
    SystemExit: a file is missing, or holds another number of rows than the seed's.
  """
  for name in ('images.zip', 'noisy_labels.csv', 'clean_labels.csv', 'true_labels.npy'):
    if not (folder / name).is_file():
      raise SystemExit(f'--data={folder}: no {name}. Expected the layout of the CIFAR seed; or set NOISYJAX_DATA.')
  images = np.empty((ROWS, 32, 32, 3), np.uint8)
  with zipfile.ZipFile(folder / 'images.zip') as archive:
    for row in range(ROWS):
      with Image.open(io.BytesIO(archive.read(f'images/{row + 1:05d}.png'))) as image:
        images[row] = np.asarray(image.convert('RGB'))
  data = Data(
    images,
    noisy=np.loadtxt(folder / 'noisy_labels.csv', dtype=np.int64),
    verified=np.loadtxt(folder / 'clean_labels.csv', dtype=np.int64),
    true=np.load(folder / 'true_labels.npy').astype(np.int64),
  )
  for name, labels, rows in (
    ('noisy_labels.csv', data.noisy, ROWS),
    ('clean_labels.csv', data.verified, 10_000),
    ('true_labels.npy', data.true, ROWS),
  ):
    if labels.shape != (rows,) or labels.min() < 0 or labels.max() >= CLASSES:
      raise SystemExit(f'{folder / name}: expected {rows} labels in 0..{CLASSES - 1}, found shape {labels.shape}.')
  return data


def pixels(data: Data, rows: np.ndarray) -> np.ndarray:
  """float32 `[B, 32, 32, 3]` in 0..255: the notebook trains on raw pixels."""
  return data.images[rows].astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- baseline


def histograms(images: np.ndarray) -> np.ndarray:
  """Pixels in each of 5 bins of each channel: `[B, 32, 32, 3]` -> `[B, 15]`, raw counts."""
  bins = np.linspace(0, 255, 6)
  return np.array([np.concatenate([np.histogram(image[:, :, c], bins=bins)[0] for c in range(3)]) for image in images])


def baseline(data: Data) -> dict:
  from sklearn.linear_model import LogisticRegression

  started = time.perf_counter()
  features = histograms(data.images[TRAIN])
  print(f'features: {time.perf_counter() - started:.1f} s', flush=True)
  fit_started = time.perf_counter()
  classifier = LogisticRegression(random_state=0).fit(features, data.noisy[TRAIN])
  done = time.perf_counter()
  predicted, val_predicted = (classifier.predict(histograms(data.images[rows])) for rows in (TEST, VALIDATION))
  return {
    'test_accuracy': accuracy(predicted, data.true[TEST]),
    'val_accuracy': accuracy(val_predicted, data.verified[VALIDATION]),
    'epochs': int(classifier.n_iter_[0]),  # iterations of L-BFGS
    'seconds': done - started,
    'seconds_fit': done - fit_started,
    'images_per_second': len(TRAIN) / (done - started),
  }


# ---------------------------------------------------------------------------------------------------------- networks


def create_model_I():
  """The notebook's Model I. (It gives `input_shape=(28, 28, 1)` to its second layer, where that has no effect.)"""
  import tensorflow as tf

  return tf.keras.models.Sequential(
    [
      tf.keras.Input((32, 32, 3)),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Conv2D(32, (3, 3), strides=1, padding='same', activation='tanh'),
      tf.keras.layers.MaxPooling2D((2, 2)),
      tf.keras.layers.Conv2D(64, (3, 3), strides=1, padding='same', activation='tanh'),
      tf.keras.layers.MaxPooling2D((2, 2)),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dropout(0.8),
      tf.keras.layers.Dense(30, activation='relu'),
      tf.keras.layers.Dense(10, activation='softmax'),
    ]
  )


def label_cor():
  """The notebook's corrector, and layer for layer its `create_model_II`: ReLU, then dropout, then batch norm."""
  import tensorflow as tf

  return tf.keras.Sequential(
    [
      tf.keras.Input((32, 32, 3)),
      tf.keras.layers.Conv2D(128, (2, 2), activation='relu'),
      tf.keras.layers.Dropout(0.1),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Conv2D(64, (2, 2), activation='relu'),
      tf.keras.layers.Dropout(0.1),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Flatten(),
      tf.keras.layers.Dense(64, activation='relu'),
      tf.keras.layers.Dropout(0.1),
      tf.keras.layers.BatchNormalization(),
      tf.keras.layers.Dense(10, activation='softmax'),
    ]
  )


create_model_II = label_cor


def fit(model, data: Data, rows: np.ndarray, labels: np.ndarray, optimizer, batch_size: int, epochs: int, stop: bool):
  """Trains `model` on `rows` with `labels` (`[B]` each) and returns what each epoch cost and gave.

  Returns:
    One dict an epoch: `seconds` includes the validation pass, `train_seconds` does not; `cpu_seconds / seconds` says
    how many cores the run really had. The first epoch also traces and compiles.
  """
  import tensorflow as tf

  class Clock(tf.keras.callbacks.Callback):
    """Times each epoch and prints one line for it."""

    history: list[dict]

    def on_train_begin(self, logs=None):
      self.history = []

    def on_epoch_begin(self, epoch, logs=None):
      self.start, self.cpu = time.perf_counter(), time.process_time()

    def on_test_begin(self, logs=None):
      self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
      now = time.perf_counter()
      line = {'epoch': epoch + 1, **{name: float(value) for name, value in logs.items()}}
      line |= {
        'seconds': now - self.start,
        'train_seconds': self.trained - self.start,
        'cpu_seconds': time.process_time() - self.cpu,
        'images_per_second': len(rows) / (self.trained - self.start),
        'load': os.getloadavg()[0],
      }
      self.history.append(line)
      print(
        f'epoch {epoch + 1}/{epochs}  loss {line["loss"]:.4f}  accuracy {line["accuracy"]:.4f}  '
        f'val_loss {line["val_loss"]:.4f}  val_accuracy {line["val_accuracy"]:.4f}  '
        f'{line["seconds"]:.1f} s  {line["images_per_second"]:.0f} images/s',
        flush=True,
      )

  clock = Clock()
  model.compile(optimizer=optimizer, loss='sparse_categorical_crossentropy', metrics=['accuracy'])
  model.fit(
    x=pixels(data, rows),
    y=labels,
    batch_size=batch_size,
    epochs=epochs,
    validation_data=(pixels(data, VALIDATION), data.verified[VALIDATION]),
    callbacks=[clock] + [tf.keras.callbacks.EarlyStopping(patience=3)] * stop,
    verbose=0,
  )
  return clock.history


def predict(model, data: Data, rows: np.ndarray) -> np.ndarray:
  """The most probable class of each row: int64 `[B]`."""
  return np.argmax(model.predict(pixels(data, rows), batch_size=256, verbose=0), axis=1)


def summary(model, data: Data, history: list[dict]) -> dict:
  """What a trained network is worth on the test part, and what it cost."""
  warm = history[1:] or history  # the first epoch compiles
  return {
    'test_accuracy': accuracy(predict(model, data, TEST), data.true[TEST]),
    'val_accuracy': history[-1]['val_accuracy'],
    'epochs': len(history),
    'seconds': sum(line['seconds'] for line in history),
    'seconds_per_epoch': float(np.median([line['seconds'] for line in warm])),
    'images_per_second': float(np.median([line['images_per_second'] for line in warm])),
    'parameters': int(model.count_params()),
    'history': history,
  }


def model_1(data: Data) -> dict:
  model = create_model_I()
  history = fit(model, data, TRAIN, data.noisy[TRAIN], 'adam', batch_size=256, epochs=5, stop=False)
  return summary(model, data, history)


def corrector(data: Data) -> tuple[dict, np.ndarray]:
  """Returns the record and the labels written for the unverified rows, `[35000]`."""
  import tensorflow as tf

  model = label_cor()
  optimizer = tf.keras.optimizers.Nadam()
  history = fit(model, data, VERIFIED, data.verified[VERIFIED], optimizer, batch_size=256, epochs=30, stop=True)
  written = predict(model, data, UNVERIFIED)
  return summary(model, data, history) | {'written_labels_accuracy': accuracy(written, data.true[UNVERIFIED])}, written


def model_2(data: Data, written: np.ndarray) -> dict:
  import tensorflow as tf

  labels = np.concatenate([data.verified[VERIFIED], written])
  model = create_model_II()
  history = fit(model, data, TRAIN, labels, tf.keras.optimizers.Nadam(), batch_size=32, epochs=10, stop=True)
  return summary(model, data, history) | {'written_labels_accuracy': accuracy(written, data.true[UNVERIFIED])}


# ------------------------------------------------------------------------------------------------------------- record


def accuracy(predicted: np.ndarray, true: np.ndarray) -> float:
  return float(np.mean(predicted == true))


def machine() -> dict:
  """Where this ran; `nice` and `load` because a shared machine's seconds mean little without them."""
  cpuinfo = Path('/proc/cpuinfo')
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
  return {
    'cpu': names[0] if names else platform.processor(),
    'cpus': os.cpu_count(),
    'platform': platform.platform(),
    'nice': os.nice(0),
    'load': os.getloadavg()[0],
  }


def write_whole(path: Path, save) -> None:
  """Calls `save(file)` on a file beside `path`, then moves it into place: a killed run leaves no half file."""
  part = path.with_name(path.name + '.part')
  with part.open('wb') as file:
    save(file)
  part.replace(path)


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  part, out = PART.value, Path(OUT.value)
  labels_file = out.with_name(out.stem + '_labels.npy')
  out.parent.mkdir(parents=True, exist_ok=True)
  before = machine()

  started = time.perf_counter()
  data = load(Path(DATA.value))
  loaded = time.perf_counter() - started
  print(f'{part}, seed {SEED.value}: {ROWS} images in {loaded:.1f} s', flush=True)

  if part != 'baseline':
    import tensorflow as tf

    tf.keras.utils.set_random_seed(SEED.value)
  if part == 'baseline':
    record = baseline(data)
  elif part == 'model_1':
    record = model_1(data)
  elif part == 'corrector':
    record, written = corrector(data)
    write_whole(labels_file, lambda file: np.save(file, written))
  elif LABELS.value:
    written = np.load(LABELS.value)
    if written.shape != UNVERIFIED.shape:
      raise SystemExit(f'--labels={LABELS.value}: expected shape {UNVERIFIED.shape}, found {written.shape}.')
    record = model_2(data, written) | {'labels': Path(LABELS.value).name}
  else:
    first, written = corrector(data)
    write_whole(labels_file, lambda file: np.save(file, written))
    tf.keras.utils.set_random_seed(SEED.value)  # as a run with --labels starts
    record = model_2(data, written) | {'labels': labels_file.name, 'corrector': first}

  record = {'part': part, 'seed': SEED.value, **record, 'seconds_load': loaded}
  record['versions'] = {'python': platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
  record['machine'] = before
  write_whole(out, lambda file: file.write((json.dumps(record, indent=2) + '\n').encode()))
  print(
    f'{part}, seed {SEED.value}: test accuracy {record["test_accuracy"]:.4f} in {record["seconds"]:.1f} s', flush=True
  )


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  app.run(main)
