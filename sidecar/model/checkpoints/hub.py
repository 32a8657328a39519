"""Files of a Hugging Face repository, and what to tell the user when they cannot be had."""

from __future__ import annotations

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

_REFUSED = (401, 403)


def fetch_snapshot(
    repo_id: str,
    names: Sequence[str],
    is_complete: Callable[[Path], bool],
    token: str | None,
    variable: str = "VISION_MODEL_ID",
) -> Path | None:
    """A local folder with the files of `repo_id` that are called `names`; None if the repository lacks what is needed.

    What is cached is used without asking the hub, so a restart neither needs a network nor moves to another revision.
    `variable` is the setting that names the model.
    Raises ModelError that says what to set.
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
        return Path(snapshot_download(repo_id, allow_patterns=list(names), token=token))
    except GatedRepoError as error:
        raise ModelError(_explain_refusal(repo_id, error.response.status_code, token, variable)) from error
    except RepositoryNotFoundError as error:
        # The hub answers 401 for what is private as well as for what does not exist.
        if error.response.status_code in _REFUSED:
            raise ModelError(_explain_refusal(repo_id, error.response.status_code, token, variable)) from error
        raise ModelError(
            f"Hugging Face has no repository {repo_id!r}: check {variable}, or HF_TOKEN if it is private"
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code in _REFUSED:
            raise ModelError(_explain_refusal(repo_id, error.response.status_code, token, variable)) from error
        raise ModelError(
            f"Hugging Face answered {error.response.status_code} for {repo_id!r}: try again later"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ModelError(_explain_offline(repo_id, variable)) from error
    # A connection that breaks off: each release of the hub's client has another HTTP library with errors of its own.
    except Exception as error:
        raise ModelError(f"{repo_id!r} could not be downloaded ({error}): try again") from error


def _explain_refusal(repo_id: str, status: int, token: str | None, variable: str) -> str:
    if token is None:
        remedy = "set HF_TOKEN to a token of an account that may read it"
    else:
        remedy = "HF_TOKEN is set, but its account may not read it, or the token has expired"
    return f"Hugging Face answered {status} for {repo_id!r}: {remedy}, or check the name in {variable}"


def _explain_offline(repo_id: str, variable: str) -> str:
    return (
        f"{repo_id!r} is not on this machine and Hugging Face cannot be reached (no network, or HF_HUB_OFFLINE=1). "
        f"Run once with a network to fill the cache, after which HF_HUB_OFFLINE=1 will do; or copy the model's folder "
        f"here and set {variable}=local-dir:/path/to/folder"
    )
