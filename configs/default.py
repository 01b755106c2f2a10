"""Every field of a run, once, with its unit and where its value comes from.

`configs/dgc2.py`, `dgc4.py` and `dgc16.py` say only what differs. Any field can be set on the
command line: `python launch.py --config=configs/dgc4.py --config.data.scenes='cubes/*.hdr'`.

A comment begins with what the number may be, as `dgc_jax.train.bounds` has it: `1..255` for whole
numbers, ends included; `(0, 1]` for any number, above 0 and up to 1; of each number of a tuple.
"Paper" below is Deep Global Clustering as published; "measured" is section "Departures" of
docs/method.md.
"""

import ml_collections
from ml_collections import config_dict

from dgc_jax.errors import InputError


def get_config() -> ml_collections.ConfigDict:
    """The defaults, without a number of final clusters: a variant has to set it."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # 0..4294967295; of data order, parameters, augmentation, starts

    config.clusters = clusters = ml_collections.ConfigDict()
    clusters.train = 64  # 1..255; centroids that are trained; measured: room for a class of 2 %
    clusters.starts = 5  # 1..100; banks whose trees are compared; the one that agrees best is taken
    clusters.sample = 384  # 1..1000000; crops over which they are described for merging; measured
    # How many are shown unless a view says otherwise.
    clusters.final = config_dict.placeholder(int)  # 1..255

    config.model = model = ml_collections.ConfigDict()
    model.embedding = 32  # 2..1024; length of a pixel's embedding; paper
    model.features = (8, 16, 32)  # 1..1024; of the three spectral convolutions
    # Bands; None: so that one position is left.
    model.strides = config_dict.placeholder(tuple)  # 1..1000
    model.kernel = 9  # 2..99; bands (after binning) under a spectral kernel; paper
    model.iterations = 5  # 0..1000; mean shifts; paper
    model.window = 5  # 1..99; pixels, side of the mean-shift window; paper
    model.bandwidth = 0.25  # [0.001, 10]; start of the learned one, in units of the embedding
    model.temperature = 0.05  # [0.001, 10]; of the soft assignment
    model.whiten = 0.5  # [0, 1]; how far the first embedding is whitened; measured
    model.linear = 1.0  # [0, 1000]; size of the linear part of it, from spectra; the paper has none
    model.network = 0.05  # [0, 1000]; size of the network's part of it; measured

    config.data = data = ml_collections.ConfigDict()
    # "leaves" (simulated, embedded), or a path, a folder, a glob, or a tuple of them.
    data.scenes = config_dict.FieldReference("leaves", field_type=object)
    data.labels = "{stem}_labels.*"  # truth maps beside the scenes, for scores only; "" for none
    data.unlabelled = 0  # -2147483648..4294967295; value of unlabelled pixels in them
    data.classes = config_dict.placeholder(tuple)  # class names, in the order of the values
    # Label values that count as background.
    data.background = config_dict.placeholder(tuple)  # -2147483648..4294967295
    data.variable = config_dict.placeholder(str)  # which array of a file of several
    data.axes = config_dict.placeholder(str)  # order of its axes, such as "brc"; see docs/data.md
    data.wavelengths = config_dict.FieldReference(None, field_type=object)  # nm: file or tuple
    data.bands = config_dict.placeholder(tuple)  # nm, ranges to keep: ((430, 950),)
    data.drop = config_dict.placeholder(tuple)  # nm, ranges to leave out: ((1350, 1450),)
    data.mask = config_dict.placeholder(str)  # pattern of validity masks: "{stem}_mask.png"
    data.dark = config_dict.placeholder(str)  # dark reference cube, for raw counts
    data.white = config_dict.placeholder(str)  # white reference cube, for raw counts
    data.crop = 64  # 8..4096; pixels; paper
    data.overlap = (0.2, 0.8)  # (0, 1]; least and greatest shared part of a pair, per axis; paper
    data.batch = 4  # 1..4096; scenes per step, two crops of each; paper
    data.pairs_per_window = 1  # 1..1000000; consecutive steps that share one larger window a scene
    data.bin_width = 20.0  # [0, 10000]; nm, bands are averaged to bins; 0: none; measured
    data.normalisation = "global"  # or band, snv, l2, log: dgc_jax/model/normalisation.py
    data.sample = 48  # 1..100000; crops that fit the normalisation and the start
    data.leaves = leaves = ml_collections.ConfigDict()  # the simulated scenes
    leaves.scenes = 8  # 1..10000
    leaves.size = 192  # 24..4096; pixels, rows and columns
    leaves.seed = 0  # 0..4294967295
    leaves.light = 1.0  # [0, 3]; strength of the variation of light between scenes
    leaves.lesion_share = 0.02  # [0, 0.08]; of all pixels

    config.augment = augment = ml_collections.ConfigDict()  # strengths; 0 switches off
    augment.flip = 1.0  # [0, 1]; share of the views that may be mirrored
    augment.turn = 1.0  # [0, 1]; share of the views that may be turned by quarters
    augment.gain = 0.2  # [0, 3]; standard deviation of the log brightness; measured
    augment.tilt = 0.1  # [0, 3]; standard deviation of the log slope, first to last band; measured
    augment.agreement = 0.8  # [0, 1]; least NMI of labels in changed light; lowers gain and tilt
    augment.noise = 0.0  # [0, 10]; standard deviation, in units of the data set's
    augment.band_dropout = 0.0  # [0, 1); share of bins set to zero
    augment.band_shift = 0.0  # [0, 10]; bins, greatest shift along the spectrum

    config.loss = loss = ml_collections.ConfigDict()  # weights; each term is about 0..1
    loss.compactness = 1.0  # [0, 1000]
    loss.orthogonality = 1.0  # [0, 1000]
    loss.consistency = 3.5  # [0, 1000]
    loss.balance = 3.5  # [0, 1000]
    loss.anchor = 1.0  # [0, 1000]; not in the paper; measured: clusters merge with time without it
    # Pixels between those whose clusters are to tell of each other; measured.
    loss.displacement = 2  # 0..4095
    loss.margin = 0.3  # [-1, 1); cosine below which clusters do not repel each other

    config.centroids = centroids = ml_collections.ConfigDict()
    centroids.decay = 0.99  # [0, 1]; of the moving average; paper
    centroids.start = "kmeans++"  # or "random", as published; measured
    centroids.pixels = 20_000  # 1..100000000; embeddings that the start is found from
    centroids.kick = 0.05  # [0, 10]; noise given to a dead centroid, per dimension

    config.optim = optim = ml_collections.ConfigDict()
    optim.learning_rate = 1e-3  # [0, 1]; peak, of residuals and network; paper: 1e-4, more steps
    optim.warmup = 20  # 0..1000000000; steps
    optim.final = 0.02  # [0, 1]; last learning rate, as a share of the peak
    optim.weight_decay = 0.01  # [0, 10]; paper
    optim.clip = 1.0  # (0, 1000000000]; largest norm of the gradient
    optim.bandwidth = 0.2  # [0, 1000]; peak learning rate of the bandwidth, by plain descent

    config.train = train = ml_collections.ConfigDict()
    train.steps = 100  # 0..1000000000
    train.log_every = 10  # 1..1000000000; steps
    train.checkpoint_every = 30  # 1..1000000000; steps
    train.precision = "float32"  # or bfloat16: type of activations, for GPUs

    config.monitor = monitor = ml_collections.ConfigDict()
    monitor.every = 10  # 1..1000000000; steps: an "epoch"
    monitor.probes = 8  # 1..100000; crops predicted at every epoch
    monitor.threshold = 0.98  # [0, 1]; NMI between epochs above which the clusters count as settled
    monitor.patience = 0  # 0..1000000000; settled epochs in a row that end the run; 0: never
    # (a training that goes gently looks settled from its first epoch on)
    return config


def apply_variant(config: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
    """Changes a configuration as `--config=FILE:VARIANT` asks.

    Raises:
        InputError: if there is no such variant.
    """
    if variant == "tiny":
        config.data.leaves.update(scenes=3, size=80)
        config.data.update(crop=32, batch=2, sample=8)
        config.clusters.sample = 48
        config.centroids.pixels = 4000
        config.train.update(steps=20, checkpoint_every=10)
        config.optim.warmup = 5
        config.monitor.update(every=5, probes=3)
    elif variant:
        raise InputError(
            f"--config: expected no variant or ':tiny' after the file name, found ':{variant}'; "
            "leave it out or write ':tiny'."
        )
    return config
