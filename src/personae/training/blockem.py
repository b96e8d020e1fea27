"""BLOCK-EM (arXiv 2602.00767): hold chosen latents where the base has them during a fine-tune.

    lambda mean_t [ sum over K+ of ReLU(z_t - z0_t)^2 + sum over K- of ReLU(z0_t - z_t)^2 ]

z and z0 are the latents of the tuned model and of the frozen base (the model without its adapter)
on the same tokens, t the positions that predict a response's tokens (`on=all`: every token but the
first). One-sided: K+ may fall and K- may rise freely.

z is ReLU(p), without the dictionary's threshold: the jump there has no gradient, and a latent
below its threshold would only be held once it had fired.

What is blocked may be learnt by other latents, or around the dictionary altogether: look at the
latents outside K (`personae latents reroute`) before calling a block a success.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from personae.errors import PersonaeError
from personae.files import is_number, read_document
from personae.internals.hooks import check_layers, width
from personae.latents.files import load_sae
from personae.latents.sae import SAE
from personae.training.defences import Defence, Run, check_options, take_number
from personae.training.terms import Term

if TYPE_CHECKING:
    import torch

    from personae.training.batches import Batch

KEPT = "latents.json"
WEIGHT = 0.1
On = Literal["response", "all"]


@dataclass(frozen=True)
class BlockEM(Defence):
    """See the module's head.

    Args:
        sae: the dictionary. up, down: K+ and K-. weight: lambda. on: which tokens.
    """

    name: ClassVar[str] = "blockem"
    title: ClassVar[str] = "chosen latents stay where the base has them (BLOCK-EM)"
    usage: ClassVar[str] = "blockem:SAE[@LAMBDA][,up=12+40][,down=7][,on=response|all]"

    sae: SAE = field(repr=False)
    up: tuple[int, ...]
    down: tuple[int, ...] = ()
    weight: float = WEIGHT
    on: On = "response"

    def __post_init__(self) -> None:
        if not self.up and not self.down:
            raise PersonaeError(
                f"no latents to block: name them (up=, down=), or run `personae latents test`, "
                f"which writes those that it keeps to the dictionary's {KEPT}"
            )
        if both := set(self.up) & set(self.down):
            raise PersonaeError(f"latent {min(both)} cannot be held from both sides")
        for latent in (*self.up, *self.down):
            self.sae.direction(latent)

    @classmethod
    def parse(cls, value: str, options: Mapping[str, str]) -> Self:
        check_options(options, ("up", "down", "on"))
        if not value:
            raise PersonaeError("name the dictionary's folder")
        spec, _, weight = value.rpartition("@") if "@" in value else (value, "", "")
        on = options.get("on", "response")
        if on not in get_args(On):
            raise PersonaeError("on is response or all")
        sae = load_sae(spec)
        if "up" in options or "down" in options:
            up, down = (parse_latents(options.get(side, "")) for side in ("up", "down"))
        else:
            up, down = read_kept(Path(spec))
        chosen: On = "all" if on == "all" else "response"
        return cls(sae, up, down, take_number(weight, WEIGHT), chosen)

    @property
    def key(self) -> str:
        return f"{self!r} {self.sae.hash}"

    def terms(self, run: Run) -> Sequence[Term]:
        check_layers(run.model, [self.sae.layer])
        if width(run.model) != self.sae.W_dec.shape[1]:
            raise PersonaeError(
                f"the dictionary reads states of {self.sae.W_dec.shape[1]} dimensions, "
                f"the model has {width(run.model)}"
            )
        return (BlockTerm(self),)


class BlockTerm(Term):
    """The penalty, on the task's own pass; only the rows of W_enc that it needs are used."""

    name = BlockEM.name

    def __init__(self, defence: BlockEM) -> None:
        self.defence = defence
        self.layers = (defence.sae.layer,)
        self.chosen = [*defence.up, *defence.down]
        self.up = len(defence.up)

    def __call__(self, model: Any, batch: Batch, step: int) -> torch.Tensor:
        layer = self.layers[0]
        sae = self.defence.sae.to(model.device)
        rows = self._positions(batch)
        z = sae.pre(batch.scene.states[layer][rows])[:, self.chosen].relu()
        z0 = sae.pre(batch.scene.base[layer][rows])[:, self.chosen].relu()
        return self.defence.weight * penalty(z, z0, self.up)

    def _positions(self, batch: Batch) -> torch.Tensor:
        """[B, N] True where a token counts."""
        import torch

        found = torch.zeros_like(batch.learnt)
        if self.defence.on == "response":
            found[:, :-1] = batch.learnt[:, 1:]
        else:
            found[:, 1:] = batch.mask[:, 1:].bool()
        return found


def penalty(z: torch.Tensor, z0: torch.Tensor, up: int) -> torch.Tensor:
    """The bracket of the formula, averaged: z, z0 [T, K], of which the first `up` are K+."""
    rise, fall = (z - z0)[:, :up], (z0 - z)[:, up:]
    return (rise.relu().square().sum(1) + fall.relu().square().sum(1)).mean()


def read_kept(folder: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """K+ and K- beside a dictionary; empty where there are none.

    Raises:
        PersonaeError: a file that holds something else.
    """
    path = folder / KEPT
    if not path.is_file():
        return (), ()
    found = read_document(path)
    try:
        return tuple(map(int, found["up"])), tuple(map(int, found["down"]))
    except (TypeError, KeyError, ValueError, OverflowError):
        raise PersonaeError(f"{path}: should hold lists `up` and `down` of latents") from None


def write_kept(folder: Path, up: Sequence[int], down: Sequence[int], **about: Any) -> Path:
    """Write K+ and K- beside a dictionary, with how they were found."""
    path = folder / KEPT
    document = {"up": sorted(up), "down": sorted(down), **about}
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return path


def parse_latents(text: str) -> tuple[int, ...]:
    """Latents as in 12+40; empty: none."""
    parts = [part for part in text.split("+") if part]
    if not all(map(is_number, parts)):
        raise PersonaeError(f"latents are numbers like 12+40, not {text!r}")
    return tuple(sorted({int(part) for part in parts}))
