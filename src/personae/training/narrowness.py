"""Is a fine-tune's solution narrow or general? (arXiv 2602.07852)

An adapter adds W = s B A to each adapted layer. With A fixed, W is linear in x, all B together:

    stability    L(x') - L(x),  x' = sqrt(1 - e^2) x + e y,  y random, <x, y> = 0, |y| = |x|
                 how much loss (nats a token) noise of share e costs at the same norm; a general
                 solution lies in a broader minimum and loses less
    efficiency   L at |W| = r (Frobenius, over all layers): what a change of that size achieves;
                 r is made by scaling x
    cosines      of the mean-difference directions of several fine-tunes at a layer: one general
                 direction, or one for each

L is the mean negative log-likelihood of responses (nats a token) on some conversations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from personae.errors import PersonaeError
from personae.findings import Finding
from personae.measures.ratio import mean_interval
from personae.ratings import Floats
from personae.training.batches import Example, collate, encode_all
from personae.training.rows import Rows
from personae.training.sft import padding_token, response_nll

if TYPE_CHECKING:
    import torch

    from personae.models.local import LocalModel

NOISE = (0.1, 0.3, 0.5)
DRAWS = 3
BATCH = 4


def unmerged(spec: str, *, device: str | None = None, threads: int | None = None) -> LocalModel:
    """A fine-tune with its adapter beside the base's weights (`load_model` merges the two).

    Raises:
        PersonaeError: no adapter.
    """
    from personae.models.loading import load_model
    from personae.models.source import declared_base, resolve
    from personae.training.adapters import take_up

    adapter = resolve(spec).adapter
    if adapter is None:
        raise PersonaeError(f"{spec}: has no adapter; name BASE+ADAPTER")
    base = spec.partition("+")[0] if "+" in spec else declared_base(adapter)
    local = load_model(base, device=device, threads=threads)
    local.model = take_up(local.model, adapter).eval()
    return local


def adapted(model: Any) -> list[tuple[torch.nn.Parameter, torch.nn.Parameter, float]]:
    """(A [r, in], B [out, r], s) of every adapted layer of a PEFT model, in its order.

    Raises:
        PersonaeError: the model has no LoRA adapter.
    """
    found = [
        (module.lora_A[name].weight, module.lora_B[name].weight, float(module.scaling[name]))
        for module in model.modules()
        if hasattr(module, "lora_A")
        for name in module.lora_A
    ]
    if not found:
        raise PersonaeError("this model has no low-rank adapter, so there is nothing to measure")
    return found


def adapter_norm(model: Any) -> float:
    """|W|, Frobenius, over all adapted layers: sum of s^2 tr(B^T B A A^T), and its root."""
    square = sum(
        s**2 * float(((B.double().T @ B.double()) * (A.double() @ A.double().T)).sum().detach())
        for A, B, s in adapted(model)
    )
    return math.sqrt(square)


@contextmanager
def replaced(model: Any, values: Sequence[torch.Tensor]) -> Iterator[None]:
    """The model with other matrices B, in the order of `adapted`; afterwards as before."""
    import torch

    parameters = [B for _, B, _ in adapted(model)]
    before = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)


def noisy(values: Sequence[torch.Tensor], share: float, seed: int) -> list[torch.Tensor]:
    """x' = sqrt(1 - e^2) x + e y, with y orthogonal to x over all matrices together."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    x = torch.cat([v.detach().double().flatten().cpu() for v in values])
    y = torch.randn(len(x), generator=draw, dtype=torch.float64)
    y -= (x @ y) / (x @ x) * x
    y *= x.norm() / y.norm()
    mixed = math.sqrt(1 - share**2) * x + share * y
    parts = torch.split(mixed, [v.numel() for v in values])
    return [p.view_as(v).to(v) for p, v in zip(parts, values, strict=True)]


class TaskLoss:
    """L of some conversations, conversation by conversation."""

    def __init__(self, model: LocalModel, rows: Rows, max_tokens: int = 512) -> None:
        self.model = model.model
        self.examples: list[Example] = encode_all(rows.rows, model.chat, max_tokens)
        self.padding = padding_token(model.chat)

    def __call__(self) -> Floats:
        """[batches] nats a token, BATCH conversations each."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(self.examples), BATCH):
                some = self.examples[start : start + BATCH]
                batch = collate(some, self.padding, self.model.device)
                tokens = sum(e.responses for e in some)
                found.append(float(response_nll(self.model, batch)) / tokens)
        return np.array(found)


def stability(
    model: LocalModel, loss: TaskLoss, name: str, noise: Sequence[float] = NOISE,
    draws: int = DRAWS, seed: int = 0,
) -> list[Finding]:  # fmt: skip
    """Rise of the loss by share of noise; an interval over draws."""
    values = [B for _, B, _ in adapted(model.model)]
    plain = loss().mean()
    rows = []
    for share in noise:
        rises = []
        for n in range(draws):
            with replaced(model.model, noisy(values, share, seed + n)):
                rises.append(float(loss().mean() - plain))
        mean = mean_interval(np.array(rises))
        rows.append(
            Finding("latents", "noise_cost", f"{name}: {share:g}", mean.value, mean.low, mean.high,
                    mean.se, draws, "orthogonal noise at the same norm; t over draws, 95%",
                    "nats/token")
        )  # fmt: skip
    return rows


def efficiency(
    model: LocalModel, loss: TaskLoss, name: str, norms: Sequence[float]
) -> list[Finding]:
    """Loss with the adapter scaled to each norm."""
    values = [B.detach().clone() for _, B, _ in adapted(model.model)]
    own = adapter_norm(model.model)
    if not own:
        raise PersonaeError(f"{name}: the adapter changes nothing, so it cannot be scaled")
    rows = []
    for norm in norms:
        with replaced(model.model, [value * (norm / own) for value in values]):
            mean = mean_interval(loss())
        rows.append(
            Finding("latents", "loss_at_norm", f"{name}: {norm:.3g}", mean.value, mean.low,
                    mean.high, mean.se, mean.n,
                    f"own norm {own:.3g}; t over batches of {BATCH} conversations, 95%",
                    "nats/token")
        )  # fmt: skip
    return rows


def cosines(directions: Mapping[str, Floats]) -> list[Finding]:
    """Cosine of every two directions [d], such as mean differences of organisms and seeds."""
    names = list(directions)
    units = {n: v / (np.linalg.norm(v) or 1.0) for n, v in directions.items()}
    return [
        Finding("latents", "direction_cosine", f"{a} | {b}", float(units[a] @ units[b]),
                method=f"mean-difference directions of {len(units[a])} dimensions")
        for k, a in enumerate(names)
        for b in names[k + 1 :]
    ]  # fmt: skip
