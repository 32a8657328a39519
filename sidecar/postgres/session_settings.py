"""Settings of the sidecar's and the commands' sessions: value formats, planning and timeouts.

A role or a database may have other values (`alter role … set extra_float_digits = 0`), with which a key that is passed
as text would not be found again. The settings are sent with the connection where the session is the sidecar's alone,
and with each transaction (`set local`) behind a pooler, which would pass a session's settings on to other clients.

`default_transaction_read_only` is not set: a database that was made read-only (a full disk, a switch-over) is meant to
be read-only for the sidecar, too. Nor are settings that only a superuser may change, or that name a locale
(`lc_monetary`).
"""

from __future__ import annotations

from collections.abc import Mapping

# Value formats, for every kind of session.
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

# How long a session may be idle in a transaction. The sidecar never pauses in one.
IDLE_IN_TRANSACTION = "2s"

# Planner settings, whatever role and database have. Statements use indexes, a page or a batch at a time: a cached plan
# that was made while a queue was empty would read all its dead rows (a claim beside a million of them: 42 ms). Tables
# without an index are scanned all the same. Parallel workers would cost more than they gain.
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
# synchronous_commit off: a vector and the deletion of its event are lost together, and the event is processed again.
# search_path: operators come from pg_catalog; the sidecar's and the user's names are qualified.
# idle_session_timeout off: the listener waits for days. exit_on_error off: an error would end the session.
# statement_timeout: asyncpg's own limit, so that an abandoned statement ends on the server, too.
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

# The server's side of the connection: it drops a client host that vanished after 4 s, whatever the session's state, and
# releases its locks. `tcp_user_timeout` also drops a client that reads no answer. Ignored on a Unix socket.
TCP_SETTINGS: Mapping[str, str] = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4000",
}

# For the sessions of commands, which keep their user's search_path and timeouts.
COMMAND_SETTINGS: Mapping[str, str] = {
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "default_transaction_deferrable": "off",
    "exit_on_error": "off",
    **FORMATS,
}


def set_settings(settings: Mapping[str, str], *, local: bool) -> str:
    """One statement with all settings, for the transaction if `local`, else for the session."""
    calls = ", ".join(f"pg_catalog.set_config('{name}', '{value}', {local})" for name, value in settings.items())
    return f"select {calls}"
