"""The cache of thumbnails is bounded by bytes, and forgets what was not used for longest."""

from __future__ import annotations

from sidecar.errors import PictureRejected
from sidecar.http.thumbnails.cache import ThumbnailCache
from sidecar.pictures.picture import Thumbnail


def thumbnail(size_bytes: int) -> Thumbnail:
    return Thumbnail("image/webp", b"x" * size_bytes)


def test_what_was_not_used_for_longest_gives_way() -> None:
    cache = ThumbnailCache(50_000)
    for name in "abcd":
        cache.put(name, thumbnail(10_000))
    assert cache.get("a") == thumbnail(10_000)
    cache.put("e", thumbnail(10_000))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.held_bytes <= 50_000


def test_reasons_are_kept_and_counted_too() -> None:
    cache = ThumbnailCache(50_000)
    for number in range(1000):
        cache.put(str(number), PictureRejected("not_a_picture", "…"))
    assert cache.held_bytes <= 50_000
    assert cache.get("0") is None
    assert isinstance(cache.get("999"), PictureRejected)


def test_a_second_entry_replaces_the_first_and_one_beyond_the_limit_is_not_kept() -> None:
    cache = ThumbnailCache(50_000)
    cache.put("a", thumbnail(10_000))
    cache.put("a", thumbnail(20_000))
    assert cache.get("a") == thumbnail(20_000)
    cache.put("b", thumbnail(60_000))
    assert (cache.get("a"), cache.get("b"), cache.held_bytes) == (None, None, 0)
