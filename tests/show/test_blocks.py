"""Pictures in a terminal: two pixels a letter, the upper one in the letter's colour."""

import io

import numpy as np
import pytest
import rich.console

from dgc_jax.show.blocks import print_picture


@pytest.mark.parametrize(("columns", "shown"), [(3, 3), (8, 4)])
def test_a_letter_is_two_pixels_in_their_colours(columns: int, shown: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, columns, 3)).astype(np.uint8)
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", width=4
    )
    print_picture(picture, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.count("\N{UPPER HALF BLOCK}") for line in lines] == [shown] * (
        2 * shown // columns
    )
    if shown == columns:  # each pixel as it is
        upper, lower = picture[0, 0], picture[1, 0]
        colours = ";".join(map(str, (38, 2, *upper, 48, 2, *lower)))
        assert lines[0].startswith(f"\x1b[{colours}m")
