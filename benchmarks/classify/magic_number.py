"""The magic number by the script's loop, beside the exact one, with whatever numpy is installed.

Needs numpy alone, of any release: run it with an interpreter that has the one in question. Every
picture holds the values 0, 1, ... 250 again and again, so that any release computes the same ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

SHAPES = ((8, 8), (15, 17), (16, 16), (40, 40), (240, 320))


def calc_magic_number(pixels: Any) -> Any:
    """The script's loop, as written."""
    result = 0
    for x in range(pixels.shape[0]):
        for y in range(pixels.shape[1]):
            result += (x + 1) * (y + 1) * pixels[x, y]
    return result / (pixels.shape[0] * pixels.shape[1])


def exact(pixels: Any) -> float:
    """The number of the first channel, by integers that have no largest one."""
    first = pixels if pixels.ndim == 2 else pixels[:, :, 0]
    rows = first.tolist()
    total = sum(x * y * value for x, row in enumerate(rows, 1) for y, value in enumerate(row, 1))
    return total / first.size


def picture(*shape: int) -> Any:
    """A picture of this shape."""
    return np.resize(np.arange(251, dtype=np.uint8), shape)


def attempted(pixels: Any) -> str:
    """The loop's result for a picture: the number of the first channel, or its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 2 warns for scalars, not for arrays
        try:
            number = np.atleast_1d(calc_magic_number(pixels))[0]
        except OverflowError as error:
            return type(error).__name__
    return shown(float(number))


def shown(number: float) -> str:
    """As the page shows it."""
    return f"{number:,.3f}"


def main() -> None:
    """Print a row per size."""
    print(f"numpy {np.__version__}")
    for height, width in SHAPES:
        grey, colour = picture(height, width), picture(height, width, 3)
        each = (
            f"grey {attempted(grey)} of {shown(exact(grey))}",
            f"colour {attempted(colour)} of {shown(exact(colour))}",
        )
        print(f"{height} x {width}: " + "; ".join(each))


if __name__ == "__main__":
    main()
