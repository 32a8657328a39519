"""Image formats: their signatures, how files are opened, and the quirks and damage that are handled."""
