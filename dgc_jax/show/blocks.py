"""A picture in a terminal: two pixels a letter, the upper half block over its background."""

import numpy as np
import PIL.Image
import rich.console
import rich.style
import rich.text


def print_picture(picture: np.ndarray, console: rich.console.Console) -> None:
    """Prints a picture as wide as the terminal, at most.

    Args:
        picture: `[row, column, 3]` uint8.
        console: where; its terminal should show 24-bit colours.
    """
    rows, columns = picture.shape[:2]
    width = max(1, min(console.width, columns))
    height = 2 * max(1, round(rows * width / columns / 2))
    image = PIL.Image.fromarray(picture).resize((width, height), PIL.Image.Resampling.BOX)
    pixels = np.asarray(image)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        line = rich.text.Text()
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            colours = (f"rgb({r},{g},{b})" for r, g, b in (above, below))
            line.append("\N{UPPER HALF BLOCK}", rich.style.Style.parse(" on ".join(colours)))
        console.print(line)
