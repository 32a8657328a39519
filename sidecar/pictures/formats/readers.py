"""The supported formats: how a file of each is opened with Pillow, and how a truncated one is recognised."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from sidecar.errors import PictureRejected
from sidecar.pictures.formats import jpeg, png, tiff, webp
from sidecar.pictures.formats.deep_colour import is_deep
from sidecar.pictures.formats.heif import open_heif
from sidecar.pictures.formats.png import sanitise_png
from sidecar.pictures.formats.signatures import is_branded_avif
from sidecar.pictures.formats.tiff import open_page
from sidecar.pictures.formats.webp import strip_truncated_metadata
from sidecar.pictures.pixels import DEFAULT_SAMPLE_FORMAT, SampleFormat


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """`picture` has its size but not yet its pixels. `deep_colour`: Pillow will reduce its 16-bit colours to 8 bits.

    `skips_default_image`: the picture to read is the frame after the default image, at which the file is opened.
    """

    picture: ImageFile.ImageFile
    profile: bytes | None
    samples: SampleFormat = DEFAULT_SAMPLE_FORMAT
    deep_colour: bool = False
    skips_default_image: bool = False

    def seek_first_frame(self) -> None:
        """Seeks past the default image if it is to be skipped; Pillow decodes it to do so. Raises as Pillow."""
        if self.skips_default_image:
            self.picture.seek(1)


def open_picture(image: bytes, name: str) -> OpenedPicture:
    """Opens a file of the format `name`, one of SUPPORTED_FORMATS, without decoding its pixels.

    Raises PictureRejected for unsupported kinds, and what Pillow and its codecs raise about invalid bytes.
    """
    return _FORMATS[name].open(image)


def is_truncated(image: bytes, name: str) -> bool:
    """True if the end of a file is missing, by what its format says of the length or the end. `name`: as above.

    For the error message about a file that could not be decoded.
    """
    return _FORMATS[name].is_truncated(image)


def _open_jpeg(image: bytes) -> OpenedPicture:
    try:
        picture = JpegImagePlugin.jpeg_factory(io.BytesIO(image), "")
    except SyntaxError as error:
        if "cannot handle" in str(error):  # 12 bits per sample, or an impossible number of components
            message = f"JPEG pictures of this kind are not read (Pillow: {error}); save it with 8 bits for each sample."
            raise PictureRejected("unsupported_format", message) from error
        raise
    return OpenedPicture(picture, picture.info.get("icc_profile"))


def _open_png(image: bytes) -> OpenedPicture:
    parts = sanitise_png(image)
    picture = PngImagePlugin.PngImageFile(io.BytesIO(parts.image))
    transparent = picture.info.get("transparency")
    if picture.mode == "L" and parts.bits < 8 and isinstance(transparent, int):
        # Pillow scales pixels of 2 and 4 bits to 8, but not the transparent value.
        picture.info["transparency"] = transparent * 255 // ((1 << parts.bits) - 1)
    deep = picture.mode == "I;16" and isinstance(transparent, int)
    samples = SampleFormat(transparent=transparent if deep else None)
    return OpenedPicture(picture, parts.profile, samples, is_deep(picture), parts.skips_default_image)


def _open_tiff(image: bytes) -> OpenedPicture:
    page = open_page(image)
    samples = SampleFormat(page.white_is_zero, page.white, page.integers)
    return OpenedPicture(page.picture, page.picture.info.get("icc_profile"), samples, is_deep(page.picture))


def _open_webp(image: bytes) -> OpenedPicture:
    picture = WebPImagePlugin.WebPImageFile(io.BytesIO(strip_truncated_metadata(image)))
    return OpenedPicture(picture, picture.info.get("icc_profile"))


def _open_avif(image: bytes) -> OpenedPicture:
    """Sets the brand that libavif requires, for a file that contains AV1 under another brand."""
    branded = image if is_branded_avif(image) else image[:8] + b"avif" + image[12:]
    picture = AvifImagePlugin.AvifImageFile(io.BytesIO(branded))
    return OpenedPicture(picture, picture.info.get("icc_profile"))


def _open_heic(image: bytes) -> OpenedPicture:
    picture = open_heif(image)
    return OpenedPicture(picture, picture.info.get("icc_profile"))


def _open_with(plugin: Callable[[io.BytesIO], ImageFile.ImageFile]) -> Callable[[bytes], OpenedPicture]:
    """An opener for a format without quirks."""

    def open_one(image: bytes) -> OpenedPicture:
        picture = plugin(io.BytesIO(image))
        return OpenedPicture(picture, picture.info.get("icc_profile"))

    return open_one


def _is_truncated_gif(image: bytes) -> bool:
    return not image.rstrip(b"\0").endswith(b";")


def _is_truncated_bmp(image: bytes) -> bool:
    return len(image) < 26 or struct.unpack_from("<I", image, 2)[0] > len(image)


def _is_truncated_box_file(image: bytes) -> bool:
    """True if a top-level box (ISO 14496-12) extends beyond the end."""
    position = 0
    while position + 8 <= len(image):
        length = int.from_bytes(image[position : position + 4], "big")
        if length == 1:
            length = int.from_bytes(image[position + 8 : position + 16], "big")
        if length < 8:  # 0: the box extends to the end of the file
            return False
        position += length
    return position != len(image)


class _Format(NamedTuple):
    """The functions that read files of one format."""

    open: Callable[[bytes], OpenedPicture]
    is_truncated: Callable[[bytes], bool]


_FORMATS = {
    "JPEG": _Format(_open_jpeg, jpeg.is_truncated),
    "PNG": _Format(_open_png, png.is_truncated),
    "WebP": _Format(_open_webp, webp.is_truncated),
    "GIF": _Format(_open_with(GifImagePlugin.GifImageFile), _is_truncated_gif),
    "BMP": _Format(_open_with(BmpImagePlugin.BmpImageFile), _is_truncated_bmp),
    "TIFF": _Format(_open_tiff, tiff.is_truncated),
    "AVIF": _Format(_open_avif, _is_truncated_box_file),
    "HEIC": _Format(_open_heic, _is_truncated_box_file),
}
