"""A small canvas: soft-edged shapes on a picture, in NumPy.

Owns: circles, limbs, polygons and digits, given in pixels. Must not: know what they mean.

Every shape is a distance to its outline; a pixel is covered by as much of it as the outline leaves, so edges are soft
without drawing larger first. Only the rectangle around a shape is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]
"""(x to the right, y down), pixels; the centre of the first pixel is (0.5, 0.5)."""

Floats = NDArray[np.float32]

_GLYPHS = {
    "0": "###|# #|# #|# #|###",
    "1": " # |## | # | # |###",
    "2": "###|  #|###|#  |###",
    "3": "###|  #|###|  #|###",
    "4": "# #|# #|###|  #|  #",
    "5": "###|#  |###|  #|###",
    "6": "###|#  |###|# #|###",
    "7": "###|  #| # | # | # ",
    "8": "###|# #|###|# #|###",
    "9": "###|# #|###|  #|###",
    "%": "# #|  #| # |#  |# #",
}
_GLYPH_WIDTH = 4
"""Cells from one digit to the next; a digit is 3 wide and 5 high."""


class Canvas:
    """A picture being drawn. `pixels()` gives it as (height, width, 3) uint8."""

    def __init__(self, width: int, height: int, top: Colour, bottom: Colour) -> None:
        shade = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        column = np.asarray(top, np.float32) * (1 - shade) + np.asarray(bottom, np.float32) * shade
        self.width, self.height = width, height
        self._rgb: Floats = np.repeat(column[:, None, :], width, axis=1)

    def pixels(self) -> NDArray[np.uint8]:
        """A copy of its own."""
        return (self._rgb + 0.5).astype(np.uint8)

    def limb(self, a: Point, b: Point, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        """A line with round ends; a disc where both ends are one point."""
        along = np.array([b[0] - a[0], b[1] - a[1]], np.float32)
        length2 = max(float(along @ along), 1e-12)

        def distance(x: Floats, y: Floats) -> Floats:
            from_x, from_y = x - a[0], y - a[1]
            share = np.clip((from_x * along[0] + from_y * along[1]) / length2, 0, 1)
            away: Floats = np.hypot(from_x - share * along[0], from_y - share * along[1])
            return away - radius

        self._paint(distance, [a, b], radius, colour, opacity)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour, opacity: float = 1.0) -> None:
        """A circle's outline."""
        self._paint(
            lambda x, y: np.abs(np.hypot(x - centre[0], y - centre[1]) - radius) - width / 2,
            [centre],
            radius + width,
            colour,
            opacity,
        )

    def polygon(self, corners: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """A convex polygon, corners clockwise as seen on the picture."""

        def distance(x: Floats, y: Floats) -> Floats:
            sides = []
            for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
                length = float(np.hypot(bx - ax, by - ay))
                sides.append(((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / max(length, 1e-6))
            furthest: Floats = np.maximum.reduce(sides)
            return furthest

        self._paint(distance, list(corners), 0.0, colour, opacity)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, opacity: float = 1.0) -> None:
        """An upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, opacity)

    def digits(self, text: str, left: float, top: float, cell: int, colour: Colour) -> float:
        """Digits and percent signs of `cell` pixels per dot; returns where the next one would begin."""
        for glyph in text:
            for row, line in enumerate(_GLYPHS[glyph].split("|")):
                for column, dot in enumerate(line):
                    if dot == "#":
                        x, y = round(left) + column * cell, round(top) + row * cell
                        self._rgb[max(y, 0) : max(y + cell, 0), max(x, 0) : max(x + cell, 0)] = colour
            left += _GLYPH_WIDTH * cell
        return left

    def _paint(
        self,
        distance: Callable[[Floats, Floats], Floats],
        points: Sequence[Point],
        margin: float,
        colour: Colour,
        opacity: float,
    ) -> None:
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        x0, x1 = _inside(min(xs) - margin - 1, max(xs) + margin + 2, self.width)
        y0, y1 = _inside(min(ys) - margin - 1, max(ys) + margin + 2, self.height)
        if x0 >= x1 or y0 >= y1:
            return
        x = np.arange(x0, x1, dtype=np.float32)[None, :] + 0.5
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + 0.5
        cover = np.clip(0.5 - distance(x, y), 0, 1)[..., None] * np.float32(opacity)
        part = self._rgb[y0:y1, x0:x1]
        part += (np.asarray(colour, np.float32) - part) * cover


def _inside(low: float, high: float, size: int) -> tuple[int, int]:
    return int(min(max(low, 0), size)), int(min(max(high, 0), size))
