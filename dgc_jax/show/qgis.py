"""The style by which QGIS shows a label map: `<map>.qml` beside it, loaded with it.

A paletted renderer with our colours and names; no data is transparent.

Source: QGIS, `QgsPalettedRasterRenderer::writeXml` (https://github.com/qgis/QGIS).
"""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import numpy as np

from dgc_jax.files import replacing
from dgc_jax.show.maps import class_names

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_style(path: str | os.PathLike[str], names: Sequence[str], colours: np.ndarray) -> None:
    """Writes the style of a label map.

    Args:
        path: file to write, called as the map but for its ending `.qml`.
        names: name of each cluster; those that are "" are left out.
        colours: `[cluster + 1, 3]` uint8.

    Raises:
        InputError: the file cannot be written.
    """
    qgis = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = ElementTree.SubElement(qgis, "pipe")
    about = {"type": "paletted", "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    renderer = ElementTree.SubElement(pipe, "rasterrenderer", about)
    ElementTree.SubElement(renderer, "rasterTransparency")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, (name, colour) in enumerate(zip(class_names(names), colours, strict=True)):
        if value and not names[value - 1]:
            continue
        entry = {
            "value": str(value),
            "color": f"#{bytes(colour.tolist()).hex()}",
            "label": _NOT_XML.sub("\ufffd", name),
            "alpha": "255" if value else "0",
        }
        ElementTree.SubElement(palette, "paletteEntry", entry)
    ElementTree.SubElement(pipe, "rasterresampler", maxOversampling="1")  # pixels stay crisp
    ElementTree.SubElement(qgis, "blendMode").text = "0"
    ElementTree.indent(qgis)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(_DOCTYPE + ElementTree.tostring(qgis, encoding="unicode") + "\n")
