"""Detects formats by their first bytes, to distinguish damaged pictures, unsupported formats and non-pictures."""

from __future__ import annotations

import re

SUPPORTED_FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (4, b"jP  \r\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"JXL \r\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"\0\0\2\0", "CUR"),
    (0, b"icns", "ICNS"),
    (0, b"qoif", "QOI"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"FUJIFILMCCD-RAW", "camera raw (RAF)"),
    (0, b"IIRO", "camera raw (ORF)"),
    (0, b"IIU\0", "camera raw (RW2)"),
    (128, b"DICM", "DICOM"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),  # with a preview before it
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "EMF"),
    (0, b"gimp xcf ", "GIMP (XCF)"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"BLP1", "BLP"),
    (0, b"BLP2", "BLP"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"SIMPLE  =", "FITS"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"),
    *(b"MiHE", b"MiHB", b"MiHA", b"heif"),
}
_MAX_BRANDS = 64
_ITEM_TYPE = re.compile(rb"infe.{8}(?:..)?(av01|hvc1)", re.DOTALL)
"""The codec of a picture, in the item information of a HEIF file."""

_META_BYTES = 1 << 16
# A byte order mark, white space, an XML declaration, comments and a document type may precede the first element.
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE\s+svg[^>]*>\s*)*<(?:\w+:)?svg\b", re.DOTALL
)
_NETPBM = re.compile(rb"P(?:[1-6]\s+(?:#[^\n]*\n\s*)*\d|7\nWIDTH )")


def detect_format(image: bytes) -> str | None:
    """The format by signature: one of SUPPORTED_FORMATS, the name of an unsupported format, or None."""
    for start, magic, name in _SIGNATURES:
        if image.startswith(magic, start):
            return name
    if image[4:8] == b"ftyp":
        return _detect_box_format(image)
    if _NETPBM.match(image[:4096]):
        return "Netpbm (PBM, PGM, PPM, PAM)"
    return "SVG" if _SVG.match(image[:4096]) else None


def is_branded_avif(image: bytes) -> bool:
    """True if one of the brands of an ISO media file is AVIF."""
    return bool(_brands(image) & _AVIF_BRANDS)


def _detect_box_format(image: bytes) -> str | None:
    """The format of an ISO media file (ISO 14496-12), by the codec of its pictures, else by its brands."""
    major, brands = image[8:12], _brands(image)
    if brands & (_AVIF_BRANDS | _HEIF_BRANDS):
        if codec := _ITEM_TYPE.search(image, 0, _META_BYTES):
            return "AVIF" if codec[1] == b"av01" else "HEIC"
        return "AVIF" if major in _AVIF_BRANDS or not brands & _HEIF_BRANDS else "HEIC"
    return "camera raw (CR3)" if major == b"crx " else None


def _brands(image: bytes) -> set[bytes]:
    """The major brand and the compatible brands."""
    end = min(int.from_bytes(image[:4], "big"), 16 + 4 * _MAX_BRANDS)
    return {image[8:12], *(image[at : at + 4] for at in range(16, end, 4))}
