"""Every figure of the README, measured anew: `make bench`."""
