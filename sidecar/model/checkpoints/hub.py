"""Downloads files of Hugging Face repositories, with error messages that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from sidecar.errors import ModelError

logger = logging.getLogger(__name__)

_REFUSED = (401, 403)


def fetch_snapshot(
    repo_id: str,
    names: Sequence[str],
    is_complete: Callable[[Path], bool],
    token: str | None,
    variable: str = "VISION_MODEL_ID",
) -> Path | None:
    """A local folder with the files `names` of `repo_id`; None if the repository lacks what `is_complete` requires.

    Cached files are used without contacting the hub, so a restart neither needs a network nor changes the revision.
    `variable` is the setting that names the model, for error messages. Raises ModelError.
    """
    try:
        cached = Path(snapshot_download(repo_id, allow_patterns=list(names), local_files_only=True))
    except HFValidationError as error:
        raise ModelError(
            f"{repo_id!r} is not the name of a Hugging Face repository, such as org/name: {error}"
        ) from error
    except LocalEntryNotFoundError:
        cached = None
    if cached is not None and is_complete(cached):
        return cached
    folder = _download(repo_id, names, token, variable)
    return folder if is_complete(folder) else None


def _download(repo_id: str, names: Sequence[str], token: str | None, variable: str) -> Path:
    try:
        logger.info("Downloading %s from Hugging Face into its cache, which is done once.", repo_id)
        return Path(snapshot_download(repo_id, allow_patterns=list(names), token=token))
    # First: in older versions of huggingface_hub it is an HfHubHTTPError too, without a response.
    except LocalEntryNotFoundError as error:
        raise ModelError(_explain_offline(repo_id, variable)) from error
    except HfHubHTTPError as error:
        raise ModelError(_explain_response(repo_id, error, token, variable)) from error
    # A connection that breaks off: the HTTP library and its errors differ between releases of the hub's client.
    except Exception as error:
        raise ModelError(f"{repo_id!r} could not be downloaded ({error}): try again") from error


def _explain_response(repo_id: str, error: HfHubHTTPError, token: str | None, variable: str) -> str:
    status = error.response.status_code
    # The hub answers 401 both for private repositories and for those that do not exist.
    if isinstance(error, GatedRepoError) or status in _REFUSED:
        return _explain_refusal(repo_id, status, token, variable)
    if isinstance(error, RepositoryNotFoundError):
        return f"Hugging Face has no repository {repo_id!r}: check {variable}, or HF_TOKEN if it is private"
    return f"Hugging Face answered {status} for {repo_id!r}: try again later"


def _explain_refusal(repo_id: str, status: int, token: str | None, variable: str) -> str:
    if token is None:
        remedy = "set HF_TOKEN to a token of an account that may read it"
    else:
        remedy = "HF_TOKEN is set, but its account may not read it, or the token has expired"
    return f"Hugging Face answered {status} for {repo_id!r}: {remedy}, or check the name in {variable}"


def _explain_offline(repo_id: str, variable: str) -> str:
    return (
        f"{repo_id!r} is not on this machine and Hugging Face cannot be reached (no network, or HF_HUB_OFFLINE=1)\n"
        f"HINT: Run once with a network to fill the cache, after which HF_HUB_OFFLINE=1 works; or copy the model's "
        f"folder here and set {variable}=local-dir:/path/to/folder"
    )
