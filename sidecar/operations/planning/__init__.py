"""What watching a table would take, found out before it is watched: for `sidecar plan`."""
