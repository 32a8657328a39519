"""`POST /search`: nearest rows of a watched table."""
