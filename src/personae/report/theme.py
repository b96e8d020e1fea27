"""Colours, once: each name has a light and a dark value, used as CSS variables everywhere.

Series colours (blue, vermilion, green, violet, in two steps of lightness) keep apart for readers
who see no red, no green or no blue, as simulated after Machado, Oliveira and Fernandes 2009
(doi:10.1109/TVCG.2009.113); `tests/report/colour_blindness.py` has the numbers. Charts never tell
series apart by colour alone. The heat ramp runs from the page's background towards its ink,
through one change of hue, monotone in lightness.
"""

from __future__ import annotations

RAMP_STEPS = 21

PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#ffffff", "#12161b"),
    "panel": ("#f6f7f9", "#1a2027"),
    "ink": ("#1a1f26", "#e4e8ec"),
    "muted": ("#56606c", "#a3adb8"),
    "line": ("#d9dee4", "#323b45"),
    "grid": ("#e8ebef", "#2a323b"),
    "link": ("#0b5cad", "#7cb8f2"),
    "warn": ("#8a4b00", "#f2b866"),
    "warn-panel": ("#fdf3e1", "#2e2413"),
    "c1": ("#1373c5", "#90bffe"),
    "c2": ("#b7430e", "#f59a63"),
    "c3": ("#016545", "#4bc7a0"),
    "c4": ("#753490", "#bd82c4"),
    "band": ("#e3ecd9", "#26331f"),
    "missing": ("#ffffff", "#12161b"),
}

_RAMP = {
    0: ("#f3f0e4", "#a9cfbd", "#4a9db0", "#246a9a", "#1b2f5e"),
    1: ("#1c2836", "#1f5676", "#2f8d9b", "#8cc7a6", "#f4efc9"),
}


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def ramp(theme: int) -> list[str]:
    """`RAMP_STEPS` colours from low to high; theme 0 is light, 1 dark."""
    stops = [_rgb(c) for c in _RAMP[theme]]
    colours = []
    for step in range(RAMP_STEPS):
        position = step / (RAMP_STEPS - 1) * (len(stops) - 1)
        left = min(int(position), len(stops) - 2)
        part = position - left
        mixed = [
            round(a + (b - a) * part) for a, b in zip(stops[left], stops[left + 1], strict=True)
        ]
        colours.append("#{:02x}{:02x}{:02x}".format(*mixed))
    return colours


def variables(theme: int) -> dict[str, str]:
    """Every CSS variable of a theme (0 light, 1 dark), names without the dashes."""
    named = {name: pair[theme] for name, pair in PALETTE.items()}
    return named | {f"s{step}": colour for step, colour in enumerate(ramp(theme))}


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast ratio of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (v / 255 for v in _rgb(colour))
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
