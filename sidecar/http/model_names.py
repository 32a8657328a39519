"""The `model` of a request: clients of OpenAI and Cohere send one, and a process serves what it was started with."""

from __future__ import annotations

from collections.abc import Collection

from sidecar.errors import InputError

_HUB = "hf-hub:"
_UNSPECIFIED = {None, "", "default/not-specified"}  # the last is what infinity's client sends for none


def check_model_name(requested: str | None, served: str, aliases: Collection[str] = ()) -> None:
    """Raises InputError (`model_not_found`, a 404) for a model that is not `served`; None asks for the one there is.

    A name counts with and without `hf-hub:`. `aliases` are other names for it (MODEL_ALIASES). An unknown one is
    refused, not ignored: its vectors would be taken for those of a model they do not come from, and compare with
    nothing.
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
