"""Every figure, one function each, in one visual style, with its image, numbers and provenance."""
