"""The exception tree: every error earmark raises on purpose, and what each asks of the user.

A message has three parts, in this order: what happened (with the value), what was expected, what to do.

::

    EarmarkError
    ├── UsageError             a command, setting or argument is wrong: correct it            exit 2
    │   └── MissingExtraError  an optional package is needed: install the named extra
    ├── InputError             one input cannot be used: it is set aside, the run goes on     exit 1
    │   ├── DecodeError        not audio, broken, truncated, protected
    │   ├── TooShortError      less signal than the task needs
    │   └── SilentError        nothing is heard in it
    ├── SchemaError            columns are missing, renamed or in another order
    ├── FingerprintError       code that cannot be followed: declare it with ``depends_on=``
    ├── CacheError             the feature cache cannot be opened, read or written
    ├── SealError              sealed test rows were asked for outside ``evaluate --split test``
    ├── RunError               a run folder is missing, incomplete or of another task
    │   └── NoModelError       there is no run at all to answer: train one, or ask for a fallback
    ├── WorkerError            a worker process died or runs other code than this process
    └── GateError              a quality gate failed                                          exit 3
"""

from __future__ import annotations

__all__ = [
    "CacheError",
    "DecodeError",
    "EarmarkError",
    "FingerprintError",
    "GateError",
    "InputError",
    "MissingExtraError",
    "NoModelError",
    "RunError",
    "SchemaError",
    "SealError",
    "SilentError",
    "TooShortError",
    "UsageError",
    "WorkerError",
]


class EarmarkError(Exception):
    """Root of all errors that earmark raises on purpose; ``exit_code`` is the command line's exit status."""

    exit_code = 2


class UsageError(EarmarkError):
    """A command, setting or argument is wrong; correct it and run again."""


class MissingExtraError(UsageError):
    """An optional package is not installed.

    Parameters
    ----------
    package : str
        What could not be imported.
    extra : str
        The extra of earmark that brings it.
    purpose : str
        What the package is needed for, as the subject of the sentence.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self._made_of = package, extra, purpose
        super().__init__(
            f'{purpose} needs the package `{package}`, which is not installed. Run: pip install "earmark[{extra}]"'
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """What it is made of, so that it comes back whole from a worker process."""
        return type(self), self._made_of


class InputError(EarmarkError):
    """One input cannot be used; it is set aside with this message and the run goes on."""

    exit_code = 1


class DecodeError(InputError):
    """The file is not audio, is broken, truncated, empty or protected."""


class TooShortError(InputError):
    """The input holds less signal than the task needs."""


class SilentError(InputError):
    """Nothing is heard in the input, so there is nothing to say of it."""


class SchemaError(EarmarkError):
    """Columns are missing, renamed or in another order than the model was trained with."""


class FingerprintError(EarmarkError):
    """Code that cannot be followed statically; declare what it depends on with ``depends_on=``."""


class CacheError(EarmarkError):
    """The feature cache cannot be opened, read or written."""


class SealError(EarmarkError):
    """Sealed test rows were asked for outside ``earmark evaluate --split test``."""


class RunError(EarmarkError):
    """A run folder is missing, incomplete, or belongs to another task or schema."""


class NoModelError(RunError):
    """There is no run that could answer."""


class WorkerError(EarmarkError):
    """A worker process died, or runs other code than the process that started it."""


class GateError(EarmarkError):
    """A quality gate failed."""

    exit_code = 3
