"""Data sets (one file each), their splits, poisoning and augmentation."""

from ngf.data.images import DataError, Images, to_bytes, to_float
from ngf.data.splits import Splits, load

__all__ = ["DataError", "Images", "Splits", "load", "to_bytes", "to_float"]
