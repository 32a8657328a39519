"""Whether a watch can be searched with the model that is served, and what limits the results."""

from __future__ import annotations

from sidecar.errors import InputError
from sidecar.http.models import ModelInfo
from sidecar.postgres.search import SearchedWatch


def check_model(watch: SearchedWatch, model: ModelInfo) -> None:
    """Raises InputError (`other_model`) if the watch's vectors are not of `model`: distances would mean nothing."""
    if watch.fingerprint not in {None, model.fingerprint} or watch.dimensions != model.dim:
        theirs = f"{watch.model} ({watch.fingerprint})" if watch.fingerprint else f"{watch.dimensions} dimensions"
        message = (
            f"The vectors of {watch.table_name}.{watch.target} are of another model, {theirs}; this service runs "
            f"{model.id} ({model.fingerprint}). Ask a service that runs theirs, or have the table embedded again."
        )
        raise InputError("other_model", message, "table")


def warnings_of(watch: SearchedWatch) -> list[str]:
    """Reasons why results of this watch may be incomplete or out of date."""
    warnings = []
    if watch.fingerprint is None:
        warnings.append("The watch holds no vectors yet.")
    if watch.paused:
        warnings.append("The watch is paused: rows that have changed since are found by their old content.")
    if watch.broken:
        warnings.append(f"The watch is broken, so its vectors may be out of date: {watch.broken}")
    if watch.gone:
        warnings.append(f"Exposed columns that no longer exist: {', '.join(watch.gone)}.")
    return warnings
