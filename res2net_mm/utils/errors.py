"""The error that a user can mend."""


class UserError(Exception):
    """What the user gave cannot be used.

    The message names the argument or the file, says what is wrong with it, and what is allowed. Commands print the
    message without a traceback and end with exit code 1; code below ``cli`` raises it and never ends the process.
    """


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be used: it is damaged, refused, or does not fit."""


class MissingCheckpointError(UserError, FileNotFoundError):
    """There is no such checkpoint, here or where it was to be fetched from."""

    def __str__(self) -> str:
        return str(self.args[0])
