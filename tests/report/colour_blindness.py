"""How colours look to readers who lack one kind of cone, and how far apart two colours look.

The matrices are those of Machado, Oliveira and Fernandes 2009, "A physiologically-based model for
simulation of color vision deficiency" (doi:10.1109/TVCG.2009.113), severity 1.0, for linear RGB.
Distances are CIE76: Euclidean in CIELAB (D65); about 2.3 is the least that can be noticed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

VISION: dict[str, Array] = {
    "all cones": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]),
    "tritanopia": np.array([
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip
_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip


def seen(colour: str, vision: str) -> Array:
    """CIELAB of `#rrggbb` as a reader with that vision sees it."""
    coded = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    x, y, z = _XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / _XYZ.sum(axis=1)
    f = [np.cbrt(t) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(a: str, b: str, vision: str) -> float:
    """CIE76 distance of two colours as seen with that vision."""
    return float(np.linalg.norm(seen(a, vision) - seen(b, vision)))
