"""The running sidecar's access to its database (asyncpg)."""
