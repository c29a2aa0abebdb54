"""Exceptions of the package.

Every message is one line in three parts: what was expected, what was got, and what to do about it.  The command line
turns `InputError` into exit code 2 without a traceback; every other exception is a defect or a failed computation.
"""

from __future__ import annotations

__all__ = ["DomainError", "FitError", "HiSigmaError", "InputError", "NoMaximumError", "RunFolderError"]


class HiSigmaError(Exception):
    """Base class of all exceptions that the package raises on purpose."""


class InputError(HiSigmaError, ValueError):
    """The user's files, columns, options or arguments are wrong."""

    @classmethod
    def from_parts(cls, *, expected: str, got: str, do: str) -> InputError:
        """Build the one-line message from its three parts.

        Args:
            expected: What the function needs, for example ``"a ROOT file"``.
            got: What it was given instead.
            do: What the user can do about it, as an imperative.
        """
        # names in files need not be text, and the message must be printed
        text = f"expected {expected}, got {got}; {do}".encode("utf-8", "backslashreplace").decode()
        return cls(text)


class RunFolderError(InputError):
    """The output folder is not a run, or belongs to a run with other inputs."""


class DomainError(InputError):
    """Events lie where a learned density is not defined."""


class FitError(HiSigmaError):
    """A fit did not converge and the fallback did not either."""


class NoMaximumError(FitError):
    """The likelihood has no maximum: it grows for ever as parameters run away."""
