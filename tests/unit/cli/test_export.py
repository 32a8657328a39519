"""What `sidecar export` prints of the comparison."""

from __future__ import annotations

import pytest

from sidecar.cli.export import print_parity
from sidecar.model.exports.parity import Parity


def test_every_figure_of_the_comparison_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_parity(Parity("openvino", "bf16", 0.99998, 0.99993, 0.995, 1e-7, 1.61))
    assert capsys.readouterr().out == (
        "openvino in bf16, beside PyTorch in fp32 on this machine's CPU:\n"
        "    texts     cosine at least 0.999980\n"
        "    pictures  cosine at least 0.999930\n"
        "    searches  99.5% of the ten nearest pictures are the same\n"
        "    speed     1.61 times as many pictures per second\n"
    )
