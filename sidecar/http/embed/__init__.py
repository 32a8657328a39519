"""`/embed/…`, and `contents`, through which the foreign APIs embed."""
