"""`GET /events`: the state of the process and its numbers, as they change."""
