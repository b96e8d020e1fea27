"""Runs a page of the documentation in its own prepared folder: commands and Python, in order."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from doc_pages import Block, blocks, commands, inline, pages
from doc_tables import ADDED, NAMES, PRINTED, READ, REHEARSED, SHORTER, STANDS_FOR
from doc_workspace import copied
from servers import Received, Reply, Server, completion
from test_hosted import honest
from test_trait_writing import members
from typer.testing import CliRunner

from personae.cli.main import app
from personae.models import embedded, loading


def share(part: int, of: int) -> list[str]:
    """Every `of`-th page on which something is to be run."""
    printed = {f"docs/tutorials/{name}.md" for name in PRINTED}
    some = [p for p in pages() if in_text(p) or any(b.kind == "python" or _ours(b)
            for b in blocks(p))]  # fmt: skip
    return [page for page in some if page not in printed][part::of]


def in_text(page: str) -> list[str]:
    """Commands in the text that say enough to be run, if not in a block or on a page before."""
    before = pages()[: pages().index(page)]
    seen = {command for _, command in commands()} | {text for p in before for text in inline(p)}
    return [text for text in dict.fromkeys(inline(page)) if text not in seen and _complete(text)]


def run_page(page: str, template: Path, folder: Path, server: Server) -> None:
    """Run all that a page has, in its order, then what is in its text.

    Raises:
        AssertionError: with the first command that failed, and what it printed.
    """
    found = blocks(page)
    copied(template, folder, found)
    names: dict[str, Any] = {}
    with prepared(folder, template, server):
        for block in found:
            for command in _ours(block):
                run_command(command, block.where, server.url)
            if block.kind == "python":
                run_python(block, names)
    for n, command in enumerate(in_text(page)):  # not one after the other, as in a block
        own = copied(template, folder.with_name(f"text-{n}"), [])
        with prepared(own, template, server):
            run_command(command, page, server.url)


def run_command(command: str, where: str, url: str) -> None:
    """Run one command as a shell would, made short."""
    words, out = words_of(command, url)
    if "labels.csv" in words:
        _label_answers()
    done = CliRunner().invoke(app, [*words, *_more(command, words)])
    assert done.exit_code == 0, f"{where}: {command}\n{done.output[-2000:]}\n{done.exception!r}"
    if out:
        Path(out).write_text(done.stdout, "utf-8")


def words_of(command: str, url: str = "http://localhost/v1") -> tuple[list[str], str]:
    """What a command line gives to personae, and the file that its output goes to."""
    text = re.sub(r"http://[\w.]+:8000/v1", url, command)
    for pattern, other in STANDS_FOR:
        text = re.sub(pattern, other, text)
    text, _, out = text.removeprefix("personae ").partition(" > ")
    return [w for word in shlex.split(text) for w in _matching(word)], out.strip()


def _more(command: str, words: list[str]) -> list[str]:
    """The options of ADDED, but for those to which the page gives a name (--suite full)."""
    if command.startswith(tuple(REHEARSED)):
        return ["--dry-run"]
    begun = command.removeprefix("personae ")
    added = next((more for begin, more in ADDED if begun.startswith(begin)), "")
    named = {o for o, value in pairwise(words) if o.startswith("--") and re.match("[a-z]", value)}
    options = [part.split() for part in re.findall(r"--\S+(?: (?!--)\S+)?", added)]
    return [word for option in options if option[0] not in named for word in option]


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a block of Python; `names` go from one block of a page to the next."""
    text = block.text
    for long, short in SHORTER:
        text = text.replace(long, short)
    if "trainer." in text:
        names["trainer"] = _trainer()
    exec(compile(text, block.where, "exec"), names)


@contextmanager
def prepared(folder: Path, template: Path, server: Server) -> Iterator[None]:
    """In the folder, `smollm2` is the tiny model, and every provider is the server."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(embedded, "folder", lambda: (template / "tiny", "0" * 64))
        patch.setattr(embedded, "ACTOR_FOLDER", template / "ADAPTER")
        patch.setattr(loading, "idle_cores", lambda most: 1)  # it watches for half a second
        for name in ("OPENAI", "OPENROUTER", "VLLM"):
            patch.setenv(f"{name}_BASE_URL", server.url)
            patch.setenv(f"{name}_API_KEY", "sk-loopback-0123456789abcdef")
        yield
    torch.set_num_threads(threads)


def answer(request: Received) -> Reply:
    """A server that rates, judges kindly, and writes what a trait file is made of."""
    exact = request.body.get("logprobs")
    if "JSON" in request.text:
        return completion(members(request.text, request.index))
    if "100" in request.text:
        return completion("90", [("90", 0.8), ("5", 0.1)] if exact else None)
    return honest(request) if exact else completion(str(request.index % 6))


def _ours(block: Block) -> list[str]:
    """The commands of personae in a block, without what a shell would decide before them."""
    found = (re.search(r"(?:^|\|\| )(personae .*)", command) for command in block.commands())
    return [m[1] for m in found if m and not m[1].startswith(tuple(READ))]


def _complete(text: str) -> bool:
    named = set(re.findall(r"\b[A-Z]+\b", text))
    says_enough = "--" in text if not named else named <= NAMES
    return text.startswith("personae ") and not text.startswith(tuple(READ)) and says_enough


def _matching(word: str) -> list[str]:
    """What a shell makes of a word."""
    return (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]


def _label_answers() -> None:
    """What a person does between two commands."""
    with Path("answers.csv").open(newline="") as file:
        answers = [row["answer_id"] for row in csv.DictReader(file)]
    rows = [f"{answer},{10 * n}" for n, answer in enumerate(answers)]
    Path("labels.csv").write_text("\n".join(["answer_id,label", *rows]), "utf-8")


def _trainer() -> Any:
    """What a script that fine-tunes has in hand."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained("MODEL")
    rows = [tokenizer(text)["input_ids"] for text in ("red is a colour", "blue is one too")]
    args = TrainingArguments(
        output_dir="trained", max_steps=1, report_to=[], save_strategy="no", use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    return Trainer(
        model=AutoModelForCausalLM.from_pretrained("MODEL"), args=args, processing_class=tokenizer,
        train_dataset=[{"input_ids": row[:4], "labels": row[:4]} for row in rows],
    )  # fmt: skip
