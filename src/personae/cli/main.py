"""The command `personae`: one verb per file; each parses, calls the library and prints."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from personae.cli import (
    audit,
    axis,
    compare,
    doctor,
    exporting,
    findings,
    gate,
    geometry,
    heal,
    importing,
    judging,
    latents,
    listing,
    power,
    report,
    reproduce,
    running,
    study,
    training,
    vectors,
)
from personae.cli.console import plain_help, say
from personae.errors import PersonaeError

app = typer.Typer(
    name="personae",
    help="Measure, explain, steer and repair the characters inside a language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
MEASURE = "Measure a model"
ANSWER = "Compare and decide"
INSIDE = "Look inside"
TRAIN = "Break, watch, heal"
LOOK = "Runs and this installation"
INTERRUPTED = 130

app.command("audit", no_args_is_help=False, rich_help_panel=MEASURE)(audit.audit)
app.command("run", rich_help_panel=MEASURE)(running.run)
app.command("judge", no_args_is_help=True, rich_help_panel=MEASURE)(judging.judge)
app.command("compare", rich_help_panel=ANSWER)(compare.compare)
app.command("gate", rich_help_panel=ANSWER)(gate.gate)
app.command("geometry", rich_help_panel=INSIDE)(geometry.geometry)
app.command("power", rich_help_panel=ANSWER)(power.power)
app.command("import", rich_help_panel=MEASURE)(importing.import_ratings)
app.command("export", rich_help_panel=LOOK)(exporting.export)
app.command("findings", rich_help_panel=LOOK)(findings.findings)
app.command("report", rich_help_panel=LOOK)(report.report)
app.command("reproduce", rich_help_panel=ANSWER)(reproduce.reproduce)
app.add_typer(vectors.app, name="vectors", rich_help_panel=INSIDE)
app.add_typer(latents.app, name="latents", rich_help_panel=INSIDE)
app.add_typer(axis.app, name="axis", rich_help_panel=INSIDE)
app.command("train", rich_help_panel=TRAIN)(training.train)
app.command("study", no_args_is_help=True, rich_help_panel=TRAIN)(study.study)
app.command("heal", no_args_is_help=True, rich_help_panel=TRAIN)(heal.heal)
app.add_typer(listing.list_app, name="list", rich_help_panel=LOOK)
app.add_typer(listing.show_app, name="show", rich_help_panel=LOOK)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)


def _version(show: bool) -> None:
    if show:
        from personae import __version__

        typer.echo(f"personae {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None: ...


def run() -> None:
    """Entry point: a mendable mistake is one line and exit code 2, Ctrl-C is 130."""
    plain_help()
    try:
        app()
    except PersonaeError as error:
        say(f"personae: {' '.join(str(error).split())}")
        sys.exit(2)
    except ModuleNotFoundError as error:
        from personae.diagnosis import extra_of

        if (extra := extra_of(error.name)) is None:
            raise
        say(f"personae: this needs {error.name}; run: pip install 'personae[{extra}]'")
        sys.exit(2)
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as left:
        if left.code == INTERRUPTED:  # Typer takes Ctrl-C itself and says nothing
            _stopped()
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.filename is None:  # nothing that a person named
            raise
        say(f"personae: {error.filename}: cannot be read or written ({error.strerror})")
        sys.exit(2)


def _stopped() -> NoReturn:
    say("personae: stopped; what was collected is kept: run the same command to resume")
    sys.exit(INTERRUPTED)
