"""What there is to choose from, by name: the lists of `personae list`."""

from __future__ import annotations

from personae.batteries.registry import BATTERIES, get_battery
from personae.cast import CastEntry, list_casts
from personae.errors import PersonaeError
from personae.files import named_path, read_text
from personae.instruments import InstrumentEntry, list_instruments
from personae.models import embedded
from personae.prompts import LAYOUTS
from personae.training.defences import list_defences


def casts() -> list[dict[str, str]]:
    """The casts that can be named."""
    return [_entry(e) for e in list_casts()]


def instruments() -> list[dict[str, str]]:
    """The instruments that can be named."""
    return [_entry(e) for e in list_instruments()]


def _entry(entry: CastEntry | InstrumentEntry) -> dict[str, str]:
    at_hand = "bundled" if entry.bundled else "fetched on first use"
    return {"name": entry.name, "size": str(entry.size), "what": entry.title, "at hand": at_hand}


def batteries() -> list[dict[str, str]]:
    """The batteries that can be run, with their options and defaults."""
    found = [{"name": "moral", "what": "see `personae audit`", "options": ""}]
    for name in BATTERIES:
        battery = get_battery(name)
        options = ", ".join(f"{k}={v}" for k, v in battery.defaults.items())
        found.append({"name": name, "what": battery.title, "options": options})
    return found


def defences() -> list[dict[str, str]]:
    """The defences of `personae train --defend`, and how each is spelt."""
    return list_defences()


def layouts() -> list[dict[str, str]]:
    """The prompt layouts that can be named."""
    return [
        {"name": name, "what": (layout.__doc__ or "").splitlines()[0]}
        for name, layout in LAYOUTS.items()
    ]


def models() -> list[dict[str, str]]:
    """The kinds of model that `audit` takes."""
    return [
        {"model": "smollm2", "what": "SmolLM2-135M-Instruct, embedded, offline"},
        {"model": embedded.ACTOR, "what": "the same, taught to play personas (audit's default)"},
        {"model": "ORG/NAME", "what": "a Hugging Face id, or a folder with safetensors"},
        {"model": "FILE.gguf", "what": "a GGUF file, dequantised"},
        {"model": "FOLDER", "what": "a PEFT adapter; its base is read from its config"},
        {"model": "BASE+ADAPTER", "what": "any base with a PEFT adapter on top"},
        {"model": "PROVIDER/NAME", "what": "a hosted model by its Inspect id (openai/gpt-4o)"},
    ]


def model_card(name: str) -> str:
    """The model card (markdown) of a bundled model or of an adapter's folder.

    Raises:
        PersonaeError: there is none.
    """
    if name == embedded.NAME:
        return f"SmolLM2-135M-Instruct as it is, from the package {embedded.PACKAGE}; untrained.\n"
    folder = embedded.ACTOR_FOLDER if name == embedded.ACTOR else named_path(name)
    card = folder / "README.md"
    if not card.is_file():
        raise PersonaeError(f"no model card: {card}; there are: {embedded.NAME}, {embedded.ACTOR}")
    return read_text(card)
