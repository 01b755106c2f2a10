"""One picture a scene: the quicklook, the clusters over it, the clusters alone, and the legend.

Small scenes are enlarged by whole numbers, so that a pixel stays a square; wide scenes are stacked.
"""

import os
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dgc_jax.apply.sieve import sieve
from dgc_jax.files import replacing
from dgc_jax.show.maps import check, pixels_per_label, shown_positions

_SIDE = 560  # a scene smaller than this is enlarged towards it
_SPECK = 10  # pixels from which on a region is outlined; outlines of single pixels glitter
_TINT = 0.55  # share of the cluster's colour inside its regions


def write_overlay(
    path: str | os.PathLike[str],
    background: np.ndarray,
    labels: np.ndarray,
    colours: np.ndarray,
    names: Sequence[str],
    areas: np.ndarray | None = None,
) -> None:
    """Writes quicklook, overlay and map side by side (or stacked) with a legend, as PNG.

    Args:
        path: file to write.
        background: `[row, column, 3]` uint8 from `dgc_jax.show.maps.quicklook`, perhaps of fewer
            rows and columns than the map.
        labels: `[row, column]` uint8 at full resolution.
        colours: `[cluster + 1, 3]` uint8.
        names: name of each cluster.
        areas: `[cluster]` pixels of each cluster; None counts them in `labels`.

    Raises:
        InputError: the file cannot be written.
    """
    check(labels, colours, names)
    pixels = pixels_per_label(labels, len(names))
    if areas is not None:
        pixels[1:] = areas
    shown = labels[
        np.ix_(
            shown_positions(labels.shape[0], background.shape[0]),
            shown_positions(labels.shape[1], background.shape[1]),
        )
    ]
    scale = max(1, round(_SIDE / max(shown.shape)))
    regions = sieve(shown, _SPECK)
    background, shown, regions = (
        a.repeat(scale, 0).repeat(scale, 1) for a in (background, shown, regions)
    )
    panels = {
        "quicklook": background,
        "clusters over it": _blend(background, shown, regions, colours),
        "clusters": colours[shown],
    }
    with replacing(path) as temporary:
        _compose(panels, _entries(pixels, colours, names)).save(temporary, format="png")


def _blend(
    background: np.ndarray, labels: np.ndarray, regions: np.ndarray, colours: np.ndarray
) -> np.ndarray:
    """Tints a grey version of the background by cluster and outlines the regions."""
    grey = background.astype(np.float32).mean(-1, keepdims=True)
    picture = (1 - _TINT) * grey + _TINT * colours[labels]
    edge = np.zeros(labels.shape, bool)
    below, right = regions[1:] != regions[:-1], regions[:, 1:] != regions[:, :-1]
    edge[1:] |= below
    edge[:-1] |= below
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    picture[edge] = colours[labels[edge]]
    picture[labels == 0] = background[labels == 0]
    return np.round(picture).astype(np.uint8)


def _entries(
    pixels: np.ndarray, colours: np.ndarray, names: Sequence[str]
) -> list[tuple[np.ndarray, str, str]]:
    """Colour, name and share of each legend line; no data comes last, without a share."""
    shares = 100 * pixels[1:] / max(1, pixels[1:].sum())
    entries = [
        (colour, shorten(name), percent(share))
        for colour, name, share in zip(colours[1:], names, shares, strict=True)
        if name
    ]
    return entries + ([(colours[0], "no data", "")] if pixels[0] else [])


def percent(share: float) -> str:
    """A share in per cent for a legend, never rounded to none or all."""
    return "<0.1 %" if 0 < share < 0.05 else ">99.9 %" if 99.95 <= share < 100 else f"{share:.1f} %"


def shorten(name: str, most: int = 28) -> str:
    """A name on one line of at most `most` characters."""
    name = " ".join(name.split())
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def _compose(
    panels: dict[str, np.ndarray], entries: list[tuple[np.ndarray, str, str]]
) -> Image.Image:
    """Puts the captioned panels and, to their right, the legend on white."""
    height, width = next(iter(panels.values())).shape[:2]
    size = int(np.clip(max(height, width) / 36, 14, 26))
    # The font that comes with matplotlib: it has more scripts than Pillow's own.
    font = ImageFont.truetype(
        os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size
    )
    line, gap = round(size * 1.6), size
    stacked = width > 1.5 * height
    slot = max([width, *(round(font.getlength(caption)) for caption in panels)])
    block_width = slot if stacked else len(panels) * (slot + gap) - gap
    block_height = (height + line + gap) * (len(panels) if stacked else 1) - gap
    a_column = max(1, (block_height - line) // line, 16)  # legend lines that fit below one another
    columns = [entries[i : i + a_column] for i in range(0, len(entries), a_column)]
    widths = [_legend_width(column, font, line) for column in columns]
    canvas_height = max(block_height, line * (1 + max(map(len, columns), default=0)))
    canvas = Image.new(
        "RGB",
        (gap + block_width + sum(w + 2 * gap for w in widths) + gap, canvas_height + 2 * gap),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    left, top = gap, gap
    for caption, panel in panels.items():
        draw.text((left, top), caption, "black", font)
        canvas.paste(Image.fromarray(panel), (left, top + line))
        left, top = (left, top + height + line + gap) if stacked else (left + slot + gap, top)
    left = gap + block_width + 2 * gap
    for column, column_width in zip(columns, widths, strict=True):
        for index, (colour, name, share) in enumerate(column):
            top = gap + line * (index + 1)
            box = (left, top + line // 8, left + size, top + line // 8 + size)
            draw.rectangle(box, tuple(int(c) for c in colour), "black")
            draw.text((left + line, top), name, "black", font)
            draw.text((left + column_width, top), share, "black", font, anchor="ra")
        left += column_width + 2 * gap
    return canvas


def _legend_width(
    column: list[tuple[np.ndarray, str, str]], font: ImageFont.FreeTypeFont, line: int
) -> int:
    names = max(font.getlength(name) for _, name, _ in column)
    shares = max(font.getlength(share) for _, _, share in column)
    return round(line + names + line + shares)
