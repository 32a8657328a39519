"""A model exported to ONNX: its files, how they are written and checked, and the encoder that runs them."""
