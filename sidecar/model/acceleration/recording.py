"""Records a tower's kernels as CUDA graphs, one for each of a few batch sizes.

A single text is a few hundred small kernels, which the GPU ends sooner than Python can start them; a graph starts them
all at once. It runs on fixed memory with a fixed size: a smaller batch is put into its first rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from sidecar.model.acceleration.tower import Inputs, Tower, reason_of, repeat_rows
from sidecar.model.device_faults import DEVICE_FAULTS

logger = logging.getLogger(__name__)

_LARGEST_RECORDED_VIEWS = 8
_WARM_UP_RUNS = 3  # kernels are chosen and workspaces allocated, which a graph cannot do


class Recording(Protocol):
    """A tower that runs on a batch of one size, in memory of its own."""

    @property
    def inputs(self) -> torch.Tensor:
        """To be written before `replay`."""
        ...

    def replay(self) -> torch.Tensor:
        """The vectors of `inputs`, in memory that the next replay of any recording may overwrite."""
        ...


Record = Callable[[Tower, torch.Tensor], Recording]


class RecordedTower:
    """A tower that runs a batch by the recording of the next larger size; batches above the largest as they are."""

    def __init__(self, tower: Tower, recordings: Mapping[int, Recording]) -> None:
        self._tower = tower
        self._recordings = dict(sorted(recordings.items()))

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        count = len(batch)
        recording = next((each for size, each in self._recordings.items() if size >= count), None)
        if recording is None:
            return self._tower(batch)
        # The rows below keep an earlier batch: no row depends on another, so their vectors are just not taken.
        recording.inputs[:count].copy_(batch)
        return recording.replay()[:count].clone()


def text_sizes(max_batch: int) -> list[int]:
    """1, 2, 4 … up to `max_batch`, which is the last: the kernels of texts are small in every batch."""
    sizes = [1]
    while sizes[-1] < max_batch:
        sizes.append(min(2 * sizes[-1], max_batch))
    return sizes


def view_sizes(max_batch: int) -> list[int]:
    """1, 2, 4, 8: larger batches keep the GPU busy by themselves, and padding them would cost more than it saves."""
    return [size for size in text_sizes(max_batch) if size <= _LARGEST_RECORDED_VIEWS]


def record_tower(tower: Tower, example: torch.Tensor, sizes: Sequence[int], inputs: Inputs, record: Record) -> Tower:
    """The tower with recordings for `sizes`, or for those that could be made; the log says what and why not.

    Raises DeviceLost.
    """
    started = time.perf_counter()
    recordings: dict[int, Recording] = {}
    # The largest first: the memory that it takes is shared by the smaller ones.
    for size in sorted(sizes, reverse=True):
        try:
            recordings[size] = record(tower, repeat_rows(example, size))
        except DEVICE_FAULTS as error:
            logger.warning("DEVICE_GRAPHS=auto: %d %s run without a CUDA graph: %s", size, inputs, reason_of(error))
    if not recordings:
        return tower
    listed = ", ".join(str(size) for size in sorted(recordings))
    logger.info("Recorded CUDA graphs for %s %s in %.1f s", listed, inputs, time.perf_counter() - started)
    return RecordedTower(tower, recordings)


class CudaRecorder:
    """Records CUDA graphs that share their memory: one of them runs at a time, and its vectors are copied at once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, tower: Tower, example: torch.Tensor) -> Recording:
        try:
            return self._record(tower, example.clone())
        except DEVICE_FAULTS:
            self._pool = torch.cuda.graph_pool_handle()  # a failed capture leaves its own in use
            raise

    def _record(self, tower: Tower, inputs: torch.Tensor) -> Recording:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        # The outer block restores the stream even if the capture fails in the end, where torch.cuda.graph does not.
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP_RUNS):
                tower(inputs)
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads may use the GPU meanwhile, as the metrics do.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                outputs = tower(inputs)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return _CudaRecording(graph, inputs, outputs)


class _CudaRecording:
    def __init__(self, graph: torch.cuda.CUDAGraph, inputs: torch.Tensor, outputs: torch.Tensor) -> None:
        self._graph = graph
        self.inputs = inputs
        self._outputs = outputs

    def replay(self) -> torch.Tensor:
        self._graph.replay()
        return self._outputs
