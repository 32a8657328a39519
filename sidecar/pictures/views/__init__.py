"""Views of a picture: which are planned for its size, and how they are cut."""
