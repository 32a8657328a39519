"""`GET /failures` and `POST /retry`: the rows that cannot be embedded."""
