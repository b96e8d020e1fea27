"""Fixtures that every part uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from personae.cast.model import Cast, Persona
from personae.instruments.model import Block, Instrument, Item, Scale

sys.path.insert(0, str(Path(__file__).parent))

SHARED = Path(__file__).parents[2] / "shared"
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with public raw ratings that lies beside some checkouts."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: public raw ratings are not here")
    return SHARED


READERS = ("personae.findings", "personae.latents.documents")


@pytest.fixture(scope="session", autouse=True)
def metrics_have_an_entry() -> Iterator[None]:
    """Findings that personae makes while tests run have an entry in docs/statistics.md."""
    from metric_index import documented
    from personae.findings import Finding

    made: dict[str, str] = {}
    plain = Finding.__init__

    def noted(self: Finding, *args: Any, **named: Any) -> None:
        plain(self, *args, **named)
        where = sys._getframe(1).f_globals["__name__"]
        if where.startswith("personae.") and where not in READERS and self.metric:
            made.setdefault(self.metric, where)

    Finding.__init__ = noted  # type: ignore[method-assign]
    yield
    Finding.__init__ = plain  # type: ignore[method-assign]
    missing = {metric: where for metric, where in made.items() if not documented(metric)}
    assert not missing, f"metrics without a row in docs/statistics.md: {missing}"


@pytest.fixture
def small_cast() -> Cast:
    personas = tuple(Persona(id=f"p{k}", text=f"a person of kind {k}") for k in range(7))
    return Cast(name="small", personas=personas)


@pytest.fixture
def small_instrument() -> Instrument:
    items = tuple(
        Item(id=str(k), block="b", subscale="AB"[k % 2], text=f"Statement {k}.") for k in range(30)
    )
    block = Block(id="b", stem="How far do you agree?", labels={0: "not at all", 5: "fully"})
    return Instrument(
        name="small", scale=Scale(min=0, max=5), subscales=("A", "B"), blocks=(block,), items=items
    )


# A module's, not the session's: while it lives, its event loop counts as running in this thread,
# and asyncio.run in another module's tests would refuse to start.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; tests that use it are marked `browser`."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("no Chromium at /usr/bin/chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip
    with playwright.sync_playwright() as p:
        running = p.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield running
        running.close()
