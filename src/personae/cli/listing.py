"""`personae list` and `personae show`: what comes with personae."""

from __future__ import annotations

from typing import Annotated

import typer

from personae.cli.console import WIDTH, JsonFlag, in_lines, print_json, table

list_app = typer.Typer(help="List what there is to choose from.", no_args_is_help=True)
show_app = typer.Typer(help="Show a cast, an instrument or a model.", no_args_is_help=True)


@list_app.command("casts")
def list_casts(json_: JsonFlag = False) -> None:
    """List the casts. Example: personae list casts"""
    from personae import catalogue

    _print(catalogue.casts(), "casts", json_)


@list_app.command("instruments")
def list_instruments(json_: JsonFlag = False) -> None:
    """List the questionnaires. Example: personae list instruments --json"""
    from personae import catalogue

    _print(catalogue.instruments(), "instruments", json_)


@list_app.command("models")
def list_models(json_: JsonFlag = False) -> None:
    """List the kinds of model that can be audited. Example: personae list models"""
    from personae import catalogue

    _print(catalogue.models(), "models", json_)


@list_app.command("layouts")
def list_layouts(json_: JsonFlag = False) -> None:
    """List the prompt layouts. Example: personae list layouts"""
    from personae import catalogue

    _print(catalogue.layouts(), "layouts", json_)


@list_app.command("batteries")
def list_batteries(json_: JsonFlag = False) -> None:
    """List the batteries and their options. Example: personae list batteries"""
    from personae import catalogue

    _print(catalogue.batteries(), "batteries", json_)


@list_app.command("defences")
def list_all_defences(json_: JsonFlag = False) -> None:
    """List the defences of `personae train`. Example: personae list defences"""
    from personae import catalogue

    _print(catalogue.defences(), "defences", json_)


@show_app.command("cast")
def show_cast(
    name: Annotated[str, typer.Argument(help="A name, a number N, or a file.")],
    json_: JsonFlag = False,
) -> None:
    """Show a cast's personas. Example: personae show cast toxic"""
    from personae.cast import load_cast

    cast = load_cast(name)
    if json_:
        print_json({"schema": 1, "cast": cast.model_dump(mode="json") | {"hash": cast.hash}})
        return
    table(cast.title or cast.name, ["id", "persona"], [[p.id, p.text] for p in cast.personas])


@show_app.command("instrument")
def show_instrument(
    name: Annotated[str, typer.Argument(help="A name or a file.")], json_: JsonFlag = False
) -> None:
    """Show an instrument's items. Example: personae show instrument mfi30"""
    from personae.instruments import load_instrument

    shown = load_instrument(name)
    if json_:
        document = shown.model_dump(mode="json") | {"hash": shown.hash}
        print_json({"schema": 1, "instrument": document})
        return
    rows = [[i.id, i.subscale + (" (reverse)" if i.reverse else ""), i.text] for i in shown.items]
    scale = f"{shown.scale.min}-{shown.scale.max}"
    table(f"{shown.title or shown.name} ({scale})", ["id", "subscale", "item"], rows)


@show_app.command("model")
def show_model(
    name: Annotated[str, typer.Argument(help="A bundled model, or an adapter's folder.")],
    json_: JsonFlag = False,
) -> None:
    """Show what a model was made from. Example: personae show model smollm2-actor"""
    from personae import catalogue

    card = catalogue.model_card(name)
    if json_:
        print_json({"schema": 1, "model": name, "card": card})
        return
    print("\n".join(in_lines(card, WIDTH)))


def _print(rows: list[dict[str, str]], kind: str, json_: bool) -> None:
    if json_:
        print_json({"schema": 1, kind: rows})
        return
    table("", list(rows[0]), [list(row.values()) for row in rows])
