"""Charts as one SVG file that stands alone: light and dark, for documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from personae.report import theme
from personae.report.svg import el

GAP = 24.0
_BOX = re.compile(r'<svg viewBox="0 0 ([0-9.]+) ([0-9.]+)"')


def standalone(drawings: Sequence[Markup], columns: int = 2, title: str = "") -> str:
    """Drawings of `Canvas.draw` in rows of `columns`, on the page's background.

    Colours follow the reader's light or dark setting, also inside an <img>.
    """
    sizes = [_size(one) for one in drawings]
    rows = [range(n, min(n + columns, len(drawings))) for n in range(0, len(drawings), columns)]
    placed: list[Markup] = []
    y = GAP
    width = max(sum(sizes[k][0] + GAP for k in row) for row in rows) + GAP
    for row in rows:
        x = GAP
        for k in row:
            w, h = sizes[k]
            place = (
                f'<svg x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" viewBox="0 0 {w:g} {h:g}"'
            )
            placed.append(Markup(_BOX.sub(place, str(drawings[k]), count=1)))
            x += w + GAP
        y += max(sizes[k][1] for k in row) + GAP
    background = el("rect", width=width, height=y, fill="var(--page)")
    return str(
        el("svg", el("title", title), el("style", Markup(_style())), background, *placed,
           xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width:g} {y:g}", width=width,
           height=y, role="img")
    )  # fmt: skip


def _size(drawing: Markup) -> tuple[float, float]:
    found = _BOX.match(str(drawing))
    if found is None:
        raise ValueError("not a drawing of Canvas.draw")
    return float(found[1]), float(found[2])


def _style() -> str:
    def palette(which: int) -> str:
        return "".join(f"--{name}:{value};" for name, value in theme.variables(which).items())

    chart = (files("personae.report") / "static" / "chart.css").read_text(encoding="utf-8")
    ramp = "".join(f".s{k}{{fill:var(--s{k})}}" for k in range(theme.RAMP_STEPS))
    dark = f"@media (prefers-color-scheme: dark){{svg{{{palette(1)}}}}}"
    return f"svg{{{palette(0)}}}{dark}\n{chart}{ramp}"
