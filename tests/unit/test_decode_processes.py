from __future__ import annotations

import pytest

from sidecar.config import Settings, load_settings
from sidecar.cpus import count_cpus
from sidecar.errors import ConfigurationError
from sidecar.settings import choose_decode_processes


@pytest.mark.parametrize(("cpus", "beside_gpu", "without"), [(1, 2, 2), (2, 2, 2), (4, 3, 4), (9, 8, 9), (64, 16, 9)])
def test_as_many_as_cpus_one_of_which_is_left_beside_a_gpu(cpus: int, beside_gpu: int, without: int) -> None:
    assert choose_decode_processes(cpus, has_gpu=True) == beside_gpu
    assert choose_decode_processes(cpus, has_gpu=False) == without


@pytest.mark.parametrize("require_cuda", [True, False])
def test_unset_the_number_follows_from_cpus_and_device(require_cuda: bool) -> None:
    settings = Settings(require_cuda=require_cuda)

    assert settings.decode_processes == choose_decode_processes(count_cpus(), has_gpu=require_cuda)
    assert Settings(decode_processes=5, require_cuda=require_cuda).decode_processes == 5


def test_an_invalid_device_is_reported_as_such() -> None:
    with pytest.raises(ConfigurationError, match="REQUIRE_CUDA='perhaps'"):
        load_settings({"REQUIRE_CUDA": "perhaps"})
