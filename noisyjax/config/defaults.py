"""Every field of a run, with its default: what recipes (by `configs/base.py`) and library calls begin with.

Any field is a flag: `--config.optim.lr=0.05`. A field that is not here is refused.
"""

from ml_collections import ConfigDict

from noisyjax.config.plugin_fields import model_fields, strategy_fields


def get_config() -> ConfigDict:
  c = ConfigDict()
  c.seed = 0  # of initialisation, order, augmentation and dropout (data and noise have their own)
  c.epochs = 20  # of the whole run, where `phases` does not say otherwise
  c.batch_size = 128  # rows a step; less where there are fewer rows
  c.eval_batch_size = 500  # rows a forward pass when scoring
  c.steps_per_epoch = 0  # 0: once through the rows of the strategy's first stream; -10: that, and 10 or more
  c.phases = ()  # ((strategy, epochs, {'optim.lr': 0.1, …}), …); (): what the strategy plans for `epochs`
  c.rows = 'all'  # rows a phase may use: all, labeled (a given label), trusted (a verified one), untrusted
  c.labels = ''  # labels a phase begins with: given, verified; '': those it finds (the first phase: given)
  c.reset = 'none'  # parameters that begin anew with a phase: none, all, head, or a regular expression on paths
  c.freeze = ''  # parameters that stay as they are: a regular expression on paths ("^conv|norm"); '': none
  c.ema = 0.0  # decay of the averaged weights and statistics that are evaluated; 0: none
  c.mixup = 0.0  # alpha of mixup; 0: none
  c.balance = False  # walk the labeled rows class by class in turn, so that every class is seen equally often
  c.told = ()  # what else the numbers here were chosen by, such as 'noise rate': results say so
  c.select = 'best'  # the epoch that a run stands for: best (by validation accuracy; last without) or last

  c.strategy = strategy_fields()  # name, and a table of fields per strategy: --config.strategy.co_teaching.forget=0.4
  c.strategy.name = 'naive'

  c.model = model_fields()  # name, and a table of fields per model: --config.model.resnet18.width=0.5
  c.model.name = 'small_cnn'
  c.model.dtype = 'float32'  # of the computation: float32 or bfloat16; parameters stay float32
  c.model.conv = 'auto'  # plain (XLA's), matmul, onednn or amx (bfloat16) on CPUs; auto: the fastest in float32
  c.model.mean = ()  # per channel, in 0-255; (): of the training images
  c.model.std = ()
  c.model.vmap = False  # run M networks as one vmapped call instead of one after another

  c.optim = ConfigDict()
  c.optim.name = 'sgd'  # sgd, adam, adamw, nadam
  c.optim.lr = 0.05
  c.optim.decay = 5e-4  # weight decay
  c.optim.kernels_only = True  # decay spares biases and batch norm
  c.optim.momentum = 0.9  # of sgd
  c.optim.nesterov = True
  c.optim.b1 = 0.9  # of the adams
  c.optim.b2 = 0.999
  c.optim.eps = 1e-8
  c.optim.clip = 0.0  # global gradient norm of each network; 0: none

  c.schedule = ConfigDict()
  c.schedule.name = 'cosine'  # constant, step, cosine, one_cycle, warm_restarts, plateau
  c.schedule.warmup = 0.0  # epochs of linear rise
  c.schedule.final = 0.0  # last learning rate of cosine, one_cycle and restarts, as a factor
  c.schedule.milestones = (50.0, 75.0)  # of step, in epochs
  c.schedule.factor = 0.1  # of each step or plateau cut
  c.schedule.restart = 10.0  # period of warm_restarts, in epochs
  c.schedule.peak = 0.25  # of one_cycle: the part of the phase at which the rate peaks
  c.schedule.patience = 5  # of plateau: epochs without improvement on validation

  c.stop = ConfigDict()
  c.stop.patience = 0  # epochs without improvement on validation that end a phase; 0: never
  c.stop.metric = 'val_loss'  # val_loss or val_accuracy; plateau looks at it too
  c.stop.delta = 0.0  # least improvement that counts

  c.augment = ConfigDict()
  # Ops in order: crop, flip, rotate, jitter, resized_crop, cutout, random_cutout, rand_augment, auto_augment, jpeg.
  c.augment.weak = ('crop', 'flip')  # the view that every method learns from
  c.augment.strong = ('crop', 'flip', 'rand_augment', 'random_cutout')  # the second one of FixMatch, SOP+, SSR+, ProMix
  c.augment.rotation = 15.0  # degrees
  c.augment.brightness = 0.4
  c.augment.contrast = 0.4
  c.augment.saturation = 0.4
  c.augment.hue = 0.1
  c.augment.scale = (0.2, 1.0)  # area of resized_crop
  c.augment.ratio = (3 / 4, 4 / 3)
  c.augment.magnitude = 10.0  # of rand_augment, 0-10
  c.augment.draws = 3  # ops of rand_augment
  c.augment.probability = 1.0  # that a drawn op is applied
  c.augment.quality = (50.0, 95.0)  # of jpeg, 1-100: the worst and the best
  c.augment.pad = 0.125  # border of crop: whole pixels; below 1: a part of the image's side (4 pixels of 32)
  c.augment.cutout = 0.5  # side of the hole of cutout, largest side of random_cutout's: pixels or a part, as pad

  c.data = ConfigDict()
  c.data.source = 'digits'  # digits, npz, images, folders, tfds
  c.data.path = ''  # file or folder of the data
  c.data.name = ''  # of a TFDS data set
  c.data.labels = 'noisy_labels.csv'  # given labels, inside path or a path of its own
  c.data.verified = 'clean_labels.csv'  # verified labels of the first rows; '': none
  c.data.truth = ''  # true labels, for the audit alone
  c.data.image_column = ''  # of label files: the column that names the image; '': by its name (image, file, id, …)
  c.data.label_column = ''  # and the column of the label; '': by its name (label, class, …)
  c.data.unlisted = 'unlabeled'  # images without a row in data.labels: unlabeled, skip or refuse
  c.data.classes = ()  # names; (): from the data
  c.data.unlabeled = 'undefined'  # the name that means "no label"
  c.data.size = 0  # side in pixels; 0: all have one size already; with fit crop or pad, the median of the files
  c.data.fit = 'exact'  # images of another size: exact (refuse), crop, pad
  c.data.channels = 3  # 3: colour, 1: gray
  c.data.skip_bad = False  # go on without unreadable images
  c.data.cache = True  # keep decoded images in the user's cache folder
  c.data.train = ':'  # rows: 'a:b', 'a:b,c:d', '0.1' (a stratified fraction) or '@file'
  c.data.val = '0.1'  # 'source': the data set's own, which goes before a fraction too; '': no validation
  c.data.test = '0.2'  # 'source': the data set's own; '': none. Scored by the audit alone
  c.data.val_labels = 'given'  # which labels validate: given (noisy) or verified
  c.data.test_labels = 'true'  # which labels score the test rows: true, verified, given
  c.data.trusted = 0.0  # part of the training rows whose true label is revealed as verified
  c.data.seed = 0  # of fractions and of `trusted`

  c.noise = ConfigDict()
  c.noise.kind = 'none'  # none, symmetric, symmetric_inclusive, asymmetric, pair, instance, matrix, file
  c.noise.rate = 0.4
  c.noise.map = ()  # of asymmetric: ((from, to), …), or 'cifar10', 'cifar100'
  c.noise.path = ''  # of matrix and file
  c.noise.order = ''  # of file: an index file, where the labels lie in another order than the images
  c.noise.seed = 0

  c.checkpoint = ConfigDict()
  c.checkpoint.every = '60 seconds'  # or 'n epochs', 'n steps', 'n percent'
  c.checkpoint.keep = 2

  c.per_call = 0  # steps a call; 0: 1 on CPU, elsewhere about 16, so that an epoch is a whole number of calls
  c.devices = 0  # devices to spread a batch over; 0: all
  c.tensorboard = False  # event files beside metrics.jsonl; needs tensorboardX
  return c.lock()
