"""What the device gets at once: units of one kind, of one or more jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sidecar.batching.encoder import Encoder, PreparedText
from sidecar.batching.job import Job, Kind
from sidecar.errors import DeviceError, DeviceOutOfMemory


@dataclass(frozen=True, slots=True)
class Part:
    """The units `start` to `stop` of a job."""

    job: Job
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Outcome: TypeAlias = tuple[Part, NDArray[np.float32] | DeviceError]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """`parts` are all of one kind; at least one, none of them empty."""

    parts: Sequence[Part]

    @property
    def kind(self) -> Kind:
        return self.parts[0].job.kind

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def encode(self, encoder: Encoder) -> list[Outcome]:
        """One or more outcomes for each part: its vectors, (n, dimensions) float32, or what went wrong.

        A batch that does not fit into the device's memory is halved and tried again, down to one unit. A device error
        fails every job of this micro-batch, since nobody knows whose unit it was; a vector that is not finite fails
        only the job it belongs to. Blocks; meant for the device thread.
        """
        try:
            vectors = self._encode_once(encoder)
        except DeviceOutOfMemory as error:
            if len(self) == 1:
                return [(self.parts[0], error)]
            left, right = self._halves()
            return left.encode(encoder) + right.encode(encoder)
        except DeviceError as error:
            return [(part, _own(error)) for part in self.parts]
        ends = np.cumsum([len(part) for part in self.parts])
        return [(part, _finite(rows)) for part, rows in zip(self.parts, np.split(vectors, ends[:-1]), strict=True)]

    def _encode_once(self, encoder: Encoder) -> NDArray[np.float32]:
        pieces = [part.job.units[part.start : part.stop] for part in self.parts]
        if self.kind is Kind.PICTURE:
            views = cast("list[NDArray[np.uint8]]", pieces)
            vectors = encoder.encode_views(views[0] if len(views) == 1 else np.concatenate(views))
        else:
            vectors = encoder.encode_texts(list(chain.from_iterable(cast("list[list[PreparedText]]", pieces))))
        if vectors.shape != (len(self), encoder.dimensions):
            expected = (len(self), encoder.dimensions)
            raise RuntimeError(f"The encoder answered {vectors.shape} where {expected} was due. This is a bug.")
        return vectors

    def _halves(self) -> tuple[MicroBatch, MicroBatch]:
        middle = len(self) // 2
        left: list[Part] = []
        right: list[Part] = []
        seen = 0
        for part in self.parts:
            cut = min(max(middle - seen, 0), len(part)) + part.start
            if cut > part.start:
                left.append(Part(part.job, part.start, cut))
            if cut < part.stop:
                right.append(Part(part.job, cut, part.stop))
            seen += len(part)
        return MicroBatch(left), MicroBatch(right)


def _own(error: DeviceError) -> DeviceError:
    """A copy for one waiter: an exception raised in several tasks would collect all their tracebacks."""
    copy = DeviceError(str(error))
    copy.__cause__ = error
    return copy


def _finite(vectors: NDArray[np.float32]) -> NDArray[np.float32] | DeviceError:
    if np.isfinite(vectors).all():
        return vectors
    return DeviceError("The model returned numbers that are not finite. Try MODEL_PRECISION=fp32.")
