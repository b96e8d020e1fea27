"""One hosted model behind Inspect's provider for it: one call is one request, or one `CallError`.

Inspect knows the providers (their parameters, response shapes and error kinds); this module asks
the provider object itself, below Inspect's own cache and retries, because a repeat must be a
call of its own and every attempt is to be kept.

Keys come from the environment, else from a `.env` file in this folder or one above it (what the
environment already holds wins). They never leave this module: `scrub` goes over every text that
a provider or an exception hands out.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from personae.errors import PersonaeError, secrets
from personae.prompts import Prompt

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput

SECRET_SHAPE = re.compile(
    r"\bbearer\s+\S+|\bbasic\s+[\w+/]{12,}=*|//[^/\s@]+@"
    r"|\b(?:sk|pk|rk|gsk|xai|hf)[-_][\w*.-]{6,}",
    re.IGNORECASE,
)
MESSAGE_LENGTH = 300


class CallError(Exception):
    """One attempt that brought no answer.

    Args:
        message: what happened, without secrets.
        retry: whether asking again may help. after: seconds the server asked to wait, if it did.
        fatal: the run cannot go on (key rejected, out of credit); the message says what to do.
        billed: the provider may have counted the attempt (it broke off after it was sent).
        refusal: the provider's own filter declined to answer.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool = False,
        after: float | None = None,
        fatal: bool = False,
        billed: bool = False,
        refusal: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry = retry
        self.after = after
        self.fatal = fatal
        self.billed = billed
        self.refusal = refusal


@dataclass(frozen=True)
class Reply:
    """What one call brought.

    Args:
        text: the visible answer. cut: the token limit ended it. filtered: a provider's filter did.
        top: (token, log-probability) of the likeliest first tokens, if the server gave any.
        input_tokens, output_tokens: as billed; None where the server reports none.
        reasoning: hidden reasoning came with the answer.
        served: the model's name as the server gives it.
    """

    text: str
    cut: bool
    filtered: bool
    top: tuple[tuple[str, float], ...]
    input_tokens: int | None
    output_tokens: int | None
    reasoning: bool
    served: str


class Connection:
    """A hosted model by its Inspect id.

    Args:
        name: an Inspect model id, verbatim.
        base_url: of an own server; None takes the provider's, or its variable.
        timeout: seconds one attempt may take.
        model_args: handed to Inspect's provider.

    Raises:
        PersonaeError: unknown provider, missing key or missing package.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        timeout: float = 60.0,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.timeout = timeout
        guard_logs()
        self.api = _open(name, base_url, dict(model_args or {}))
        self.secrets = _secrets(self.api.api_key, base_url)
        client: Any = getattr(self.api, "client", None)
        if hasattr(client, "max_retries"):
            client.max_retries = 0  # ours are recorded, the client's are not

    @property
    def host(self) -> str:
        """The server's name, without port, path or credentials; or the provider's."""
        url = self.api.base_url
        return (urlsplit(url).hostname if url else None) or self.name.split("/")[0]

    async def ask(self, messages: Sequence[ChatMessage], config: GenerateConfig) -> Reply:
        """One request, once.

        Raises:
            CallError: it brought no answer.
        """
        limit = None if config.batch else self.timeout
        try:
            async with asyncio.timeout(limit):
                found = await self.api.generate(list(messages), [], "none", config)
        except TimeoutError:
            raise CallError(f"no answer in {limit:g} s", retry=True, billed=True) from None
        except Exception as error:
            raise self._failure(error) from None
        output = found[0] if isinstance(found, tuple) else found
        if isinstance(output, Exception):
            raise self._failure(output)
        if not output.choices:
            raise CallError("an answer without content", retry=True, billed=True)
        return self._without_keys(_reply(output))

    def _without_keys(self, reply: Reply) -> Reply:
        """A server may echo the key; an answer that only looks like one stays as it is."""

        def known(text: str) -> str:
            for secret in self.secrets:
                text = text.replace(secret, "[key]")
            return text

        top = tuple((known(token), p) for token, p in reply.top)
        return replace(reply, text=known(reply.text), served=known(reply.served), top=top)

    def _failure(self, error: Exception) -> CallError:
        text = " ".join(str(error).split())
        message = scrub(f"{type(error).__name__}: {text}", self.secrets)[:MESSAGE_LENGTH]
        status = _status(error)
        if status == 403 and re.search(r"moderat|flagged|content.?(policy|filter)", text, re.I):
            return CallError(message, refusal=True)
        if status in (401, 403) or self.api.is_auth_failure(error):
            return CallError(
                f"{self.host} rejected the key ({message}); set a valid one in the environment "
                "or in .env",
                fatal=True,
            )
        if status == 402 or "insufficient_quota" in text:
            return CallError(f"{self.host} reports no credit left ({message})", fatal=True)
        decision = self.api.should_retry(error)
        after = getattr(decision, "retry_after", None)
        if status is None:  # broken off, or an answer that cannot be read: no verdict of a server
            return CallError(message, retry=True, after=after, billed=True)
        return CallError(message, retry=bool(decision) or status >= 500, after=after)

    async def close(self) -> None:
        await self.api.aclose()


def chat(prompt: Prompt) -> list[ChatMessage]:
    """A prompt as Inspect's messages.

    Raises:
        PersonaeError: the layout begins the answer itself, which hosted models do not offer.
    """
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    if prompt.lead_in:
        raise PersonaeError(
            "this layout begins the model's answer for it, which hosted models do not offer; "
            "choose another --layout"
        )
    kinds = {
        "system": ChatMessageSystem,
        "user": ChatMessageUser,
        "assistant": ChatMessageAssistant,
    }
    return [kinds[role](content=content) for role, content in prompt.messages]


def scrub(text: str, secrets: Sequence[str] = ()) -> str:
    """A text without keys: the given ones, and whatever looks like one."""
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return SECRET_SHAPE.sub("[key]", text)


def guard_logs() -> None:
    """Take keys out of what any library logs from now on: HTTP clients log URLs and headers."""
    make = logging.getLogRecordFactory()
    if getattr(make, "guarded", False):
        return

    def made(*args: Any, **more: Any) -> logging.LogRecord:
        record = make(*args, **more)
        text = f"{record.msg} {record.args}" if record.args else str(record.msg)
        if scrub(text, secrets()) != text:
            record.msg, record.args = scrub(record.getMessage(), secrets()), ()
        return record

    made.guarded = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(made)


def load_env() -> None:
    """Read `.env` from this folder or one above it; variables that are set already stay."""
    from dotenv import find_dotenv, load_dotenv

    load_dotenv(find_dotenv(usecwd=True), override=False)


def _open(name: str, base_url: str | None, model_args: dict[str, Any]) -> Any:
    try:
        from inspect_ai._util.error import PrerequisiteError
        from inspect_ai.model import get_model
    except ImportError:
        raise PersonaeError(
            'hosted models need the hosted extra: pip install "personae[hosted]"'
        ) from None
    load_env()
    key = "none" if _needs_no_key(name, base_url) else None
    try:
        model = get_model(name, base_url=base_url, api_key=key, memoize=False, **model_args)
    except (PrerequisiteError, ValueError, ImportError) as error:
        reason = re.sub(r"\[/?[a-z ]+\]", "", " ".join(str(error).split()))
        raise PersonaeError(f"{name}: {scrub(reason, _secrets(None))}") from None
    return model.api


def _needs_no_key(name: str, base_url: str | None) -> bool:
    """A server on this machine, whose key variable is not set."""
    provider, _, rest = name.partition("/")
    url = urlsplit(base_url or "")
    service = rest.split("/")[0] if provider == "openai-api" else provider
    variable = f"{service.upper().replace('-', '_')}_API_KEY"
    return url.hostname in ("127.0.0.1", "localhost", "::1") and not os.environ.get(variable)


def _secrets(key: str | None, url: str | None = None) -> tuple[str, ...]:
    """Values that must not be shown, longest first (one may hold another)."""
    login = urlsplit(url or "")
    word = unquote(login.password or "")
    coded = base64.b64encode(f"{unquote(login.username or '')}:{word}".encode()).decode()
    found = {*secrets(), *(v for v in (key, word, coded) if v and len(v) >= 8)}
    return tuple(sorted(found, key=len, reverse=True))


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    for found in (getattr(error, "status_code", None), getattr(response, "status_code", None)):
        if isinstance(found, int):
            return found
    return None


def _reply(output: ModelOutput) -> Reply:
    choice, usage = output.choices[0], output.usage
    content = choice.logprobs.content if choice.logprobs else []
    first = content[0].top_logprobs or [] if content else []
    parts = choice.message.content
    hidden = not isinstance(parts, str) and any(part.type == "reasoning" for part in parts)
    taken = None
    if usage is not None:
        cached = (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        taken = usage.input_tokens + cached
    return Reply(
        text=choice.message.text,
        cut=choice.stop_reason in ("max_tokens", "model_length"),
        filtered=choice.stop_reason == "content_filter",
        top=tuple((t.token, t.logprob) for t in first),
        input_tokens=taken,
        output_tokens=None if usage is None else usage.output_tokens,
        reasoning=hidden or bool(usage and usage.reasoning_tokens),
        served=output.model,
    )
