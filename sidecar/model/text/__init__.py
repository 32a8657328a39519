"""Texts → token ids: cleaning as open_clip does it, of no more of a long text than the model reads."""
