"""What happens as a watched table grows: measured at several sizes, and compared with the model of `sidecar plan`."""
