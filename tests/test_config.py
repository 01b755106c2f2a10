"""The configuration: one default and one set of bounds a field, however it is given."""

import dataclasses
import inspect
import json
import math
import pickle
import re

import ml_collections
import numpy as np
import pytest

from configs import default, dgc2, dgc4, dgc16, paper
from dgc_jax import Config, Recipe, config, configuration, presets
from dgc_jax.config import Data, Leaves, Training, check, configure, flat
from dgc_jax.data.simulation.leaves import Leaves as SimulatedLeaves
from dgc_jax.errors import InputError
from dgc_jax.interval import interval
from dgc_jax.stage import fields
from dgc_jax.train import options
from dgc_jax.train.state import create_state

# config_flags imports configuration files in a way that Python 3.11 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

ABOUT = {name: field.metadata for name, field in fields(Config).items()}
BOUNDS = {
    name: about["may_be"]
    for name, about in ABOUT.items()
    if isinstance(about["may_be"], str) and about["may_be"] not in ("", "ranges")
}

TUPLES = {"data.overlap": (0.5, 0.5), "model.features": (1, 1, 1), "model.strides": (1, 1, 1)}


def changed(field, value):
    """The default configuration with a field set."""
    return configure({field: value})


def ends(field):
    """Numbers on either side of each end: (within, beyond)."""
    bound = interval(BOUNDS[field])
    step = 1 if bound.whole else 1e-6 * max(1, abs(bound.high))
    low = (bound.low + 1e-9, bound.low) if bound.above else (bound.low, bound.low - step)
    high = (bound.high - 1e-9, bound.high) if bound.below else (bound.high, bound.high + step)
    kind = int if bound.whole else float
    return [tuple(map(kind, end)) for end in (low, high)]


def in_place(field, number):
    """The value of a field in which a number stands."""
    if field in TUPLES:
        return (*TUPLES[field][:-1], number)
    return (number,) if field == "data.background" else number


def test_every_numeric_field_has_bounds_and_no_other():
    def is_number(value):
        return isinstance(value, int | float) and not isinstance(value, bool)

    numeric = {
        name
        for name, value in flat(config.as_dict(Config())).items()
        if is_number(value) or (isinstance(value, tuple) and all(map(is_number, value)))
    }
    assert numeric | {"model.strides", "data.background", "data.scale"} == set(BOUNDS)


def test_every_field_says_what_it_is_and_its_default_is_one_that_it_may_be():
    assert all(about["about"] for about in ABOUT.values())
    check(Config())
    assert configure(flat(config.as_dict(Config()))) == Config()


@pytest.mark.parametrize("field", sorted(BOUNDS))
def test_either_side_of_every_bound(field):
    for within, beyond in ends(field):
        given = {field: in_place(field, within)}
        # What must go together does.
        if field == "clusters.train":
            given["clusters.final"] = min(4, within)
        if field == "clusters.final":
            given["clusters.train"] = within
        if field == "loss.displacement":
            given["data.crop"] = 4096
        if field == "data.crop":
            given["loss.displacement"] = 0
        if field == "monitor.probes":
            given["data.sample"] = within
        if field == "data.sample":
            given["monitor.probes"] = 1
        if field == "data.overlap":
            given[field] = (within, within)
        check(given)
        with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected a.* (from|above)"):
            changed(field, in_place(field, beyond))


@pytest.mark.parametrize("field", sorted(BOUNDS))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3"])
def test_what_is_no_number_is_refused_by_name(field, value):
    with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected .*found"):
        check(changed(field, in_place(field, value)))


@pytest.mark.parametrize("field", [f for f in sorted(BOUNDS) if interval(BOUNDS[f]).whole])
def test_a_fraction_or_a_truth_of_a_whole_number_is_refused(field):
    for value in (2.5, True):
        with pytest.raises(InputError, match=rf"^{re.escape(field)}: expected a whole number"):
            check(changed(field, in_place(field, value)))


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("model.window", 4, "odd number of pixels, found 4"),
        ("clusters.final", 65, "from 1 to 64 (clusters.train), found 65"),
        ("loss.displacement", 64, "from 0 to 63 (less than data.crop), found 64"),
        ("monitor.probes", 49, "from 1 to 48 (data.sample), found 49"),
        ("data.overlap", (0.8, 0.2), "least share before the greatest, found 0.8 before 0.2"),
        ("data.overlap", (0.5,), "expected 2 numbers, found (0.5,)"),
        ("data.overlap", 0.5, "expected 2 numbers, found 0.5"),
        ("model.features", None, "expected 3 numbers, found None"),
        ("data.background", "1,2", "expected a tuple of numbers, found '1,2'"),
        ("data.bands", ((900, 450),), "expected ranges in nm such as ((450, 900),)"),
        ("data.bands", (450, 900), "expected ranges in nm such as ((450, 900),)"),
        ("data.drop", ((math.nan, 450),), "expected ranges in nm"),
        ("centroids.start", "kmeans", "expected one of kmeans++, random, found 'kmeans'"),
        ("data.normalisation", "none", "expected one of global, band, snv, l2, log"),
        ("train.precision", "float16", "expected one of float32, bfloat16"),
        ("data.bands", 450, "expected ranges in nm"),
        ("data.labels", None, "expected text, found None"),
        ("data.mask", 3, "expected text or None, found 3"),
        ("data.scenes", ("a", 3), "expected a tuple of text, found 3 in it"),
        ("data.wavelengths", (400, "500"), "expected a tuple of numbers, found '500' in it"),
        ("clusters.final", None, "expected the number of clusters"),
        ("train", 5, "expected a mapping of its fields, found 5"),
        ("data.leaves", "many", "expected a mapping of its fields, found 'many'"),
    ],
)
def test_values_that_do_not_go_together_are_refused_by_name(field, value, told):
    with pytest.raises(InputError, match=rf"^{re.escape(field)}: .*{re.escape(told)}"):
        check(changed(field, value))


def test_a_model_of_neither_path_is_refused():
    with pytest.raises(InputError, match=r"model.linear, model.network: expected one of them"):
        check({"model": {"linear": 0.0, "network": 0}})


@pytest.mark.parametrize(
    ("text", "words"),
    [("1..255", "from 1 to 255"), ("(0, 1]", "above 0 to 1"), ("[-1, 1)", "from -1 and below 1")],
)
def test_intervals_read_as_mathematics(text, words):
    assert interval(text).words() == words


WAYS = [
    Config(train=Training(steps=7), data=Data(crop=32, leaves=Leaves(size=80))),
    Config(train={"steps": 7}, data={"crop": 32, "leaves": {"size": 80}}),
    {"train.steps": 7, "data.crop": 32, "data.leaves.size": 80},
    {"train": {"steps": 7}, "data": {"crop": 32, "leaves.size": 80}},
    {"train": Training(steps=7), "data": {"crop": np.int32(32), "leaves": Leaves(size=80)}},
    ml_collections.ConfigDict(
        {"train": {"steps": 7}, "data": {"crop": 32.0, "leaves": {"size": 80}}}
    ),
    ml_collections.FrozenConfigDict(
        {"train": {"steps": 7}, "data": {"crop": 32, "leaves": {"size": 80}}}
    ),
    json.loads(
        json.dumps(config.as_json({"train.steps": 7, "data.crop": 32, "data.leaves.size": 80}))
    ),
]


@pytest.mark.parametrize("given", WAYS, ids=range(len(WAYS)))
def test_however_it_is_given_it_is_the_configuration_of_the_command_line(given):
    file = str(__file__).replace("tests/test_config.py", "configs/dgc4.py")
    asked = ["--config.train.steps=7", "--config.data.crop=32", "--config.data.leaves.size=80"]
    for path in (file, "dgc4"):
        assert configure(given) == configuration.read(path, asked)
    assert options.recipe(given) == options.recipe(configuration.read(file, asked))
    assert options.as_json(given) == options.as_json(configuration.read(file, asked))


def test_the_recipe_is_that_of_the_command_line():
    asked = configuration.read("dgc4")
    assert asked == Config() == configure() == configure({})
    assert Recipe() == options.recipe(asked)
    started = inspect.signature(create_state).parameters
    for name, value in {
        "bin_width": asked.data.bin_width,
        "kind": asked.data.normalisation,
        "start": asked.centroids.start,
        "pixels": asked.centroids.pixels,
        "whiten": asked.model.whiten,
        "linear": asked.model.linear,
        "network": asked.model.network,
    }.items():
        assert started[name].default == value, name
    simulated = SimulatedLeaves()
    for name, value in dataclasses.asdict(asked.data.leaves).items():
        assert getattr(simulated, name) == value, name


def test_a_later_part_counts():
    base = configure({"train.steps": 7, "data.crop": 32})
    found = configure(base, {"train.steps": 9})
    assert (found.train.steps, found.data.crop) == (9, 32)
    assert dataclasses.replace(base, seed=3).seed == 3
    assert base.seed == 0


def test_values_become_plain_python():
    found = configure(
        {
            "data.wavelengths": np.array([400, 500], np.float32),
            "data.classes": ["a", "b"],
            "data.bands": [[450, 900]],
            "model.features": np.array([4, 4, 8]),
            "data.bin_width": 10,
        }
    )
    assert found.data.wavelengths == (400.0, 500.0)
    assert found.data.classes == ("a", "b")
    assert found.data.bands == ((450, 900),)
    assert found.model.features == (4, 4, 8)
    assert [type(found.data.bin_width), type(found.model.features[0])] == [float, int]
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(configure(config.as_json(found)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: Training(stepz=3),
            "train.stepz: there is no such field; did you mean 'train.steps'?",
        ),
        (lambda: Config(trian={}), "trian: there is no such field; did you mean 'train'?"),
        (
            lambda: Leaves(sise=30),
            "data.leaves.sise: there is no such field; did you mean 'data.leaves.size'?",
        ),
        (
            lambda: configure({"trian.steps": 3}),
            "trian.steps: there is no such field; did you mean 'train.steps'?",
        ),
        (
            lambda: configure({"steps": 3}),
            "steps: there is no such field; did you mean 'train.steps'?",
        ),
        (lambda: configure({"optim": {"lr": 3}}), "optim.lr: there is no such field"),
        (
            lambda: configure({"train.learning_rate": 3}),
            "train.learning_rate: there is no such field; did you mean 'optim.learning_rate'?",
        ),
        (
            lambda: configure({"qqq": 3}),
            "qqq: there is no such field; `dgc train --fields` lists all",
        ),
        (lambda: configure({3: 3}), "3: there is no such field"),
        (
            lambda: dataclasses.replace(Config(), sede=1),
            "sede: there is no such field; did you mean 'seed'?",
        ),
        (lambda: configure({"train.steps": 1, "train": {"steps": 1}}), "train.steps: expected it"),
        (lambda: configure(Recipe()), "expected a configuration (a Config, a ConfigDict"),
        (lambda: configure("dgc4"), "found 'dgc4'"),
        (lambda: Config(train=Leaves()), "train: expected a Training or a mapping"),
    ],
)
def test_unknown_fields_are_refused_with_the_nearest(make, told):
    with pytest.raises(InputError, match=re.escape(told)):
        make()


def test_a_stored_configuration_may_have_fields_that_are_no_more_and_lack_new_ones():
    kept = config.as_json({"train.steps": 7})
    kept["train"]["gone"] = 3
    del kept["monitor"]
    assert config.stored(kept) == configure({"train.steps": 7})


@pytest.mark.parametrize("variant", ["", "tiny"])
@pytest.mark.parametrize("file", [dgc2, dgc4, dgc16, paper])
def test_files_of_the_clone_are_the_presets(file, variant):
    name = file.__name__.rpartition(".")[2]
    asked = presets.preset(f"{name}:{variant}" if variant else name)
    assert configure(file.get_config(variant)) == asked == check(asked)


def test_presets_have_short_names():
    assert presets.preset("tiny") == presets.preset("dgc4:tiny") != presets.preset("dgc4")
    with pytest.raises(InputError, match="did you mean 'paper'"):
        presets.preset("papr")
    with pytest.raises(InputError, match="':huge'"):
        presets.preset("dgc4:huge")


def test_a_file_of_the_users_own_takes_the_defaults_and_a_variant():
    asked = default.get_config()
    asked.clusters.final = 6
    found = configure(default.apply_variant(asked, "tiny"))
    assert found == configure(presets.preset("tiny"), {"clusters.final": 6})


def test_a_config_dict_sets_fields_by_their_types():
    asked = configuration.as_config_dict(Config())
    for name, value in flat(asked.to_dict()).items():
        assert value == flat(config.as_dict(Config()))[name]
    with pytest.raises(TypeError):
        asked.train.steps = "many"
    given = {"data.mask": "m.png", "data.classes": ("a",), "model.strides": (1, 1, 1)}
    asked.update_from_flattened_dict(given)
    asked.data.scenes = ("a", "b")
    asked.data.wavelengths = (1.0, 2.0)
    given |= {"data.scenes": ("a", "b"), "data.wavelengths": (1.0, 2.0)}
    assert configure(asked) == configure(given)
