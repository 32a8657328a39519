-- Statements of watch_settings.py. Read-only.

-- name: watch_settings
-- Of all active watches; the table is small.
select w.id, w.storage, sidecar_internal.index_argument(w) as index, w.model
from sidecar_internal.watches w where w.unwatched_at is null
