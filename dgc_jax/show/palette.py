"""One colour for each cluster id, the same in every map, plot and legend.

Ids 1..8 have the colours of Okabe and Ito, ordered so that few clusters are far apart (blue,
orange, bluish green first) and black comes last. Ids 9..32 were then chosen one by one to be as far
as possible, in CIELAB under normal vision and simulated protan-, deuter- and tritanopia, from those
before, from the no-data grey and from white paper. Later ids repeat these hues lighter and darker:
always different, but no longer easy to tell apart.

References:
    Okabe & Ito 2008, Color Universal Design.
    Machado, Oliveira & Fernandes 2009, A physiologically-based model for simulation of color vision
    deficiency.
"""

import numpy as np

NO_DATA = (220, 220, 220)

_BASE = np.frombuffer(
    bytes.fromhex("""
0072b2 e69f00 009e73 56b4e9 cc79a7 d55e00 f0e442 000000
692d0f 9600ff 2d0f96 4bff96 5a4b4b 3c004b 9678ff b4a55a
965a3c a50f87 694bd2 002d2d 96c396 a53c00 004b69 ffc369
96e1ff 786978 c3b4d2 3c0f00 d2ffd2 4b0f78 c3693c 00d22d
"""),
    np.uint8,
).reshape(-1, 3)


def colours(clusters: int) -> np.ndarray:
    """Colours of the label values 0..clusters; the colour of an id never depends on `clusters`.

    Args:
        clusters: number of clusters K, at most 255.

    Returns:
        `[clusters + 1, 3]` uint8 sRGB; row 0 is the grey of "no data".

    Raises:
        ValueError: more clusters than a uint8 label map holds.
    """
    if not 0 <= clusters <= 255:
        raise ValueError(f"a uint8 label map holds 0..255 clusters, not {clusters}")
    return np.array([NO_DATA, *(_colour(k) for k in range(clusters))], np.uint8)


def _colour(index: int) -> np.ndarray:
    cycle, hue = divmod(index, len(_BASE))
    base = _BASE[hue].astype(int)
    if cycle == 0:
        return base
    # Cycles 1, 2, 3, ...: half way to white, half way to black, a quarter to white, ...
    step = (cycle + 1) // 2
    mix = int(f"{step:b}"[::-1], 2) / 2 ** step.bit_length()  # 1/2, 1/4, 3/4, 1/8, ...
    target = 255 if cycle % 2 else 0
    base = np.maximum(base, 40)  # so that black, too, can be darkened
    return np.round(base + (target - base) * mix).astype(int)
