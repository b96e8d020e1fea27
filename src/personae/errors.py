"""The one error that a user is meant to read.

Anything a user can mend (a wrong path, a missing extra, a broken file) is raised as
`PersonaeError` with one line that names what is wrong and what to do. The command line prints
that line and exits with code 2; from Python it is an ordinary exception.
"""

from __future__ import annotations

import os
import re

LONGEST = 1000  # characters of a message
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)[^/\s@]+@")


class PersonaeError(Exception):
    """A mistake in the input or the environment; the message names the mend.

    Whatever it quotes (a name, a line of a file, another library's words), the message is one line
    that a terminal shows as it is, and shows no key.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(without_keys(str(message)), LONGEST))


def one_line(value: object, limit: int = 80) -> str:
    """`value` as text that fits into a one-line message.

    No line breaks, control characters, bidirectional marks or lone surrogates.
    """
    text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", str(value)).strip()
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def secrets() -> tuple[str, ...]:
    """Values of variables named like keys, longest first (one may hold another)."""
    named = {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    return tuple(sorted((v for v in named if len(v) >= 8), key=len, reverse=True))


def without_keys(text: str) -> str:
    """`text` without those values, and without the credentials of a URL."""
    for secret in secrets():
        text = text.replace(secret, "[key]")
    return _IN_URL.sub("[key]@", text)
