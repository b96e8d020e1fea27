"""Small text files that other people wrote, read safely, with one-line errors.

Nothing here trusts its input: a file is bounded in size, must be UTF-8 text, and a document
(YAML or JSON) is bounded in depth and parts. YAML aliases are refused, since a few of them can
stand for billions of values, and so is a key that is given twice, since one of the two would be
dropped silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from personae.errors import PersonaeError
from personae.errors import one_line as one_line

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 32
MAX_PARTS = 400_000
# How the members of a list are called in an error message.
_MEMBER = {"personas": "persona", "items": "item", "blocks": "block"}
# A tag may choose which Python type is built; plain data needs none.
YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Model = TypeVar("Model", bound=BaseModel)
# How a cell begins that a spreadsheet would run (a plain negative number is none); escaped ones are
# escaped again, so that both ways give the same text.
FORMULA = r"'*(?:[=+@\t\r]|-(?:[\d.]*[^\d.]|$))"
_FORMULA = re.compile(FORMULA)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def csv_cell(value: object) -> object:
    """A CSV cell that no spreadsheet runs and no terminal obeys.

    A text that begins like a formula gets a leading '; control characters and direction overrides
    are shown as replacement characters.
    """
    if not isinstance(value, str):
        return value
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", value)
    return f"'{text}" if _FORMULA.match(text) else text


def from_csv_cell(text: str) -> str:
    """The text that `csv_cell` was given, but for control characters."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def is_number(text: str) -> bool:
    """Whether a text is a whole number from 0, in plain digits and not endless."""
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def number_range(text: str, most: int = 10_000) -> range | None:
    """`8` or `8-16`, both ends included; None for anything else, and for more than `most`."""
    first, dash, last = text.strip().partition("-")
    if not is_number(first) or (dash and not is_number(last)):
        return None
    found = range(int(first), int(last if dash else first) + 1)
    return found if len(found) <= most else None


def named_path(name: str | Path) -> Path:
    """The path that a person wrote, with `~` resolved; there need be no such file.

    Raises:
        PersonaeError: there can be none: an unknown user's home, a name that is too long.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PersonaeError(f"{one_line(name)}: no such file ({one_line(reason)})") from None
    return path


def is_file(path: Path) -> bool:
    """Whether `path` is a file; False, not an error, for names no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most `max_bytes`."""
    try:
        if not path.exists():
            raise PersonaeError(f"{path}: no such file")
        if not path.is_file():
            raise PersonaeError(f"{path}: not a file")
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte inside the path itself
        reason = getattr(error, "strerror", None) or error
        raise PersonaeError(f"{one_line(path)}: cannot be read ({reason})") from None
    if len(raw) > max_bytes:
        raise PersonaeError(f"{path}: larger than {max_bytes / 2**20:.0f} MB, too large to be one")
    return raw


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped), line ends as LF.

    Raises:
        PersonaeError: missing, unreadable, too large, binary, or in another encoding.
    """
    raw = read_bytes(path, max_bytes)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise PersonaeError(f"{path}: is UTF-16; save it as UTF-8")
    if b"\0" in raw:
        raise PersonaeError(f"{path}: holds NUL bytes, so it is not a text file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PersonaeError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_document(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The plain data in a .json, .yaml or .yml file.

    Raises:
        PersonaeError: as `read_text`, or not valid JSON/YAML, or nested too deeply.
    """
    text = read_text(path, max_bytes)
    if path.suffix.lower() == ".json":
        return parse_json(text, str(path))
    return parse_yaml(text, str(path))


def parse_json(text: str, where: str) -> Any:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise PersonaeError(f"{where}: the key {one_line(key)!r} is given twice")
            found[key] = value
        return found

    try:
        data = json.loads(text, object_pairs_hook=distinct)
    except json.JSONDecodeError as error:
        raise PersonaeError(f"{where}: line {error.lineno}: not JSON ({error.msg})") from None
    except RecursionError:
        raise PersonaeError(f"{where}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # an integer of thousands of digits
        raise PersonaeError(f"{where}: not JSON ({one_line(error)})") from None
    _bounded(data, where)
    if "\\ud" in text.lower():
        _check_characters(data, where)
    return data


def _check_characters(data: Any, where: str) -> None:
    """Refuse half of a character: no tokenizer takes it, and no file can hold it."""
    try:
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        around = str(error.object)[max(0, error.start - 20) : error.end + 20]
        raise PersonaeError(
            f"{where}: {one_line(around)!r} holds a lone surrogate, which is no character"
        ) from None


def parse_yaml(text: str, where: str) -> Any:
    try:
        _check_events(text, where)
        loader = YamlLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise PersonaeError(f"{where}: is empty")
            _check_keys(node, where)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise PersonaeError(f"{where}:{line} not YAML ({one_line(problem)})") from None
    except (ValueError, OverflowError) as error:  # an impossible date or a huge number
        raise PersonaeError(f"{where}: not YAML ({one_line(error)})") from None


def _check_events(text: str, where: str) -> None:
    """Refuse aliases, depth and sheer number before anything is built."""
    depth = 0
    for parts, event in enumerate(yaml.parse(text, Loader=YamlLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise PersonaeError(f"{where}: YAML aliases (*{event.anchor}) are not accepted")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise PersonaeError(f"{where}: nested deeper than {MAX_DEPTH} levels")
        if parts > MAX_PARTS:
            raise PersonaeError(f"{where}: more than {MAX_PARTS} values")


def _check_keys(node: yaml.Node, where: str) -> None:
    """Refuse a mapping that gives a key twice, or a key that is not plain text."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise PersonaeError(f"{where}: line {line}: a key must be plain text")
            if key.value in seen:
                name = one_line(key.value)
                raise PersonaeError(f"{where}: line {line}: the key {name!r} is given twice")
            seen.add(key.value)
            _check_keys(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value, where)


def _bounded(data: Any, where: str) -> None:
    """Refuse parsed JSON that is nested too deeply or has too many values."""
    parts, layer = 0, [data]
    for _ in range(MAX_DEPTH + 1):
        layer = [
            child
            for value in layer
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        parts += len(layer)
        if parts > MAX_PARTS:
            raise PersonaeError(f"{where}: more than {MAX_PARTS} values")
        if not layer:
            return
    raise PersonaeError(f"{where}: nested deeper than {MAX_DEPTH} levels")


def validated(model: type[Model], data: Any, where: str) -> Model:
    """`data` as a `model`; a misfit is one line that names file, member and field.

    Example: ``mine.yaml: item 7: field 'subscale': no subscale 'Hram'``.
    """
    if not isinstance(data, Mapping):
        kind = type(data).__name__
        raise PersonaeError(f"{where}: should be a mapping of fields, not a {kind}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        # A misspelt field is missing as well; the spelling that is there says more.
        first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
        others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        place = "".join(f"{part}: " for part in _place(first["loc"], data))
        raise PersonaeError(f"{where}: {place}{_complaint(first)}{others}") from None


def _place(loc: tuple[int | str, ...], data: Mapping[Any, Any]) -> list[str]:
    """A pydantic location in words: ["item 7", "field 'text'"]."""
    if not loc:
        return []
    if len(loc) == 1 or not isinstance(loc[1], int) or loc[0] not in _MEMBER:
        return ["field " + repr(one_line(".".join(str(part) for part in loc)))]
    member = data[loc[0]][loc[1]]
    known = isinstance(member, Mapping) and isinstance(member.get("id"), str | int)
    name = one_line(member["id"], 40) if known else f"number {loc[1] + 1}"
    words = [f"{_MEMBER[str(loc[0])]} {name}"]
    if len(loc) > 2:
        words.append("field " + repr(one_line(".".join(str(part) for part in loc[2:]))))
    return words


def _complaint(problem: Mapping[str, Any]) -> str:
    match problem["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a known field"
        case "string_too_short":
            return "is empty"
        case "value_error":
            return one_line(problem["msg"].removeprefix("Value error, "), 200)
    text = one_line(problem["msg"], 200)
    return text[0].lower() + text[1:]
