"""The console: the page that people see at `/`."""
