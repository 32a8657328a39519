"""Decoder processes: the pool in the parent, the protocol, and the child."""
