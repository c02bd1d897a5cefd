"""The one exception that caloforge raises for its users."""


class CaloforgeError(Exception):
    """Something the user can put right: a bad file, a bad setting, a full disk.

    The message names the file or key, what was found and what was expected. Stages print it as one
    line and exit non-zero; anything else that escapes is a bug and keeps its traceback.
    """


class StoppedError(CaloforgeError):
    """A training that was asked to stop; it goes on where it stopped when it is started again."""
