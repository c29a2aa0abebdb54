"""Files, expressions and arrays in; an immutable `Dataset` out, which knows what became of every event."""

from hisigma_zfit.data.account import ReadReport, SourceReport
from hisigma_zfit.data.batches import read_batches
from hisigma_zfit.data.dataset import Dataset
from hisigma_zfit.data.digest import file_digest
from hisigma_zfit.data.reading import describe, feature_space, read
from hisigma_zfit.data.region import SignalRegion

__all__ = [
    "Dataset",
    "ReadReport",
    "SignalRegion",
    "SourceReport",
    "describe",
    "feature_space",
    "file_digest",
    "read",
    "read_batches",
]
