"""One table in every format that can be read, and what every refusal must look like."""

from __future__ import annotations

import h5py
import numpy as np
import pyarrow as pa
import uproot
from pyarrow import parquet

N = 5000
RNG = np.random.default_rng(11)
TABLE = {
    "m": RNG.uniform(90, 180, N).astype(np.float32),
    "pt": RNG.gamma(3, 30, N).astype(np.float32),
    "n_jets": RNG.integers(0, 9, N).astype(np.int32),
    "flags": RNG.integers(0, 200, N).astype(np.uint8),
    "tight": RNG.uniform(size=N) < 0.5,
    "w": RNG.normal(1, 0.1, N),
}


def write_ttree(path, table=TABLE, **more):
    columns = {**table, **more}
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {k: "var * float32" if k == "jets" else v.dtype for k, v in columns.items()})
        half = len(next(iter(columns.values()))) // 2
        for part in (slice(None, half), slice(half, None)):  # two baskets, so that chunks cross their border
            if len(columns["m"][part]):
                tree.extend({k: v[part] for k, v in columns.items()})


def write_rntuple(path, table=TABLE, **more):
    with uproot.recreate(path) as file:
        file.mkrntuple("events", {**table, **more})


def write_hdf5(path, table=TABLE):
    with h5py.File(path, "w") as file:
        for name, values in table.items():
            file.create_dataset(f"events/{name}", data=values)


def write_parquet(path, table=TABLE):
    parquet.write_table(pa.table(dict(table)), path, row_group_size=1700)


WRITERS = {"ttree": write_ttree, "rntuple": write_rntuple, "hdf5": write_hdf5, "parquet": write_parquet}


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    return message
