"""`PersonaStates`: what the personas of a cast look like in the residual stream; and its file.

Of persona p, at the output of block l (hooks.py), read while p answers the items of a
questionnaire as in an audit (persona_reading.py):

    persona end  x [P, L, d]     the last token of what the layout writes for the persona; no item
                                 has been read yet, so it is one state a persona
    answer       x [P, F, L, d]  the last token before the answer, mean over the items of fold f

On disk: float16 deviations from float32 centres, a few megabytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from personae.collect.folder import write_atomic
from personae.errors import PersonaeError

States = NDArray[np.float32]

SCHEMA = 1
KEY = "personae.states"
FOLDER, FILE = "inside", "states.safetensors"
PERSONA_END, ANSWER = "persona end", "answer"
POSITIONS = (PERSONA_END, ANSWER)
PARTS = ("persona_end", "answer")
HALF_MAX = 6e4  # float16 ends at 65504


@dataclass(frozen=True, eq=False)
class PersonaStates:
    """The states of a cast in one model.

    Args:
        personas, texts: [P] ids and descriptions.
        layers: [L] blocks read.
        persona_end: [P, L, d]. answer: [P, F, L, d].
        about: what the states depend on (model, layout, items, ...; JSON).
    """

    personas: tuple[str, ...]
    texts: tuple[str, ...]
    layers: tuple[int, ...]
    persona_end: States
    answer: States
    about: Mapping[str, Any]

    def cloud(self, position: str, layer: int) -> NDArray[np.float64]:
        """[P, d] one state a persona, at "persona end" or "answer" (mean over items)."""
        column = self.layers.index(layer)
        if position == PERSONA_END:
            return np.asarray(self.persona_end[:, column], dtype=np.float64)
        return np.asarray(np.mean(self.answer[:, :, column], axis=1, dtype=np.float64))

    def folds(self, layer: int) -> NDArray[np.float64]:
        """[P, F, d] answer states by fold of items."""
        return np.asarray(self.answer[:, :, self.layers.index(layer)], dtype=np.float64)

    def of(self, personas: Sequence[str]) -> PersonaStates:
        """The same states of some personas, in the order given."""
        rows = [self.personas.index(p) for p in personas]
        return PersonaStates(
            tuple(personas), tuple(self.texts[r] for r in rows), self.layers,
            self.persona_end[rows], self.answer[rows], self.about,
        )  # fmt: skip


COMPARABLE = ("schema", "dtype", "chat template", "instrument", "items", "folds", "layout hash",
              "layers", "hook")  # fmt: skip


def differences(a: PersonaStates, b: PersonaStates) -> list[str]:
    """What keeps two models' states from being compared; empty when nothing does."""
    found = [key for key in COMPARABLE if a.about.get(key) != b.about.get(key)]
    return found + (["width"] if a.answer.shape[-1] != b.answer.shape[-1] else [])


# --- files ----------------------------------------------------------------------------------------
def save_states(states: PersonaStates, path: Path) -> None:
    """Write states as one safetensors file: float32 centres, float16 deviations from them."""
    tensors: dict[str, Any] = {}
    for name in PARTS:
        values = getattr(states, name)
        centre = values.mean(tuple(range(values.ndim - 2)), dtype=np.float64).astype(np.float32)
        deviations = values - centre
        half = float(np.abs(deviations).max()) < HALF_MAX
        tensors[name] = deviations.astype(np.float16 if half else np.float32)
        tensors[f"{name}_centre"] = centre
    who = {"personas": states.personas, "texts": states.texts}
    write_tensors(path, tensors, dict(states.about) | {"who": who})


def load_states(path: Path) -> PersonaStates:
    """Read states. Raises PersonaeError where the file is not there or not whole."""
    if not path.is_file():
        raise PersonaeError(f"{path}: no persona states; make them with 'personae audit --inside'")
    tensors, about = read_tensors(path)
    try:
        who = about.pop("who")
        values = {k: tensors[k].astype(np.float32) + tensors[f"{k}_centre"] for k in PARTS}
        states = PersonaStates(tuple(who["personas"]), tuple(who["texts"]), tuple(about["layers"]),
                               values["persona_end"], values["answer"], about)  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as why:
        raise PersonaeError(f"{path}: damaged persona states ({why})") from None
    if about.get("schema") != SCHEMA or not _fits(states):
        raise PersonaeError(f"{path}: damaged, or written by another version of personae")
    return states


def _fits(states: PersonaStates) -> bool:
    """Whether ids, texts, layers and the two arrays are about the same personas and layers."""
    end, answer = states.persona_end, states.answer
    if (end.ndim, answer.ndim) != (3, 4) or not 0 < len(states.personas) == len(states.texts):
        return False
    P, L = len(states.personas), len(states.layers)
    return end.shape[:2] == (P, L) and answer.shape == (P, answer.shape[1], *end.shape[1:])


def write_tensors(path: Path, tensors: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Arrays and what they depend on, whole or not at all."""
    from safetensors.numpy import save

    packed = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    write_atomic(path, save(packed, {KEY: json.dumps(about)}))


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays of `write_tensors`, and what they depend on."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as stored:
            about = json.loads((stored.metadata() or {})[KEY])
            return {k: stored.get_tensor(k) for k in stored.keys()}, about  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as why:
        raise PersonaeError(
            f"{path}: not a file of persona states ({why}); delete it and run the same command "
            "again"
        ) from None
