"""Every field of a run, once: its default, what it may be, its unit and where it comes from.

    run(Config(), "runs/dgc4")                           # the recipe
    run(Config(train=Training(steps=300)), "runs/long")
    run({"train.steps": 300, "data": {"scenes": "field"}}, "runs/field")

One frozen dataclass a stage, all in `Config`. `python launch.py --config.train.steps=300` and
`dgc train --set train.steps=300` set the same fields; `dgc_jax.presets` has named choices of them,
and whatever is not said is what it is here. `1..255` is for whole numbers, ends included; `(0, 1]`
for any number, above 0 and up to 1 (`dgc_jax.interval`); of each number of a tuple. Lower bounds
are where nothing can be computed any more (a division by 0, a spectral kernel of one band); upper
ones lie well beyond what is of use.

"Paper" below is Deep Global Clustering as published; "measured" is section "Departures" of
docs/method.md.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from dgc_jax.errors import InputError
from dgc_jax.stage import RANGES, Stage, field, fields, unknown

SIMULATED = "leaves"
"""The data set that stands for no files, see `dgc_jax.data.simulation.leaves`."""
NORMALISATIONS = ("global", "band", "snv", "l2", "log")  # see dgc_jax/model/normalisation.py
STARTS = ("kmeans++", "random")
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clusters(Stage):
    """How many clusters are trained and shown."""

    path: ClassVar[str] = "clusters"
    train: int = field(
        64, "1..255", "centroids that are trained", source="measured: room for a class of 2 %"
    )
    starts: int = field(
        5, "1..100", "banks whose trees are compared; the one that agrees best is taken"
    )
    sample: int = field(
        384,
        "1..1000000",
        "over which clusters are described for merging",
        unit="crops",
        source="measured",
    )
    final: int = field(
        4,
        "1..255",
        "the number of clusters to end with, shown unless a view says otherwise",
        source="paper",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(Stage):
    """The encoder, the mean shift and the assignment."""

    path: ClassVar[str] = "model"
    embedding: int = field(32, "2..1024", "length of a pixel's embedding", source="paper")
    features: tuple[int, ...] = field(
        (8, 16, 32), "1..1024", "features of the three spectral convolutions", length=3
    )
    strides: tuple[int, ...] | None = field(
        None, "1..1000", "of them; None: so that one position is left", unit="bands", length=3
    )
    kernel: int = field(
        9, "2..99", "under a spectral kernel", unit="bands (after binning)", source="paper"
    )
    iterations: int = field(5, "0..1000", "mean shifts", source="paper")
    window: int = field(
        5, "1..99", "side of the mean-shift window, odd", unit="pixels", source="paper"
    )
    bandwidth: float = field(
        0.25, "[0.001, 10]", "start of the learned one, in units of the embedding"
    )
    temperature: float = field(0.05, "[0.001, 10]", "of the soft assignment")
    whiten: float = field(
        0.5, "[0, 1]", "how far the first embedding is whitened", source="measured"
    )
    linear: float = field(
        1.0,
        "[0, 1000]",
        "size of the linear part of it, from spectra",
        source="not in the paper",
    )
    network: float = field(0.05, "[0, 1000]", "size of the network's part of it", source="measured")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaves(Stage):
    """The simulated leaf scenes."""

    path: ClassVar[str] = "data.leaves"
    scenes: int = field(8, "1..10000", "number of scenes")
    size: int = field(192, "24..4096", "rows and columns", unit="pixels")
    seed: int = field(0, "0..4294967295", "of the simulation")
    light: float = field(1.0, "[0, 3]", "strength of the variation of light between scenes")
    lesion_share: float = field(0.02, "[0, 0.08]", "of all pixels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Stage):
    """The scenes, how they are read, and the crops that are drawn from them."""

    path: ClassVar[str] = "data"
    scenes: str | tuple[str, ...] = field(
        SIMULATED,
        about='"leaves" (simulated, `data.leaves`), or a path, a folder, a glob, or a tuple',
    )
    labels: str = field(
        "{stem}_labels.*",
        about='truth maps beside the scenes, for scores only; "" for none',
    )
    unlabelled: int = field(0, "-2147483648..4294967295", "value of unlabelled pixels in them")
    classes: tuple[str, ...] | None = field(None, about="class names, in the order of the values")
    background: tuple[int, ...] | None = field(
        None, "-2147483648..4294967295", "label values that count as background"
    )
    variable: str | None = field(None, about="which array of a file of several")
    axes: str | None = field(None, about='order of its axes, such as "brc"; docs/data.md')
    wavelengths: str | tuple[float, ...] | None = field(
        None, about="of the bands: a file or numbers", unit="nm"
    )
    bands: tuple[tuple[float, float], ...] | None = field(
        None, RANGES, "ranges to keep: ((430, 950),)", unit="nm"
    )
    drop: tuple[tuple[float, float], ...] | None = field(
        None, RANGES, "ranges to leave out: ((1350, 1450),)", unit="nm"
    )
    mask: str | None = field(None, about='pattern of validity masks: "{stem}_mask.png"')
    dark: str | None = field(
        None,
        about='dark reference cube, for raw counts; None: that of a camera folder; "": none',
    )
    white: str | None = field(None, about="white reference cube, likewise")
    scale: float | None = field(
        None, "(0, 1000000000]", "what to divide numbers by instead of what the files say"
    )
    crop: int = field(64, "8..4096", "side of a crop", unit="pixels", source="paper")
    overlap: tuple[float, float] = field(
        (0.2, 0.8),
        "(0, 1]",
        "least and greatest shared part of a pair of crops, per axis",
        source="paper",
        length=2,
    )
    batch: int = field(4, "1..4096", "per step, two crops of each", unit="scenes", source="paper")
    pairs_per_window: int = field(
        1, "1..1000000", "consecutive steps that share one larger window a scene", unit="steps"
    )
    bin_width: float = field(
        20.0,
        "[0, 10000]",
        "bands are averaged to bins so wide; 0: none",
        unit="nm",
        source="measured",
    )
    normalisation: str = field("global", NORMALISATIONS, "how spectra are scaled")
    sample: int = field(48, "1..100000", "that fit the normalisation and the start", unit="crops")
    leaves: Leaves = Leaves()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation(Stage):
    """Strength of every augmentation; 0 switches it off."""

    path: ClassVar[str] = "augment"
    flip: float = field(1.0, "[0, 1]", "share of the views that may be mirrored")
    turn: float = field(1.0, "[0, 1]", "share of the views that may be turned by quarters")
    gain: float = field(
        0.2, "[0, 3]", "standard deviation of the log brightness", source="measured"
    )
    tilt: float = field(
        0.1,
        "[0, 3]",
        "standard deviation of the log slope, first to last band",
        source="measured",
    )
    agreement: float = field(
        0.8, "[0, 1]", "least NMI of labels in changed light; lowers gain and tilt"
    )
    noise: float = field(0.0, "[0, 10]", "standard deviation, in units of the data set's")
    band_dropout: float = field(0.0, "[0, 1)", "share of bins set to zero")
    band_shift: float = field(0.0, "[0, 10]", "greatest shift along the spectrum", unit="bins")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(Stage):
    """Weights of the losses, each of which is about 0..1."""

    path: ClassVar[str] = "loss"
    compactness: float = field(1.0, "[0, 1000]", "pixels sit close to their centroid")
    orthogonality: float = field(1.0, "[0, 1000]", "clusters keep apart")
    consistency: float = field(3.5, "[0, 1000]", "two views of a pixel agree", source="measured")
    balance: float = field(3.5, "[0, 1000]", "even use of the clusters, surely", source="measured")
    anchor: float = field(
        1.0,
        "[0, 1000]",
        "embeddings keep their bearings",
        source="not in the paper; measured: clusters merge with time without it",
    )
    displacement: int = field(
        2,
        "0..4095",
        "between those whose clusters are to tell of each other",
        unit="pixels",
        source="measured",
    )
    margin: float = field(0.3, "[-1, 1)", "cosine below which clusters do not repel each other")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Centroids(Stage):
    """The bank of centroids."""

    path: ClassVar[str] = "centroids"
    decay: float = field(0.99, "[0, 1]", "of the moving average", source="paper")
    start: str = field("kmeans++", STARTS, "how it starts", source="measured; published: random")
    pixels: int = field(
        20_000, "1..100000000", "embeddings that the start is found from", unit="pixels"
    )
    kick: float = field(0.05, "[0, 10]", "noise given to a dead centroid, per dimension")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser(Stage):
    """AdamW with clipping, and the schedule of its learning rate."""

    path: ClassVar[str] = "optim"
    learning_rate: float = field(
        1e-3,
        "[0, 1]",
        "peak, of residuals and network",
        source="measured; paper: 1e-4, more steps",
    )
    warmup: int = field(20, "0..1000000000", "from 0 to the peak", unit="steps")
    final: float = field(0.02, "[0, 1]", "last learning rate, as a share of the peak")
    weight_decay: float = field(0.01, "[0, 10]", "decoupled, of kernels only", source="paper")
    clip: float = field(1.0, "(0, 1000000000]", "largest norm of the gradient")
    bandwidth: float = field(
        0.2, "[0, 1000]", "peak learning rate of the bandwidth, by plain descent"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Stage):
    """How long is trained, and what is written on the way."""

    path: ClassVar[str] = "train"
    steps: int = field(100, "0..1000000000", "to take", unit="steps", source="measured")
    log_every: int = field(10, "1..1000000000", "between logged numbers", unit="steps")
    checkpoint_every: int = field(30, "1..1000000000", "between checkpoints", unit="steps")
    precision: str = field("float32", PRECISIONS, "type of activations; bfloat16 for GPUs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor(Stage):
    """What is watched without labels, and when that ends a run."""

    path: ClassVar[str] = "monitor"
    every: int = field(10, "1..1000000000", 'an "epoch"', unit="steps")
    probes: int = field(8, "1..100000", "predicted at every epoch", unit="crops")
    threshold: float = field(
        0.98, "[0, 1]", "NMI between epochs above which the clusters count as settled"
    )
    # A training that goes gently looks settled from its first epoch on.
    patience: int = field(
        0, "0..1000000000", "settled epochs in a row that end the run; 0: never", unit="epochs"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Stage):
    """A whole run; without arguments the recipe for four clusters of the simulated leaves.

    A stage may be given as a mapping of its fields: `Config(train={"steps": 300})`.

    Raises:
        InputError: if a field is unknown (with the nearest one) or a value is not one that it may
            be (with what it may be). What does not go together is refused by `check`.
    """

    seed: int = field(0, "0..4294967295", "of data order, parameters, augmentation, starts")
    clusters: Clusters = Clusters()
    model: Model = Model()
    data: Data = Data()
    augment: Augmentation = Augmentation()
    loss: Losses = Losses()
    centroids: Centroids = Centroids()
    optim: Optimiser = Optimiser()
    train: Training = Training()
    monitor: Monitor = Monitor()


def configure(*given: Any) -> Config:
    """One configuration from several, of which each may say but a part and the later one counts.

    Args:
        given: each a `Config`, a mapping of fields, nested or by dotted names
            (`{"train.steps": 300, "data": {"scenes": "field"}}`), or a `ConfigDict`.

    Raises:
        InputError: if one is something else, a field is unknown or named twice in one of them, or a
            value is not one that it may be.
    """
    if len(given) == 1 and isinstance(given[0], Config):
        return given[0]
    values: dict[str, Any] = {}
    for each in given:
        values |= by_name(each)
    return Config(**_nested(values))


def stored(values: Mapping[str, Any]) -> Config:
    """The configuration of a finished model, whose version may have had other fields.

    Args:
        values: nested, as JSON has them. Fields that are no more are left out.
    """
    known, given = fields(Config), flat(values)
    if "data.scale" not in given:  # references of cameras' folders were not looked for
        given |= {name: given.get(name) or "" for name in ("data.dark", "data.white")}
    return configure({name: v for name, v in given.items() if name in known})


def check(given: Any) -> Config:
    """Refuses values that no run can be made of.

    Args:
        given: as in `configure`.

    Returns:
        The configuration.

    Raises:
        InputError: naming the first such field, what was expected and what was found.
    """
    config = configure(given)
    for name, value, low, high, why in (
        ("clusters.final", config.clusters.final, 1, config.clusters.train, "clusters.train"),
        (
            "loss.displacement",
            config.loss.displacement,
            0,
            config.data.crop - 1,
            "less than data.crop",
        ),
        ("monitor.probes", config.monitor.probes, 1, config.data.sample, "data.sample"),
    ):
        if not low <= value <= high:
            raise InputError(name, expected=f"a number from {low} to {high} ({why})", found=value)
    if config.model.window % 2 == 0:
        raise InputError(
            "model.window",
            expected="an odd number of pixels",
            found=config.model.window,
            remedy="a window has its pixel in the middle",
        )
    if not config.model.linear and not config.model.network:
        raise InputError(
            "model.linear, model.network",
            expected="one of them above 0",
            found="0 for both, which makes all pixels alike",
            remedy="raise one",
        )
    least, greatest = config.data.overlap
    if least > greatest:
        raise InputError(
            "data.overlap",
            expected="the least share before the greatest",
            found=f"{least} before {greatest}",
            remedy="swap them",
        )
    return config


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested dictionaries of plain values."""
    return dataclasses.asdict(configure(config))


def as_json(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(as_dict(config)))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train.steps": 150, ...}`: one entry for each field of nested dictionaries."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def by_name(given: Any) -> dict[str, Any]:
    """Fields and values of a part of a configuration, by whole names such as `train.steps`.

    Args:
        given: as in `configure`.

    Raises:
        InputError: if it is something else, or a field is unknown or named twice.
    """
    if isinstance(given, Config):
        return flat(dataclasses.asdict(given))
    plain = given.to_dict() if hasattr(given, "to_dict") else given  # of a ConfigDict
    if not isinstance(plain, Mapping):
        raise InputError(
            "config=",
            expected="a configuration (a Config, a ConfigDict, or a mapping of fields such as "
            "{'train.steps': 300})",
            found=repr(given),
        )
    found: dict[str, Any] = {}
    known = fields(Config)
    stages = {name.rpartition(".")[0] for name in known} - {""}
    for name, value in _leaves(plain, ""):
        if name in found:
            raise InputError(name, expected="it once", found="it twice", remedy="leave one out")
        if name in stages:
            raise InputError(name, expected="a mapping of its fields", found=repr(value))
        if name not in known:
            raise unknown(name)
        found[name] = value
    return found


def _leaves(values: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Pairs of whole name and value, of which one name may come twice."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        whole = f"{prefix}{name}"
        inner = dataclasses.asdict(value) if isinstance(value, Stage) else value  # type: ignore[call-overload]
        if isinstance(inner, Mapping):
            found += _leaves(inner, f"{whole}.")
        else:
            found.append((whole, value))
    return found


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Whole names as dictionaries in dictionaries."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *stages, last = name.split(".")
        inner = found
        for stage in stages:
            inner = inner.setdefault(stage, {})
        inner[last] = value
    return found
