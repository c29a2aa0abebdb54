"""Parsers of the command line: one line for what is wrong, nothing dropped in silence, the flags of all commands."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from hisigma_zfit.console.boundary import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Once", "Parser", "add_common"]

_TOO_FEW = re.compile(r"argument (?P<flags>\S+): expected (?:one|at least one|\d+) argument")


class Once(argparse.Action):
    """Stores a value, and refuses a second one, of which argparse would silently take the last.

    Args:
        words: Values that there are, for the shell's completion only.
    """

    def __init__(self, *names: Any, words: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*names, **options)
        self.words = tuple(words)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store it."""
        known = getattr(namespace, self.dest, self.default)
        if option_string is not None and known is not self.default:
            parser.error(f"argument {option_string}: expected once, got {known!r} and {values!r}; give one of them")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and which gets its arguments when it is asked to read some.

    Attributes:
        fill: Adds the arguments; those of a task need its options, which the other commands need not wait for.
    """

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        for name in (None, "store"):
            self.register("action", name, Once)
        self._words: list[str] = []

    def require_filled(self) -> None:
        """Add the arguments, if that was not done."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read the arguments; see argparse."""
        self.require_filled()
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Leave with one line."""
        self.exit(2, f"{self.prog}: error: {message}; {self._advice(message)}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr:
            super()._print_message(message, file)
        else:  # argparse would keep to itself that help or version could not be written
            say(message.rstrip("\n"))

    def _advice(self, message: str) -> str:
        """What to do; a value that begins with a dash is taken for an option, which argparse does not tell."""
        found = _TOO_FEW.match(message)
        for flag in found["flags"].split("/") if found else ():
            values = [value for word, value in zip(self._words, self._words[1:], strict=False) if word == flag]
            if values and values[0].startswith("-") and values[0].partition("=")[0] not in self._option_string_actions:
                return f"a value that begins with a dash is written {flag}={values[0]}"
        return f"see '{self.prog} --help'"


def add_common(parser: argparse.ArgumentParser, *, folder: bool = True, log: bool = True) -> None:
    """Add the flags that every command has.

    Args:
        parser: That of a command.
        folder: The command makes a folder.
        log: The command computes for some time.
    """
    group = parser.add_argument_group("what is shown and replaced")
    off = argparse.SUPPRESS  # what is not given must not hide what a parser above has found
    group.add_argument(
        "--json", action="store_true", default=off, help="print the result's JSON on stdout and nothing else there"
    )
    group.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=off,
        help="no progress on stderr, only warnings and errors" + ("; no table on stdout" if folder else ""),
    )
    if log:
        group.add_argument("-v", "--verbose", action="store_true", default=off, help="log what is done, and tracebacks")
    if folder:
        group.add_argument(
            "--overwrite",
            action="store_true",
            default=off,
            help="replace what other inputs, options or versions have left in --out; the same run is gone on with",
        )
