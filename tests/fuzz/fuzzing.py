"""Break many files and read each: every reader of personae, no tracebacks.

    python tests/fuzz/fuzzing.py --inputs 100000 [--seed 0] [--only study,sae.config]

With --coverage atheris (`pip install atheris`, not a dependency of personae) chooses the inputs by
the code that they reach; it stops at the first fault:

    python tests/fuzz/fuzzing.py --coverage --inputs 100000
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuzz_mutate import Target

SECONDS = 20.0  # of the processor: no small file may take longer


def fault(target: Target, data: bytes, folder: Path) -> str | None:
    """What is wrong with how `target` took `data`: a traceback, an error of several lines, time."""
    from personae.errors import PersonaeError

    path = target.place(folder, data)
    began = time.process_time()
    try:
        target.read(path)
    except PersonaeError as error:
        line = str(error)
        if "\n" in line or not line.isprintable() or len(line) > 1000:
            return f"not one clean line: {line[:300]!r}"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # polars panics are no Exceptions
        return traceback.format_exc(limit=-4)
    taken = time.process_time() - began
    return f"took {taken:.0f} s" if taken > SECONDS else None


def run(targets: tuple[Target, ...], inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Faults by target; the first three of each are printed and kept as files."""
    random, faults = Random(seed), Counter[str]()
    weights = [target.weight for target in targets]
    for n in range(inputs):
        (target,) = random.choices(targets, weights)
        data = target.broken(random)
        if found := fault(target, data, folder):
            faults[target.name] += 1
            if faults[target.name] <= 3:
                kept = folder / "faults" / f"{target.name}-{faults[target.name]}"
                kept.parent.mkdir(exist_ok=True)
                kept.write_bytes(data)
                print(f"{target.name}: {kept}\n{found}", flush=True)
        if n % 10_000 == 9_999:
            print(f"{n + 1} inputs, {faults.total()} faults", flush=True)
    return faults


def by_coverage(targets: tuple[Target, ...], inputs: int, folder: Path, atheris: Any) -> None:
    """The first byte says which reader, the rest is its file."""

    def one(data: bytes) -> None:
        if len(data) > 1:
            target = targets[data[0] % len(targets)]
            if found := fault(target, data[1:], folder):
                raise AssertionError(f"{target.name}: {found}")

    def change(data: bytes, most: int, seed: int) -> bytes:
        """Half of the changes are ours, which keep to the file's format."""
        random = Random(seed)
        if len(data) > 1 and random.random() < 0.5:
            target = targets[data[0] % len(targets)]
            return (data[:1] + target.injured(data[1:], random))[:most]
        mutated: bytes = atheris.Mutate(data, most)
        return mutated

    corpus = folder / "corpus"
    corpus.mkdir()
    for k, target in enumerate(targets):
        for n, example in enumerate(target.examples):
            (corpus / f"{k}-{n}").write_bytes(bytes([k]) + example)
    words = [sys.argv[0], str(corpus), f"-runs={inputs}", "-max_len=20000", f"-timeout={SECONDS:g}"]
    atheris.Setup(words, one, custom_mutator=change)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers whose names begin so, with commas")
    parser.add_argument("--coverage", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    imports: Any = nullcontext()
    if given.coverage:
        import atheris  # type: ignore[import-not-found]

        imports = atheris.instrument_imports(include=["personae"])
    with imports:
        from fuzz_targets import TARGETS
    starts = tuple(given.only.split(","))
    targets = tuple(target for target in TARGETS if target.name.startswith(starts))
    folder = Path(tempfile.mkdtemp(prefix="personae-fuzz-"))
    if given.coverage:
        targets = tuple(target for target in targets if not target.whole)
        by_coverage(targets, given.inputs, folder, atheris)
    else:
        found = run(targets, given.inputs, given.seed, folder)
        print(f"{given.inputs} inputs, {len(targets)} readers, {found.total()} faults")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
