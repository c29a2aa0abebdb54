"""The edge between a command and the shell: one line and an exit code for whatever happens inside.

0 is done, 2 means that the user's input or options are wrong, 1 anything else, 130 Ctrl-C, 141 that nobody reads stdout
any more.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hisigma_zfit.errors import HiSigmaError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OutputError", "guarded", "say", "set_up_logging"]

INTERRUPTED, NO_READER = 130, 141  # 128 and the number of the signal, as shells have it
_LOGGER = "hisigma_zfit"


class OutputError(HiSigmaError):
    """Stdout does not take what is printed."""


class _ReaderLeftError(Exception):
    """Nobody reads stdout any more, as in ``hisigma info | head -1``."""


def set_up_logging(*, verbose: bool) -> None:
    """Log warnings of everybody, and with `verbose` also what this package does, but not what others do."""
    logging.basicConfig(level=logging.WARNING)
    if verbose:
        logging.getLogger(_LOGGER).setLevel(logging.INFO)


def say(text: str) -> None:
    """Print an answer on stdout.

    Raises:
        OutputError: It does not take it.
    """
    with _writing():
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal without the letter shows a question mark
        print(text, flush=True)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderLeftError from error
    except OSError as error:
        raise OutputError(
            f"expected stdout to take the answer, got {error.strerror or error}; redirect it to another place "
            "(a run folder that was made is whole)"
        ) from error


def guarded(work: Callable[[], int]) -> int:
    """Do the work of one command.

    Args:
        work: Returns the exit code.
    """
    try:
        with _acknowledged_interrupts():
            try:
                code = work()
            finally:
                with _writing():
                    if sys.stdout is not None:
                        sys.stdout.flush()  # of argparse too; the interpreter's own flush would fail with a traceback
    except _ReaderLeftError:
        _drop_stdout()
        return NO_READER
    except OutputError as error:
        _drop_stdout()
        return _failed(error, 1)
    except HiSigmaError as error:
        return _failed(error, 2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        _complain("interrupted; give the same command again to go on from here")
        return INTERRUPTED
    except MemoryError as error:
        return _failed(error, 1, "expected enough memory, got none left; use fewer events or processes")
    except Exception as error:  # noqa: BLE001 - the user can do nothing with a traceback that was not asked for
        hint = "" if _verbose() else "; -v shows where"
        what = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        words = what if isinstance(error, OSError) else f"unexpected {what}"
        return _failed(error, 1, f"{words}{hint}")
    return code


def _failed(error: BaseException, code: int, words: str = "") -> int:
    if _verbose():
        traceback.print_exception(error)
    _complain(f"error: {words or ' '.join(str(error).split())}")
    return code


def _complain(words: str) -> None:
    with contextlib.suppress(OSError):  # stderr may be as full as stdout
        print(f"hisigma: {words}", file=sys.stderr, flush=True)


def _verbose() -> bool:
    return logging.getLogger(_LOGGER).level == logging.INFO


def _drop_stdout() -> None:
    """Let what is still in stdout's buffer go nowhere, or the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextmanager
def _acknowledged_interrupts() -> Iterator[None]:
    """Answer Ctrl-C at once, also while compiled code computes and Python's handler has to wait; a second one kills.

    A thread reads the numbers of signals, which the system's handler writes without waiting for the interpreter.
    """
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not own or threading.current_thread() is not threading.main_thread():
        yield  # somebody else's program has its own ways
        return
    try:
        stderr = os.dup(2)  # which imports of TensorFlow and zfit close for some seconds
    except OSError:  # there is none
        stderr = os.open(os.devnull, os.O_WRONLY)
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(target=_watch, args=(receiver, stderr), daemon=True)
    watching.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        sender.close()  # ends the thread
        watching.join()
        receiver.close()
        os.close(stderr)


def _watch(receiver: socket.socket, stderr: int) -> None:
    seen = 0
    while received := receiver.recv(1):
        seen += received[0] == signal.SIGINT
        if seen == 1 and received[0] == signal.SIGINT:
            with contextlib.suppress(OSError):
                os.write(stderr, b"hisigma: stopping; what is done is kept (Ctrl-C again ends at once)\n")
        elif seen > 1:
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(INTERRUPTED)
