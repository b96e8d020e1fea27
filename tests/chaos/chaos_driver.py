"""A run behind two worker processes with planted answers."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def main(out: Path) -> None:
    sys.path[:0] = [str(TESTS), str(TESTS / "executors")]
    import scripted

    from personae import api
    from personae.cast.model import Cast, Persona
    from personae.executors.pool import WorkerPool
    from personae.executors.processes import ProcessSlot
    from personae.executors.wire import ModelSpec

    command = (sys.executable, scripted.__file__, "0.001", "", "")
    spec = ModelSpec("planted")
    slots = [ProcessSlot(f"worker {k}", spec, 30.0, command=command) for k in range(2)]
    cast = out.parent / "cast.yaml"
    personas = tuple(Persona(id=f"p{k}", text=f"a person of kind {k}") for k in range(8))
    cast.write_text(Cast(name="chaos", personas=personas).model_dump_json())
    with WorkerPool(slots, tries=20) as pool:
        api.audit(pool, cast=cast, suite="quick", out=out)
