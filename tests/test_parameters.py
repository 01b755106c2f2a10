"""Texts of options as what they mean, and those that mean nothing."""

from typing import Any

import click
import click.testing
import pytest

from dgc_jax import parameters
from dgc_jax.errors import InputError


def parsed(kind: click.ParamType, text: str) -> Any:
    """What a command gets of `--option=text`."""
    got = []

    @click.command()
    @click.option("--option", type=kind)
    def command(option: Any) -> None:
        got.append(option)

    command.main([f"--option={text}"], standalone_mode=False)
    return got[0]


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [
        (parameters.LISTED, " envi, png,", ["envi", "png"]),
        (parameters.LISTED, "", []),
        (parameters.NUMBERS, "1, 2,30", [1, 2, 30]),
        (parameters.GROUPS, "1,4-7;2", [[1, 4, 5, 6, 7], [2]]),
        (parameters.GROUPS, "1;", [[1], []]),
        (parameters.NAMES, "flat; healthy leaf", ["flat", "healthy leaf"]),
        (parameters.TABLE, "1=1, 2=1,3=0", {1: 1, 2: 1, 3: 0}),
    ],
)
def test_a_text_is_what_it_means(kind: click.ParamType, text: str, meant: Any) -> None:
    assert parsed(kind, text) == meant


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        (parameters.NUMBERS, "1,b", "whole numbers with commas between, found '1,b'"),
        (parameters.GROUPS, "1;2-x", "cluster numbers such as 1,2;4-7, found '2-x'"),
        (parameters.GROUPS, "\u00b2", "found '\u00b2'"),  # a digit that is no number
        (parameters.TABLE, "", "1=1,2=1,3=2, found ''"),
        (parameters.TABLE, "1=1,1=2", "found '1=1,1=2'"),  # one cluster twice
        (parameters.TABLE, "1=a", "found '1=a'"),
    ],
)
def test_a_text_without_meaning_is_refused(kind: click.ParamType, text: str, found: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(kind, text)
    assert str(error.value).startswith("--option: expected ")
    assert found in str(error.value)


def test_numbers_go_back_to_ranges() -> None:
    assert parameters.as_ranges([1, 4, 5, 6, 9]) == "1, 4-6, 9"
    assert parameters.as_ranges([]) == ""
