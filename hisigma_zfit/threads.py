"""How many threads work at once, and that TensorFlow does not divide what is already divided.

Trainings, members and blocks of events are shared among as many threads as there are cores.  TensorFlow would divide
each of their small matrix products once more, which costs a quarter of a measurement's time and gains nothing.
"""

from __future__ import annotations

import os

__all__ = ["available", "one_for_each_operation"]

_OPERATIONS = "TF_NUM_INTRAOP_THREADS"


def available() -> int:
    """Threads to work with: the cores that this process may use, and no more than ``OMP_NUM_THREADS``."""
    # the cores that this process may use, where the system tells; a container may have fewer than the machine
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else cores


def one_for_each_operation() -> None:
    """Let each operation of TensorFlow take one thread: when this package is imported, because zfit's import is late.

    Nothing changes where ``TF_NUM_INTRAOP_THREADS`` is set, where `tf.config.threading` was asked for another number,
    or where TensorFlow has begun to compute.
    """
    os.environ.setdefault(_OPERATIONS, "1")
