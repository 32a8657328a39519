"""`GET /thumbnail` and `GET /failures/thumbnail`: the pictures of rows, made small."""
