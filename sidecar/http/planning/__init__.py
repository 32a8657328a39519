"""`GET /tables` and `POST /plan`: what a table takes before it is watched."""
