"""All config fields of a run with their defaults, from which recipes (by `configs/base.py`) and library calls start.

Every field is a flag: `--config.optim.lr=0.05`. Unknown fields are refused. `launch.py fields` prints the comments.
"""

from ml_collections import ConfigDict

from noisyjax.config.plugin_fields import model_fields, strategy_fields


def get_config() -> ConfigDict:
  """Returns the default config."""
  c = ConfigDict()
  c.seed = 0  # seed of initialization, order, augmentation and dropout (data and noise have their own)
  c.epochs = 20  # epochs of the whole run, unless `phases` sets them
  c.batch_size = 128  # rows per step; fewer if there are fewer rows
  c.eval_batch_size = 500  # rows per forward pass when scoring
  c.steps_per_epoch = 0  # 0: one pass over the rows of the strategy's first stream; -10: the same, but at least 10
  c.phases = ()  # ((strategy, epochs, {'optim.lr': 0.1, …}), …); (): the phases that the strategy plans for `epochs`
  c.rows = 'all'  # rows that a phase uses: all, labeled (a given label), trusted (a verified label), untrusted
  c.labels = ''  # at the start of a phase: given, verified, both (verified, else given); '': as before (first: given)
  c.reset = 'none'  # parameters that a phase reinitializes: none, all, head, or a regular expression on paths
  c.freeze = ''  # parameters that are not trained: a regular expression on paths ("^conv|norm"); '': none
  c.ema = 0.0  # decay of the averaged weights and running statistics used in evaluation; 0: no averaging
  c.ema_ramp = 0.0  # steps over which that decay rises as exp(-5 (1 - t)²); 0: at most (1 + step)/(10 + step)
  c.mixup = 0.0  # alpha of mixup; 0: none
  c.balance = False  # visit the labeled rows class by class in turn, so that all classes are seen equally often
  c.told = ()  # further knowledge by which these values were chosen, such as 'noise rate'; results report it
  c.select = 'best'  # epoch of the last phase to report: best (by validation accuracy; last without it) or last

  c.strategy = strategy_fields()  # name, and a table of fields per strategy: --config.strategy.co_teaching.forget=0.4
  c.strategy.name = 'naive'

  c.model = model_fields()  # name, and a table of fields per model: --config.model.resnet18.width=0.5
  c.model.name = 'small_cnn'
  c.model.dtype = 'float32'  # compute type: float32 or bfloat16; parameters stay float32
  c.model.conv = 'auto'  # plain (XLA), or on CPUs matmul, onednn, amx (bfloat16); auto: the fastest in float32
  c.model.mean = ()  # pixel mean per channel, in 0-255; (): of the training images
  c.model.std = ()
  c.model.weights = ''  # what networks begin from, also after reset: imagenet or a file, @96: at 96 pixels; '': random
  c.model.freeze_stats = False  # batch norm uses the running statistics while training, and leaves them as they are
  c.model.vmap = False  # run M networks as one vmapped call instead of one after another

  c.optim = ConfigDict()
  c.optim.name = 'sgd'  # sgd, adam, adamw, nadam
  c.optim.lr = 0.05
  c.optim.decay = 5e-4  # weight decay
  c.optim.kernels_only = True  # exempt biases and batch norm from weight decay
  c.optim.momentum = 0.9  # momentum of sgd
  c.optim.nesterov = True
  c.optim.b1 = 0.9  # first decay rate of adam, adamw and nadam
  c.optim.b2 = 0.999
  c.optim.eps = 1e-8
  c.optim.layer_decay = 1.0  # factor on the learning rate from each block to the one before it; 1: one rate for all
  c.optim.clip = 0.0  # maximum global gradient norm of each network; 0: no clipping

  c.schedule = ConfigDict()
  c.schedule.name = 'cosine'  # constant, step, cosine, quarter_cosine, one_cycle, warm_restarts, plateau
  c.schedule.warmup = 0.0  # epochs of linear warmup
  c.schedule.final = 0.0  # final learning rate of the cosines, one_cycle and restarts, as a factor
  c.schedule.milestones = (50.0, 75.0)  # epochs at which step reduces the learning rate
  c.schedule.factor = 0.1  # factor on the learning rate at each reduction of step or plateau
  c.schedule.restart = 10.0  # period of warm_restarts, in epochs
  c.schedule.peak = 0.25  # fraction of the phase at which one_cycle reaches its maximum
  c.schedule.patience = 5  # epochs without improvement on validation before plateau reduces the rate

  c.stop = ConfigDict()
  c.stop.patience = 0  # epochs without improvement on validation before a phase ends; 0: never ends early
  c.stop.metric = 'val_loss'  # val_loss or val_accuracy; plateau uses it, too
  c.stop.delta = 0.0  # minimum change that counts as improvement

  c.augment = ConfigDict()
  # Ops in order: crop, reflect_crop, flip, rotate, jitter, resized_crop, cutout, random_cutout, rand_augment,
  # auto_augment, signed_auto_augment, jpeg.
  c.augment.weak = ('crop', 'flip')  # ops of the first view
  c.augment.strong = ('crop', 'flip', 'rand_augment', 'random_cutout')  # second view: FixMatch, SOP+, SSR+, ProMix
  c.augment.rotation = 15.0  # maximum angle of rotate, in degrees
  c.augment.brightness = 0.4
  c.augment.contrast = 0.4
  c.augment.saturation = 0.4
  c.augment.hue = 0.1
  c.augment.scale = (0.2, 1.0)  # range of the area of resized_crop
  c.augment.ratio = (3 / 4, 4 / 3)
  c.augment.magnitude = 10.0  # magnitude of rand_augment, 0-10
  c.augment.draws = 3  # number of ops of rand_augment
  c.augment.probability = 1.0  # probability that a drawn op is applied
  c.augment.quality = (50.0, 95.0)  # quality range of jpeg, 1-100
  c.augment.pad = 0.125  # padding of crop: pixels, or below 1 a fraction of the image's side (4 pixels of 32)
  c.augment.cutout = 0.5  # side of the hole of cutout, maximum side for random_cutout: pixels or a fraction, as pad

  c.data = ConfigDict()
  c.data.source = 'digits'  # images, folders, npz, tfds, huggingface, webdataset, packed, features, digits, cifar, …
  c.data.path = ''  # file or folder of the data
  c.data.name = ''  # name of a TFDS data set, or which part of webvision or cnwl
  c.data.labels = 'noisy_labels.csv'  # given labels: a file in path, or another path
  c.data.verified = 'clean_labels.csv'  # verified labels of the first rows; '': none
  c.data.truth = ''  # true labels, used by the audit only
  c.data.image_column = ''  # column of label files that names the image; '': found by its name (image, file, id, …)
  c.data.label_column = ''  # column of label files that holds the label; '': found by its name (label, class, …)
  c.data.table = ''  # a version of a label table, DIR@VERSION: its labels, weights and split in place of the data's own
  c.data.unlisted = 'unlabeled'  # what to do with images that data.labels does not list: unlabeled, skip or refuse
  c.data.classes = ()  # class names; (): from the data
  c.data.unlabeled = 'undefined'  # class name that means "unlabeled", or several: undefined,unknown
  c.data.size = 0  # side in pixels; 0: the size of the images, which must be equal; with fit crop or pad, their median
  c.data.fit = 'exact'  # how to handle images of another size: exact (refuse), crop, pad
  c.data.channels = 3  # 3: color, 1: gray
  c.data.skip_bad = False  # leave out unreadable images instead of stopping
  c.data.cache = True  # keep decoded images in the user's cache folder
  c.data.features = ''  # train on features by a pretrained model: efficientnet_lite0, resnet50:FILE, …@96; '': pixels
  c.data.views = 0  # features of that many augmented views of each image, beside those of the image itself
  c.data.train = ':'  # training rows: 'a:b', 'a:b,c:d', '0.1' (a stratified fraction) or '@file'
  c.data.val = '0.1'  # validation rows; 'source' (preferred to a fraction): those of the data set; '': none
  c.data.test = '0.2'  # test rows; 'source': those of the data set; '': none. Only the audit scores them
  c.data.val_labels = 'given'  # labels used for validation: given (noisy) or verified
  c.data.test_labels = 'true'  # labels used to score the test rows: true, verified, given
  c.data.hold = ''  # training rows that are set aside, as a:b or @file: neither their labels nor their images train
  c.data.labeled = 0  # number of training rows, drawn by class, that keep their given label; 0: all
  c.data.trusted = 0.0  # fraction of the training rows whose true label is revealed as verified
  c.data.trusted_by = 'given'  # labels whose classes have equal shares of trusted rows: given, or true (a curated set)
  c.data.seed = 0  # seed of the fractions, of `labeled` and of `trusted`

  c.noise = ConfigDict()
  c.noise.kind = 'none'  # none, symmetric, symmetric_inclusive, asymmetric, pair, instance, matrix, file
  c.noise.rate = 0.4
  c.noise.count = 'independent'  # how many rows are drawn: independent, exact (of all) or per_class
  c.noise.map = ()  # classes of asymmetric: ((from, to), …), or 'cifar10', 'cifar100'
  c.noise.path = ''  # file of matrix and file
  c.noise.column = ''  # array or column of a label file that holds several, such as worse_label of CIFAR-10_human.pt
  c.noise.order = ''  # index file of file, if its labels are in another order than the images
  c.noise.seed = 0

  c.checkpoint = ConfigDict()
  c.checkpoint.every = '60 seconds'  # or 'n epochs', 'n steps', 'n percent'
  c.checkpoint.keep = 2

  c.per_call = 0  # steps per call; 0: 1 on CPU, otherwise about 16, so that an epoch is a whole number of calls
  c.devices = 0  # number of devices for each batch; 0: all
  c.tensorboard = False  # write event files beside metrics.jsonl; needs tensorboardX
  return c.lock()
