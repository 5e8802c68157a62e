"""The two exceptions that the command line turns into messages; everything else is a bug and shows its traceback."""


class InputError(ValueError):
    """Bad user input. The message is one line that names the problem and the remedy; the CLI exits with 2."""


class RunFailed(RuntimeError):
    """The input was valid but the run failed. The message says what is kept and what to do; the CLI exits with 1."""
