"""Request bodies: read within bounds, decoded, validated, and drained where they are not read."""
