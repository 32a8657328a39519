"""The watches that a caller may use: what its key grants, which one it names, and `GET /watches`, which lists them."""
