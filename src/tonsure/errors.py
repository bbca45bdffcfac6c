"""What goes wrong, and how it is said: every message shows the input that caused it."""


class TonsureError(Exception):
    """What tonsure raises on purpose; the command line prints the message and exits with status 2."""


class InputError(TonsureError, ValueError):
    """The input cannot be used as it is; the message shows what was found and what was expected."""


class FileError(TonsureError, OSError):
    """A file cannot be read or written; the message names it and the reason.

    Attributes:
        errno: that of the operating system; None if the refusal is ours.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def __reduce__(self) -> tuple[type["FileError"], tuple[str, int | None]]:
        return type(self), (str(self), self.errno)


class MissingExtraError(TonsureError, ImportError):
    """A part of tonsure was used whose libraries are not installed; the message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs libraries that are not installed: pip install 'tonsure[{extra}]'")
        self._made_of = what, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), self._made_of  # so that it can come back from another process


class SelectionWarning(UserWarning):
    """The predictions cannot carry what was asked of them; the selection was made all the same."""


class OutOfMemoryError(TonsureError, MemoryError):
    """This machine, or its GPU, has less memory than a selection takes; nothing was changed."""


class RecordError(InputError):
    """A file of records is damaged, or was made by another experiment."""


class ExperimentError(TonsureError, RuntimeError):
    """Runs of an experiment failed, and the others are done; the message names each with its reason."""


class BackendError(TonsureError):
    """The machines that were to share the work do not answer, have no room, or were lost too often."""


class StoreError(TonsureError):
    """A store of predictions is absent, unfinished, damaged or another one than was asked for, or has no room."""


class TrainingError(TonsureError, RuntimeError):
    """A training diverged: its loss is no longer finite."""


class DownloadError(TonsureError, RuntimeError):
    """A dataset could not be downloaded, or what came has another checksum."""
