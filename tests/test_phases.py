"""What a run is doing is told before it takes long, on a terminal and elsewhere."""

import io

import rich.console

from dgc_jax.phases import phase, track


def test_elsewhere_a_line_comes_before_the_work() -> None:
    console = rich.console.Console(file=io.StringIO(), force_terminal=False)
    with phase(console, "reading [bold]48 crops[/]"):
        assert console.file.getvalue() == "reading [bold]48 crops[/]\n"  # type: ignore[attr-defined]
    for number in track([1, 2], "segmenting", console):
        console.print(number)
    told = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert told[1:] == ["segmenting 2 scenes", "1", "2"]


def test_on_a_terminal_the_line_stays_with_its_seconds() -> None:
    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=60)
    with phase(console, "reading [bold]48 crops[/]"):
        console.print("between")
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "reading [bold]48 crops[/]" in told
    assert "0:00:00" in told
    assert "between" in told


def test_a_quiet_console_says_nothing() -> None:
    console = rich.console.Console(file=io.StringIO(), quiet=True)
    with phase(console, "reading"):
        pass
    assert list(track("ab", "segmenting", console)) == ["a", "b"]
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
