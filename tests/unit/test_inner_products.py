"""Inner products equal those of BLAS, and start none of its threads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from sidecar.inner_products import inner_products

_COUNT_THREADS_CPU = """
import time, numpy as np
from sidecar.inner_products import inner_products
vectors = np.random.default_rng(0).standard_normal((400, 1152))
cpu = time.process_time()
own = time.thread_time()
inner_products(vectors, vectors)
print(time.process_time() - cpu <= 1.1 * (time.thread_time() - own) + 0.002)
"""


def test_products_are_those_of_the_rows() -> None:
    random = np.random.default_rng(1)
    rows, others = random.standard_normal((7, 33)), random.standard_normal((5, 33))
    np.testing.assert_allclose(inner_products(rows, others), rows @ others.T)
    single = inner_products(rows.astype(np.float32), others.astype(np.float32))
    assert single.dtype == np.float32
    assert single.shape == (7, 5)


def test_only_the_calling_thread_computes() -> None:
    found = subprocess.run(
        [sys.executable, "-c", _COUNT_THREADS_CPU], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "True"
