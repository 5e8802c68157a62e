"""Every figure, one function each, in one visual language, and what each leaves: picture, numbers, origin."""
