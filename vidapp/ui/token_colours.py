"""A colour for each token id, the same everywhere and for ever. Ids are also written: 32 colours cannot tell 1,000 codes apart.

Eight hues of Okabe and Ito, which most colour-blind eyes tell apart, in four lightnesses.
"""

HUES = ("#0072B2", "#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#9AA0A6")
SHADES = (0.0, -0.45, 0.45, -0.7)  # towards white where positive, towards black where negative
STEP = 19  # as in tokens.js; shares no factor with the number of colours, so that neighbouring ids look different


def shaded(colour: str, shade: float) -> str:
    target = 255 if shade > 0 else 0
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (target - part) * abs(shade)):02x}" for part in parts)


PALETTE = tuple(shaded(hue, shade) for shade in SHADES for hue in HUES)


def colour_of(id: int) -> str:
    """`#rrggbb` of an id."""
    return PALETTE[id * STEP % len(PALETTE)]


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read on it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
