"""Foundation profiles: how far two are apart, and whether one sits at the end of the scale.

    distance   root mean square over subscales of the difference of mean ratings, in scale points
    near end   a subscale whose mean lies within `MARGIN` of the range from either end; a profile
               is saturated when at least half of its subscales are near one and the same end.
               Such a profile can hardly move further, and hides differences it would show.

`MARGIN` is a convention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from personae.errors import PersonaeError
from personae.measures.moral import Profile, profile
from personae.ratings import Ratings

MARGIN = 0.1


@dataclass(frozen=True)
class Saturation:
    """Subscales near the ceiling and the floor, and whether that makes the profile saturated."""

    ceiling: tuple[str, ...]
    floor: tuple[str, ...]
    saturated: bool


def profile_distance(a: Mapping[str, Profile], b: Mapping[str, Profile]) -> float:
    """Root mean square difference in scale points over the subscales, the same in both.

    Raises `PersonaeError` when the subscales differ. NaN if a subscale has no valid rating.
    """
    if set(a) != set(b) or not a:
        raise PersonaeError("profiles of different subscales have no distance: same instrument?")
    return math.sqrt(sum((a[name].value - b[name].value) ** 2 for name in a) / len(a))


def saturation(r: Ratings, margin: float = MARGIN) -> Saturation:
    """Which subscales of the ratings [P, I, K] lie within `margin` (share of range) of an end."""
    reach = margin * (r.scale_max - r.scale_min)
    means = {name: p.value for name, p in profile(r).items()}
    ceiling = tuple(n for n, v in means.items() if v >= r.scale_max - reach)
    floor = tuple(n for n, v in means.items() if v <= r.scale_min + reach)
    most = max(len(ceiling), len(floor))
    return Saturation(ceiling, floor, saturated=bool(means) and 2 * most >= len(means))
