"""Makes the demo's model: emoji and what they are called → towers that give pictures and texts nearby vectors."""
