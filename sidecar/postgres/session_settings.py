"""The settings of every session of ours: how values are written and read, and how long the server lets a session wait.

A role or a database may set any of them otherwise (`alter role … set extra_float_digits = 0`): a key that travels as
text would then not be found again. They are sent with the connection where the session is ours alone, and with each
transaction (`set local`) behind a pooler, which would lend what is set in a session to somebody else.

`default_transaction_read_only` is not among them: a database that is made read-only (a full disk, a switch-over) means
us too. Nor is what only a superuser may set, or what names a locale of the database (`lc_monetary`).
"""

from __future__ import annotations

from collections.abc import Mapping

# How values are written and read, by every kind of session.
FORMATS: Mapping[str, str] = {
    "array_nulls": "on",
    "bytea_output": "hex",
    "DateStyle": "ISO, YMD",
    "extra_float_digits": "1",
    "IntervalStyle": "postgres",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "transform_null_equals": "off",
    "xmlbinary": "base64",
    "xmloption": "content",
}

# How long a session may leave the server waiting inside a transaction. Nothing of ours pauses in one.
IDLE_IN_TRANSACTION = "2s"

# How our statements are planned, whatever a role or a database was given. They go by indexes, a page or a batch at a
# time: a plan that was made while a queue was empty, and kept, would otherwise read all its dead rows (a claim beside a
# million of them: 42 ms). What has no index is read as a whole all the same. Parallel workers cost more than they take.
PLANNING: Mapping[str, str] = {
    "enable_seqscan": "off",
    **dict.fromkeys(
        (
            *("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan", "enable_tidscan"),
            *("enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_material", "enable_memoize"),
            *("enable_sort", "enable_incremental_sort", "enable_hashagg", "enable_partition_pruning", "geqo"),
        ),
        "on",
    ),
    "constraint_exclusion": "partition",
    "from_collapse_limit": "8",
    "join_collapse_limit": "8",
    "geqo_threshold": "12",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "16MB",
    "hash_mem_multiplier": "2",
    "jit": "off",
    "plan_cache_mode": "auto",
}

# row_security off: rows that a policy hides raise an error instead of looking deleted.
# synchronous_commit off: a vector and the deletion of its event are lost together, and made again.
# search_path: operators come from pg_catalog; everything of ours and the user's is qualified.
# idle_session_timeout off: the listener waits for days. exit_on_error off: an error would end the session.
# statement_timeout: as asyncpg's own limit, so that what nobody waits for any longer ends on the server too.
SESSION_SETTINGS: Mapping[str, str] = {
    "application_name": "sidecar",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "off",
    "sidecar.writer": "on",
    "synchronous_commit": "off",
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": "60s",
    "lock_timeout": "250ms",
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "idle_session_timeout": "0",
    "exit_on_error": "off",
    **PLANNING,
    **FORMATS,
}

# The server's side of the connection: a host that vanishes while it holds a lock is given up after 4 s, in whatever
# state its session is. `tcp_user_timeout` also ends one that takes no answer. A Unix socket ignores them.
TCP_SETTINGS: Mapping[str, str] = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4000",
}

# A command's session works with its user's own rights, search_path and patience.
COMMAND_SETTINGS: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "default_transaction_deferrable": "off",
    "exit_on_error": "off",
    **FORMATS,
}


def set_settings(settings: Mapping[str, str], *, local: bool) -> str:
    """One statement that sets all of them: for the transaction if `local`, else for the session."""
    calls = ", ".join(f"pg_catalog.set_config('{name}', '{value}', {local})" for name, value in settings.items())
    return f"select {calls}"
