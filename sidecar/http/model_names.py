"""The `model` of a request: clients of OpenAI and Cohere send one, and a process serves what it was started with."""

from __future__ import annotations

from sidecar.errors import InputError

_HUB = "hf-hub:"


def check_model_name(requested: str | None, served: str) -> None:
    """Raises InputError (`model_not_found`, a 404) for a model that is not `served`; None asks for the one there is.

    A name counts with and without `hf-hub:`. An unknown one is refused, not ignored: its vectors would be taken for
    those of a model they do not come from, and compare with nothing.
    """
    if requested is None or requested.removeprefix(_HUB) == served.removeprefix(_HUB):
        return
    message = f"The model {requested[:200]!r} is not served here; {served!r} is. Send that name."
    raise InputError("model_not_found", message, "model")
