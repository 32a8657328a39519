"""`/openapi.json` and the page `/docs`, generated from the operations."""
