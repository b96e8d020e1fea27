"""Single batteries: run, judge, options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.batteries.registry import get_battery
from personae.collect.battery_run import BatteryRun
from personae.collect.estimate import SECONDS_A_CALL
from personae.collect.execute import Progress
from personae.errors import PersonaeError
from personae.executors.opening import ExecutorSettings, opened
from personae.executors.wire import ModelSpec
from personae.findings import Finding
from personae.models.opening import is_hosted, open_model
from personae.models.protocol import Respondent

if TYPE_CHECKING:
    from personae.models.caller import HostedSettings

from personae.api.runs import report


def run(
    battery: str,
    model: str | Respondent = "smollm2",
    *,
    judge: str | Respondent | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    fresh: bool = False,
    device: str | None = None,
    dtype: str = "auto",
    threads: int | None = None,
    hosted: HostedSettings | None = None,
    judge_hosted: HostedSettings | None = None,
    intervene: str | Path | None = None,
    executor: ExecutorSettings | None = None,
    on_progress: Progress | None = None,
    command: tuple[str, ...] = (),
) -> BatteryRun:
    """Run one battery on one model; write the run folder, its findings and its report.

    Args:
        battery: a name in `personae.batteries.registry.BATTERIES`.
        judge: a model that judges free answers, where the battery has any.
        options: of the battery (see its `defaults`); an unknown one is an error.
        hosted, judge_hosted: connections, retries, budget and so on of models behind an API.
        intervene: a file of interventions that local weights run under; a judge never does.
        executor: many workers or servers for `model`; a judge of the same name is they, too.
    """
    from personae.batteries.run import default_out
    from personae.batteries.run import run as run_it

    name = model if isinstance(model, str) else model.card.name
    path = Path(out) if out is not None else default_out(battery, name, options or {})
    spec = ModelSpec(
        model if isinstance(model, str) else "", dtype=dtype, device=device, threads=threads,
        intervene=None if intervene is None else str(intervene),
    )  # fmt: skip
    with opened(model, spec, path, executor, hosted) as who:
        judges = who if judge == model and isinstance(judge, str) and not intervene else judge
        if isinstance(judges, str):
            judges = open_model(judges, hosted=judge_hosted, device=device, threads=threads)
        done = run_it(
            battery, who, judge=judges, options=options, out=path, seed=seed, fresh=fresh,
            command=command, on_progress=on_progress,
        )  # fmt: skip
    report(done)
    return done


def estimate_battery(
    battery: str,
    model: str,
    *,
    judge: str | None = None,
    options: Mapping[str, Any] | None = None,
    connections: int = 20,
    prices: Path | None = None,
) -> dict[str, Any]:
    """What a battery would ask, without a single call: of the model and of the judge.

    Steps that depend on answers are made from made-up ones (`personae.collect.rehearsal`). Time
    assumes `SECONDS_A_CALL` over the connections; local weights have a pace of their own.
    """
    from personae.collect.rehearsal import HOSTED, LOCAL, estimate_asks, rehearse
    from personae.models.prices import load_prices

    can = (HOSTED if is_hosted(model) else LOCAL) | ({"judge"} if judge else set())
    short, long = (
        rehearse(get_battery(battery), options, can=can, wordy=wordy) for wordy in (False, True)
    )
    tables = load_prices(prices)
    found = {}
    for to, name in (("model", model), ("judge", judge)):
        if most := [ask for ask in long if ask.to == to]:
            assert name is not None
            fewest = [ask for ask in short if ask.to == to]
            rate = connections / SECONDS_A_CALL if is_hosted(name) else None
            found[to] = asdict(estimate_asks(fewest, most, name, tables, rate=rate))
    assumption = f"{SECONDS_A_CALL:g} s a call over {connections} connections"
    return {
        "schema": 1,
        "battery": battery,
        "model": model,
        "judge": judge,
        "time_assumes": assumption,
        "estimates": found,
    }


def judge(
    run: str | Path | None = None,
    *,
    judge: str | Respondent | None = None,
    protocol: str | None = None,
    labels: str | Path | None = None,
    table: str | Path | None = None,
    threads: int | None = None,
    hosted: HostedSettings | None = None,
    on_progress: Progress | None = None,
) -> list[Finding]:
    """Judge a misalignment run's stored answers again, or hold judges against people's labels.

    Args:
        run: folder of a misalignment run; or `table`: a CSV of answers that are judged already.
        judge: asked about every answer that it has not scored; findings and report are rewritten.
        protocol: thresholds by name or as `aligned<40,coherent>=60`; default: the run's.
        labels: CSV or JSONL of people's labels (`personae.judging.labels`).

    Returns:
        With `labels` agreement and corrected rate of every judge, else the rates of every judge.
    """
    from personae.batteries import rejudge

    if run is None and judge is not None:
        raise PersonaeError("--judge needs the run whose answers it judges: personae judge RUN")
    if (run is None) == (table is None) and not (run is None and labels is not None):
        raise PersonaeError("name a RUN or a --table of judged answers (one of them)")
    folder = None if run is None else rejudge.open_run(run)
    who = open_model(judge, hosted=hosted, threads=threads) if isinstance(judge, str) else judge
    found = rejudge.judge_answers(
        folder, judge=who, protocol=protocol, on_progress=on_progress,
        labels=None if labels is None else Path(labels),
        table=None if table is None else Path(table),
    )  # fmt: skip
    if folder is not None and who is not None:
        report(folder)
    return found


def battery_options(battery: str, settings: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` settings as options of a battery, each of its default's type."""
    defaults = get_battery(battery).defaults
    chosen: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in defaults:
            raise PersonaeError(
                f"{setting!r} is no option of {battery}; write KEY=VALUE with one of: "
                f"{', '.join(defaults)}"
            )
        chosen[key] = _of_type(key, value, defaults[key])
    return chosen


def _of_type(key: str, value: str, default: Any) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false"):
            raise PersonaeError(f"option {key} is true or false, not {value!r}")
        return value.lower() == "true"
    kind = int if default is None else type(default)
    if kind not in (int, float):
        return value
    try:
        return kind(value)
    except ValueError:
        raise PersonaeError(f"option {key} is a number, not {value!r}") from None
