"""From what a user names to a respondent: local weights, or a model behind an API or server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from personae.errors import PersonaeError

if TYPE_CHECKING:
    from personae.models.caller import HostedSettings
    from personae.models.prices import Purse
    from personae.models.protocol import Respondent

# First parts of Inspect ids. An organisation of this name on a hub would need a local folder.
PROVIDERS = frozenset({
    "anthropic", "azureai", "bedrock", "cf", "deepseek", "fireworks", "goodfire", "google", "grok",
    "groq", "hf-inference-providers", "llama-cpp-python", "mistral", "mockllm", "ollama", "openai",
    "openai-api", "openrouter", "perplexity", "sambanova", "sglang", "together", "vertex", "vllm",
})  # fmt: skip


def is_hosted(spec: str) -> bool:
    """Whether a name is an Inspect id of a provider rather than weights."""
    provider, slash, _ = spec.partition("/")
    return bool(slash) and provider in PROVIDERS and not Path(spec).exists()


def hosted_settings(
    spec: str,
    *,
    budget_usd: float | Purse | None = None,
    prices: Path | None = None,
    **settings: Any,
) -> HostedSettings:
    """Settings of a hosted model; a budget needs a price in the table.

    Args:
        budget_usd: dollars, or a purse that a second model (a judge) draws on too.
        prices: a table of one's own. settings: other fields of `HostedSettings`.

    Raises:
        PersonaeError: missing extra, unknown parser, or a budget for a model without a price.
    """
    from personae.models.prices import Budget, load_prices

    try:
        from personae.models.caller import HostedSettings
    except ImportError as error:
        raise _missing(spec, error) from None
    if settings.get("parser", "strict") not in ("strict", "lenient"):
        raise PersonaeError(f"no parser {settings['parser']!r}: strict or lenient")
    if budget_usd is not None:
        price = load_prices(prices).price(spec)
        if price is None:
            raise PersonaeError(
                f"{spec}: no price in the table, so no budget can be kept; give one with --prices"
            )
        settings["budget"] = Budget(budget_usd, price)
    return HostedSettings(**settings)


def _missing(spec: str, error: ImportError) -> PersonaeError:
    return PersonaeError(
        f"{spec}: hosted models need inspect-ai ({error.name} is missing): "
        "pip install 'personae[hosted]'"
    )


def open_model(
    spec: str,
    *,
    hosted: HostedSettings | None = None,
    **local: Any,
) -> Respondent:
    """Open a respondent model.

    Args:
        spec: an Inspect id ("openai/gpt-4o", "vllm/base:adapter", "openai-api/NAME/model"), or
            what `load_model` takes.
        hosted: settings for the first kind. local: keywords of `load_model` for the second.

    Raises:
        PersonaeError: anything a user can mend, in one line.
    """
    if is_hosted(spec):
        try:
            from personae.models.hosted import HostedModel
        except ImportError as error:
            raise _missing(spec, error) from None
        return HostedModel(spec, hosted)
    from personae.models.loading import load_model

    return load_model(spec, **local)
