"""Several servers of one model as one respondent, asked cell by cell.

Every server takes the next cell when one of its connections is free, so a fast one does more and a
slow one holds nobody up. A cell that brought no answer goes to another server. A server whose
calls keep failing is left alone for a while, then asked a short question; when it answers it takes
part again. Answers are stored as they come, as for one hosted model (collect/execute.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from personae.errors import PersonaeError, without_keys
from personae.executors.sharing import Sharing
from personae.models.caller import HostedSettings
from personae.models.hosted import HostedModel
from personae.models.protocol import (
    Answer,
    ChoiceRequest,
    ModelCard,
    RatingRequest,
    Request,
    ScoreRequest,
    TextRequest,
)
from personae.prompts import Prompt

RETRIES = 2  # at one server; then another is asked
REST_SECONDS = 5.0
Open = Callable[[str], HostedModel]


class EndpointPool:
    """One model behind several OpenAI-compatible servers.

    Args:
        name: an Inspect id, the same for all.
        urls: base URLs.
        tries: servers that a cell is asked at before it counts as unanswered.
        rest: seconds before a server that failed is asked again; doubles, up to a minute.
        patience: seconds without any server before the run ends.

    Raises:
        PersonaeError: no server answers, or they serve different models.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        settings: HostedSettings | None = None,
        *,
        tries: int = 3,
        rest: float = REST_SECONDS,
        patience: float = 300.0,
    ) -> None:
        chosen = settings or HostedSettings()
        chosen = replace(chosen, max_retries=min(chosen.max_retries, RETRIES))
        self._open: Open = lambda url: HostedModel(name, replace(chosen, base_url=url))
        self.urls = tuple(dict.fromkeys(urls))
        self.tries, self.rest, self.patience = tries, rest, patience
        self.models: dict[str, HostedModel] = {}
        problems = [self._try_open(url) for url in self.urls]
        if not self.models:
            raise PersonaeError(next(p for p in problems if p))
        try:
            self.card = self._describe()
        except PersonaeError:
            self.close()
            raise

    # --- as a respondent ----------------------------------------------------------------------
    @property
    def exact(self) -> bool:
        return self._any.exact

    @property
    def can(self) -> frozenset[str]:
        return self._any.can

    def rate(
        self, requests: Sequence[RatingRequest], temperature: float | None = None
    ) -> Iterator[Answer]:
        return self._in_order(requests, temperature)

    def choose(self, requests: Sequence[ChoiceRequest]) -> Iterator[Answer]:
        return self._in_order(requests, None if self.exact else 1.0)

    def write(self, requests: Sequence[TextRequest]) -> Iterator[Answer]:
        return self._in_order(requests, 1.0)

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[Answer]:
        return self._any.score(requests)

    def generate(
        self, prompts: Sequence[Prompt], *, max_tokens: int, temperature: float, seed: int
    ) -> list[str]:
        asked = [TextRequest(p, max_tokens, temperature, seed + k) for k, p in enumerate(prompts)]
        return [a.response for a in self.write(asked)]

    def stream(self, requests: Iterable[Request], temperature: float | None = None) -> Sharing:
        """Answers as they come in, with their request's position (see sharing.py).

        Raises:
            PersonaeError: at once, if exact ratings are wanted and not possible; at the end, if
                no server was left.
        """
        if temperature is None:
            self._any.stream((), None)  # says why exact ratings are not possible, where so
        return Sharing(self, requests, temperature)

    def close(self) -> None:
        for model in self.models.values():
            model.close()

    def __enter__(self) -> EndpointPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_order(self, requests: Sequence[Request], temperature: float | None) -> Iterator[Answer]:
        waiting: dict[int, Answer] = {}
        due = 0
        stream = self.stream(requests, temperature)
        try:
            for index, answer in stream:
                waiting[index] = answer
                while due in waiting:
                    yield waiting.pop(due)
                    due += 1
        finally:
            stream.stop()

    # --- servers ------------------------------------------------------------------------------
    @property
    def _any(self) -> HostedModel:
        return next(iter(self.models.values()))

    def _try_open(self, url: str) -> str:
        """Open a server, which asks it a few short questions; the problem, if there is one."""
        try:
            self.models[url] = self._open(url)
        except PersonaeError as error:
            return str(error)
        return ""

    def healthy(self, url: str) -> bool:
        """Whether a server answers a fresh start's questions, and as its fellows do."""
        old = self.models.get(url)
        if self._try_open(url):
            return False
        if old is not None:
            with suppress(Exception):  # what is broken may not close either
                old.close()
        found = self.models[url].card
        return found.revision == self.card.revision and _how(found) == _how(self.card)

    def _describe(self) -> ModelCard:
        cards = {url: model.card for url, model in self.models.items()}
        first = next(iter(cards.values()))
        for url, card in cards.items():
            if (card.revision, _how(card)) != (first.revision, _how(first)):
                raise PersonaeError(
                    f"{url} serves {card.revision or 'another model'}, "
                    f"not {first.revision} in the same way; name servers of one model"
                )
        hosts = {card.host for card in cards.values()}
        host = first.host if len(hosts) == 1 else "several"
        urls = [without_keys(url) for url in self.urls]
        return replace(first, host=host, details=first.details | {"endpoints": urls})


def _how(card: ModelCard) -> object:
    """What of a server's probe must be equal for its numbers to be the same."""
    probe = card.details.get("probe", {})
    return {k: probe.get(k) for k in ("top", "first_tokens", "reasoning")}
