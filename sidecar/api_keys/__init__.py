"""API keys: their scopes, tables, filters and limits, and the two formats of `API_KEYS_FILE`."""
