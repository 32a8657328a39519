"""Vectors that the demo's model of an earlier version made: they would wait for that model for ever."""

from __future__ import annotations

import shutil

import psycopg

from sidecar.demo.directory import DemoDirectory
from sidecar.model.checkpoints.local_directory import DEMO_MODEL_ID, find_local_directory

_OF_OTHER_MODELS = "select relation::text, target, model from sidecar.status where fingerprint <> %s"
# Of whichever sidecar comes first: pinned to this version's model, they would be stranded by the next one.
_REEMBED = "select sidecar.reembed(%s::text::regclass, %s, model => 'any')"


def reembed_outdated(url: str, fingerprint: str, directory: DemoDirectory) -> list[str]:
    """Has rows embedded again whose vectors an earlier demo's model made, and deletes that model where it lies here.

    Vectors of models that the user chose are left alone. Returns `table.target` of what is embedded again.
    """
    again = []
    with psycopg.connect(url) as connection:
        for table, target, model in connection.execute(_OF_OTHER_MODELS, (fingerprint,)).fetchall():
            if _was_the_demos(model, directory):
                connection.execute(_REEMBED, (table, target))
                again.append(f"{table}.{target}")
    if directory.stand_in_model.exists():
        shutil.rmtree(directory.stand_in_model)
    return again


def _was_the_demos(model_id: str, directory: DemoDirectory) -> bool:
    """The directory may have been moved since, with all that is in it."""
    folder = find_local_directory(model_id)
    if folder is None:
        return False
    return model_id == DEMO_MODEL_ID or folder.parts[-2:] == directory.stand_in_model.parts[-2:]
