"""One frame as a picture: the stage in its true proportions and two stylised fighters. Nothing of the game's art.

Owns: the camera, the colours, the figures. Must not: move anything; it draws what a state says.

Shown of each fighter: where it is, which way it faces, its pose by group of action state, its shield and how much of
it is left, invulnerability (pale), freeze (white), and off the picture a mark at the border. Below: percent and stocks.
Bodies of all characters are of one size, about Fox's: how tall each is, no replay says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worldmodel.env.canvas import Canvas, Colour, Point
from worldmodel.melee.action_states import group_of
from worldmodel.melee.stages import GEOMETRY, Stage
from worldmodel.nn.frames import State
from worldmodel.schema import CATEGORIES, LAYOUT

WIDTH, HEIGHT = 480, 320
"""Pixels of a picture, unless asked for otherwise."""

SKY: tuple[Colour, Colour] = ((24, 27, 42), (45, 50, 74))
GROUND: Colour = (74, 82, 110)
LIP: Colour = (166, 176, 205)
WHITE: Colour = (250, 250, 250)
PLAYER_COLOURS: tuple[Colour, Colour] = ((245, 108, 84), (88, 158, 252))
"""p0 and p1."""

BESIDE_STAGE = 54.0
"""Game units to be seen beyond each edge."""
BELOW_FLOOR = 0.40
"""Share of the picture below the main floor."""
TALL = 13.0
"""Game units from feet to head of a standing figure."""

_LOW = ("crouch", "landing", "aerial_landing", "jump_squat", "platform_drop")
_LYING = ("down", "shield_break", "disabled")
_STRIKING = ("jab", "dash_attack", "tilt", "smash", "aerial", "grab", "throw", "special", "item")
_REELING = ("damage", "damage_fly", "tumble", "thrown", "grabbed", "wall_bounce")
_LEANING = ("dash", "run", "walk")
_HANGING = ("ledge",)
_CURLED = ("dodge", "tech")


@dataclass(frozen=True, slots=True)
class Fighter:
    """What a picture needs to know of a player. Units: those of the schema."""

    x: float
    y: float
    right: bool
    """Whether it faces right."""
    group: str
    """Group of its action state."""
    shield: float
    percent: float
    stocks: int
    pale: bool
    frozen: bool


def fighters(state: State) -> tuple[Fighter, ...]:
    """The players of one frame (2,·) on the host."""
    index = LAYOUT.category("action_state")
    ids = (state.categories[:, index] - CATEGORIES[index].offset).tolist()
    numbers, flags = state.numbers.tolist(), state.flags.tolist()
    codes = state.categories[:, LAYOUT.category("hurtbox")].tolist()
    return tuple(
        Fighter(
            x=values[LAYOUT.number("position_x")],
            y=values[LAYOUT.number("position_y")],
            right=bits[LAYOUT.flag("facing")],
            group=group_of(number),
            shield=values[LAYOUT.number("shield")],
            percent=values[LAYOUT.number("percent")],
            stocks=round(values[LAYOUT.number("stocks")]),
            pale=code != 0,
            frozen=values[LAYOUT.number("hitlag")] > 0,
        )
        for values, bits, number, code in zip(numbers, flags, ids, codes, strict=True)
    )


def draw(players: tuple[Fighter, ...], stage: int, *, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A picture (height, width, 3) uint8. stage: its external id; of one without geometry only the ground is drawn."""
    canvas = Canvas(width, height, *SKY)
    geometry = GEOMETRY.get(stage)
    camera = _Camera(canvas, geometry)
    if geometry is None:
        canvas.box(0, camera.at(0, 0)[1], width, height, GROUND)
    else:
        _stage(canvas, camera, geometry)
    for place, player in enumerate(players):
        if player.group != "dead":
            _fighter(canvas, camera, player, PLAYER_COLOURS[place])
    for place, player in enumerate(players):
        _standing(canvas, place, player)
    return canvas.pixels()


class _Camera:
    """From game units to pixels. It stands still: what moves in the picture moves in the game."""

    def __init__(self, canvas: Canvas, stage: Stage | None) -> None:
        edge = 80.0 if stage is None else stage.edge
        self.scale = canvas.width / (2 * (edge + BESIDE_STAGE))
        self._x, self._y = canvas.width / 2, canvas.height * (1 - BELOW_FLOOR)

    def at(self, x: float, y: float) -> Point:
        return self._x + x * self.scale, self._y - y * self.scale


def _stage(canvas: Canvas, camera: _Camera, stage: Stage) -> None:
    at, lip = camera.at, max(1.2, camera.scale)
    deep = stage.floor - 0.30 * stage.edge
    left, right = -stage.edge, stage.edge
    floor = [(left, stage.edge_height), (-stage.flat, stage.floor), (stage.flat, stage.floor)]
    floor.append((right, stage.edge_height))
    # In convex pieces: Fountain's floor is hollow, Yoshi's bulges.
    for (ax, ay), (bx, by) in pairwise(floor):
        if bx - ax > 1e-6:
            # Each reaches a little into the next, or soft edges would leave a seam.
            ax, bx = max(ax - 0.4, left), min(bx + 0.4, right)
            below = [(0.62 * bx, deep), (0.62 * ax, deep)]
            canvas.polygon([at(ax, ay), at(bx, by), *(at(*corner) for corner in below)], GROUND)
    for (ax, ay), (bx, by) in pairwise(floor):
        a, b = at(ax, ay), at(bx, by)
        canvas.limb((a[0], a[1] + lip), (b[0], b[1] + lip), lip, LIP)
    for platform in stage.platforms:
        a, b = at(platform.left, platform.height), at(platform.right, platform.height)
        canvas.limb((a[0] + lip, a[1] + lip), (b[0] - lip, b[1] + lip), lip, LIP)


def _fighter(canvas: Canvas, camera: _Camera, player: Fighter, colour: Colour) -> None:
    unit = camera.scale * TALL / 13.0
    feet = camera.at(player.x, player.y)
    if not (-8 <= feet[0] <= canvas.width + 8 and 0 <= feet[1] <= canvas.height + 14 * unit):
        _mark_at_border(canvas, feet, colour)
        return
    ahead = 1.0 if player.right else -1.0
    group = player.group

    def body(forward: float, up: float) -> Point:
        return feet[0] + ahead * forward * unit, feet[1] - up * unit

    low = 0.62 if group in _LOW or group in _CURLED else 1.0
    lean = 2.2 if group in _LEANING else -2.5 if group in _REELING else 0.0
    hip, chest, head = (0.0, 5.0 * low), (0.6 * lean, 8.6 * low), (lean, 11.4 * low)
    legs = [(-1.9 - 0.3 * abs(lean), 0.8), (1.9 + 0.3 * abs(lean), 0.8)]
    hands = [(2.6, 6.4 * low), (-2.4, 6.2 * low)]
    if group in _LYING:
        hip, chest, head, legs = (0.0, 1.6), (-3.6, 1.7), (-6.6, 1.9), [(3.6, 1.2), (4.6, 1.4)]
        hands = [(-2.0, 1.0), (-4.5, 0.9)]
    elif group in _HANGING:
        hands = [(2.6, 13.0), (3.2, 12.6)]
    elif group in _STRIKING:
        hands = [(6.6, 8.4 * low), (-2.4, 7.0 * low)]
    elif group in _REELING:
        hands = [(3.2, 10.2), (-4.6, 9.4)]
        legs = [(1.4, 1.2), (4.2, 2.0)]

    paint = WHITE if player.frozen else colour
    shade: Colour = (int(paint[0] * 0.72), int(paint[1] * 0.72), int(paint[2] * 0.72))
    opacity = 0.5 if player.pale else 1.0
    for leg in legs:
        canvas.limb(body(*hip), body(*leg), 1.0 * unit, shade, opacity)
    canvas.limb(body(*chest), body(*hands[1]), 0.8 * unit, shade, opacity)
    canvas.limb(body(*hip), body(*chest), 1.9 * unit, paint, opacity)
    canvas.limb(body(*head), body(*head), 2.1 * unit, paint, opacity)
    canvas.limb(body(*chest), body(*hands[0]), 0.8 * unit, paint, opacity)
    if group in _STRIKING:
        canvas.limb(body(*hands[0]), body(*hands[0]), 1.4 * unit, WHITE, opacity)
    # The eye says which way it faces.
    eye = body(head[0] + 1.0, head[1] + 0.3)
    canvas.limb(eye, eye, 0.6 * unit, SKY[0], opacity)
    if group == "shield":
        centre, radius = body(0.0, 6.0), (3.0 + 7.0 * player.shield / 60.0) * unit
        canvas.limb(centre, centre, radius, colour, 0.35)
        canvas.ring(centre, radius, 1.2, WHITE, 0.6)


def _mark_at_border(canvas: Canvas, feet: Point, colour: Colour) -> None:
    """A dart at the border, pointing to who is beyond it."""
    margin = 9.0
    tip = (min(max(feet[0], margin), canvas.width - margin), min(max(feet[1], margin), canvas.height - margin))
    away = np.array([feet[0] - tip[0], feet[1] - tip[1]])
    away /= max(float(np.hypot(*away)), 1e-6)
    along, across = away * 6.0, np.array([-away[1], away[0]]) * 5.0
    corners = [tip + along, tip - along + across, tip - along - across]
    canvas.polygon([(float(x), float(y)) for x, y in corners], colour)


def _standing(canvas: Canvas, place: int, player: Fighter) -> None:
    """Percent, as a number and as a bar to 150, and stocks as dots: p0's to the left, p1's to the right."""
    cell = max(2, canvas.height // 100)
    wide = 31 * cell
    left = canvas.width * (0.25 if place == 0 else 0.75) - wide / 2
    top = canvas.height - 13.0 * cell
    share = min(max(player.percent / 150.0, 0.0), 1.0)
    heat: Colour = (255, int(245 - 165 * share), int(235 - 195 * share))
    canvas.box(left - 2 * cell, top - 2 * cell, left + wide + 2 * cell, top + 11 * cell, SKY[0], 0.55)
    canvas.digits(f"{min(int(player.percent), 999)}%", left, top, cell, heat)
    canvas.box(left, top + 7 * cell, left + wide, top + 8 * cell, GROUND)
    canvas.box(left, top + 7 * cell, left + wide * share, top + 8 * cell, heat)
    for dot in range(min(player.stocks, 5)):
        centre = (left + wide - (1.2 + 3.0 * dot) * cell, top + 2.5 * cell)
        canvas.limb(centre, centre, 1.1 * cell, PLAYER_COLOURS[place])
