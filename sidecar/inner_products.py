"""Inner products of small arrays, computed by the calling thread alone."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", np.float32, np.float64)


def inner_products(rows: NDArray[Number], others: NDArray[Number]) -> NDArray[Number]:
    """(n, m), of `rows` (n, dimensions) with `others` (m, dimensions).

    Not by BLAS (`@`), whose threads are as many as the machine has CPUs and spin until all of them have run: with a
    quota, pinned, or beside busy processes that took 44 ms of the event loop for 50 vectors of 1,152 numbers, which
    this does in 1.3 ms.
    """
    products: NDArray[Number] = np.einsum("ik,jk->ij", rows, others)
    return products
