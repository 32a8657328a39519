"""Rows in, vectors out: claim, read, encode, complete; and the index that follows."""
