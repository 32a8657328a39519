"""`/embed/…`, and the seam through which every other API embeds: `contents`."""
