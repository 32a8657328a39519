"""Checks the `model` field of requests, which OpenAI's and Cohere's clients send, against the one model served."""

from __future__ import annotations

from collections.abc import Collection

from sidecar.errors import InputError

_HUB = "hf-hub:"
_UNSPECIFIED = {None, "", "default/not-specified"}  # the last one is the default of infinity's client


def check_model_name(requested: str | None, served: str, aliases: Collection[str] = ()) -> None:
    """Raises InputError (`model_not_found`, a 404) unless `requested` is None, `served` or one of `aliases`.

    Names match with and without `hf-hub:`; aliases come from MODEL_ALIASES. An unknown name is rejected, not ignored:
    the client would take the vectors for another model's, with which they do not compare.
    """
    if requested in _UNSPECIFIED or requested in aliases:
        return
    assert requested is not None
    if requested.removeprefix(_HUB) == served.removeprefix(_HUB):
        return
    message = (
        f"The model {requested[:200]!r} is not served here; {served!r} is. Send that name, or have MODEL_ALIASES name "
        "the other one."
    )
    raise InputError("model_not_found", message, "model")
