"""The training loop: one objective, one optimiser, checkpoints that resume exactly.

An objective gives the parts of a step's loss; each part is differentiated as it comes, so that
memory holds one at a time, and their gradients add up to the step's. What a step sees depends on
its number and the seed alone, dropout included: a run that was stopped and taken up again ends
with the same weights as one that was not.

This is a loop of our own rather than TRL's trainer: a step's loss may have further terms that
need the activations of the same pass (defences), what a step sees must hang on its number alone,
and trees of tokens are no padded batches.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from personae.errors import PersonaeError
from personae.training.adapters import WEIGHTS, quiet, save_adapter, trainable
from personae.training.recipes import Recipe
from personae.training.terms import Part

if TYPE_CHECKING:
    import torch

# In a folder of its own: a folder with an adapter holds one safetensors file.
OPTIMISER = "resume/optimizer.safetensors"
FIELDS = ("step", "loss", "rate", "gradient_norm", "tokens")


class Objective(Protocol):
    """What is minimised."""

    def parts(self, model: Any, step: int) -> Iterator[Part | tuple[torch.Tensor, int]]:
        """Scalars whose sum is the loss of a step, and the tokens that each took."""
        ...


@dataclass(frozen=True)
class Step:
    """One line of the log: the step's number from 0, its loss (nats), and how it went.

    `terms` holds the loss's summands by name, where it has several; each is a column of log.csv.
    """

    step: int
    loss: float
    rate: float
    gradient_norm: float
    tokens: int
    terms: Mapping[str, float] = field(default_factory=dict)


OnStart = Callable[[int, Any], None]
"""Called before the first step with the steps that are done already, and the live model."""
OnStep = Callable[[Step, Any], bool | None]
"""Called after each step with its log line and the live model; True ends the run there."""
AfterUpdate = Callable[[bool], None]
"""Called after each update of the weights, before they are saved; True after the last one."""
OnProgress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


def fit(
    model: Any,
    objective: Objective,
    recipe: Recipe,
    *,
    steps: int,
    out: Path,
    seed: int,
    identity: Mapping[str, Any],
    after_update: AfterUpdate | None = None,
    on_start: OnStart | None = None,
    on_step: OnStep | None = None,
    on_progress: OnProgress | None = None,
) -> list[Step]:
    """Train the model's adapter; resume where `out` holds checkpoints of the same run.

    Args:
        identity: what the run is (data, base, ...); checkpoints of another are refused.

    Returns:
        The log of all steps, earlier ones included.

    Raises:
        PersonaeError: a loss that is not a number, no memory, or another run's checkpoints.
    """
    run = _Run(model, recipe, steps, out, {**identity, "recipe": recipe.hash, "seed": seed})
    run.resume()
    model.train()
    if on_start is not None:
        on_start(len(run.log), model)
    if on_progress is not None:
        on_progress(len(run.log), steps)
    while len(run.log) < steps:
        step = len(run.log)
        with run.one_line_errors(step):
            line = run.step(objective, step, seed)
        if after_update is not None:
            after_update(step + 1 == steps)
        run.record(line)
        if on_progress is not None:
            on_progress(step + 1, steps)
        ends = on_step is not None and on_step(line, model) is True
        model.train()
        if (step + 1) % recipe.save_every == 0 or step + 1 == steps or ends:
            run.save()
        if ends:
            break
    model.eval()
    return run.log


class _Run:
    """A run's optimiser, log and checkpoints."""

    def __init__(
        self, model: Any, recipe: Recipe, steps: int, out: Path, identity: dict[str, Any]
    ) -> None:
        import torch

        self.model, self.recipe, self.steps, self.out = model, recipe, steps, out
        self.identity = {**identity, "steps": steps}
        self.weights = trainable(model)
        self.optimiser = torch.optim.AdamW(
            self.weights.values(), lr=recipe.rate, weight_decay=recipe.weight_decay,
            betas=(0.9, recipe.beta2),
        )  # fmt: skip
        self.log: list[Step] = []

    def step(self, objective: Objective, step: int, seed: int) -> Step:
        import torch

        torch.manual_seed((seed * 1_000_003 + step) % 2**63)  # dropout, whatever went before
        rate = self.recipe.rate_at(step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss, tokens = 0.0, 0
        terms: dict[str, float] = {}
        for part in self.parts(objective, step):
            part.loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part.loss.detach())
            tokens += part.tokens
            for name, value in part.values.items():
                terms[name] = terms.get(name, 0.0) + value
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.values(), self.recipe.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FloatingPointError(f"loss {loss}, gradient norm {norm}")
        self.optimiser.step()
        return Step(step, loss, rate, norm, tokens, terms)

    def parts(self, objective: Objective, step: int) -> Iterator[Part]:
        """The step's parts, computed in the recipe's precision."""
        import torch

        kind = next(iter(self.weights.values())).device.type
        low = self.recipe.precision == "bfloat16"
        found = objective.parts(self.model, step)
        while True:
            with torch.autocast(kind, dtype=torch.bfloat16, enabled=low):
                part = next(found, None)
            if part is None:
                return
            yield Part(*part)

    def record(self, line: Step) -> None:
        self.log.append(line)
        self._write_log("a", [line])

    def _write_log(self, mode: str, lines: list[Step]) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / "log.csv"
        new = mode == "w" or not path.exists()
        with path.open(mode, newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow([*FIELDS, *(lines[0].terms if lines else ())])
            writer.writerows(
                [*(getattr(line, f) for f in FIELDS), *line.terms.values()] for line in lines
            )

    @contextmanager
    def one_line_errors(self, step: int) -> Iterator[None]:
        import torch

        last = self._last()
        kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        try:
            yield
        except FloatingPointError as why:
            raise PersonaeError(
                f"step {step}: not a number ({why}); {kept}; lower the recipe's rate"
            ) from None
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as why:
            words = ("out of memory", "not enough memory", "can't allocate memory")
            if type(why) is RuntimeError and not any(w in str(why).lower() for w in words):
                raise
            raise PersonaeError(
                f"step {step}: out of memory; {kept}; lower the recipe's micro or max_tokens"
            ) from None

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted((self.out / "checkpoints").glob("step-" + "[0-9]" * 6))

    def _last(self) -> Path | None:
        return next((p for p in reversed(self.checkpoints()) if (p / OPTIMISER).exists()), None)

    def save(self) -> None:
        """Write a checkpoint, all of it or nothing; earlier ones keep their adapter alone."""
        from safetensors.torch import save_file

        before = self.checkpoints()
        target = self.out / "checkpoints" / f"step-{len(self.log):06d}"
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        save_adapter(self.model, part)
        (part / OPTIMISER).parent.mkdir()
        save_file(self._moments(), part / OPTIMISER)
        state = {"identity": self.identity, "log": [vars(line) for line in self.log]}
        (part / "state.json").write_text(json.dumps(state), "utf-8")
        part.rename(target)
        for old in before:
            (old / OPTIMISER).unlink(missing_ok=True)

    def _moments(self) -> dict[str, torch.Tensor]:
        return {
            f"{name}:{key}": value.detach().cpu().contiguous()
            for name, parameter in self.weights.items()
            for key, value in self.optimiser.state[parameter].items()
        }

    def resume(self) -> None:
        last = self._last()
        if last is None:
            return
        state = json.loads((last / "state.json").read_text("utf-8"))
        if state["identity"] != self.identity:
            theirs = state["identity"]
            names = [k for k, v in self.identity.items() if theirs.get(k) != v]
            raise PersonaeError(
                f"{self.out} holds a run with another {', '.join(names) or 'identity'}; "
                "give another --out"
            )
        self._load(last)
        self.log = [Step(**line) for line in state["log"]]
        self._write_log("w", self.log)

    def _load(self, checkpoint: Path) -> None:
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        with quiet():
            set_peft_model_state_dict(self.model, load_file(checkpoint / WEIGHTS))
        moments = load_file(checkpoint / OPTIMISER)
        for name, parameter in self.weights.items():
            self.optimiser.state[parameter] = {
                key.rpartition(":")[2]: value.to(
                    "cpu" if key.endswith(":step") else parameter.device
                )
                for key, value in moments.items()
                if key.rpartition(":")[0] == name
            }
