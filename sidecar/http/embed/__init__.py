"""`/embed/…`, and `contents`, by which the endpoints of foreign APIs embed."""
