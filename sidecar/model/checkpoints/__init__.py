"""Where a model's files are: a local directory, a Hugging Face repository, or a name that open_clip knows."""
