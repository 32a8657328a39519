"""What is known of each image format: its signature, how it is opened, its quirks and its damage."""
