"""The subcommands of ``meddef``, one file each."""
