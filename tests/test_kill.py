"""A few kills of what takes longest; `python -m tests.kill` kills every command often."""

import kill
import pytest


@pytest.mark.slow
def test_killed_commands_end_with_the_same_results_when_repeated() -> None:
    with kill.prepared() as base:
        for name, shares in (("train", (0.3, 0.7)), ("segment", (0.2, 0.6, 0.9))):
            expected = kill.reference(name, base)
            assert expected[0]
            for share in shares:
                assert kill.kill(name, base, expected, share).wrong == ""


def test_what_differs_or_is_left_is_named() -> None:
    whole = {"a": b"1", "b": b"2"}
    assert kill.compared(whole, dict(whole)) == ""
    assert kill.compared(whole, {"a": b"1"}) == "differ: b"
    assert kill.compared(whole, whole | {"b": b"3"}) == "differ: b"
    left = ".dgc-host-12-0a1b2c3d.tmp"
    assert kill.compared(whole, whole | {left: b""}) == f"left: {left}; differ: {left}"
