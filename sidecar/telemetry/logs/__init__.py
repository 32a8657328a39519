"""The log on stderr: set-up, layout of lines, and the handler that writes them."""
