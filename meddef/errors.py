"""The one exception that means: the input is wrong, and here is what to do about it."""


class InputError(ValueError):
    """Bad user input. The message is one line that names the thing and the remedy; the CLI exits with 2."""
