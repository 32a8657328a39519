"""Image bytes → decoded, resized pixels, in separate processes that never import torch."""
