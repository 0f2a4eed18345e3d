"""Metadata of a photo file: what it holds besides its pixels."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image

SUB_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_INTEROPERABILITY, _SIDES = 0xA005, (0xA002, 0xA003)
# Tags that describe how the original file stores its pixels, or that are handled separately.
_LAYOUT = {
    *range(0x00FE, 0x010B),
    *(0x0111, 0x0112, 0x0115, 0x0116, 0x0117, 0x011A, 0x011B, 0x011C, 0x0128, 0x013D, 0x0140),
    *(0x0142, 0x0143, 0x0144, 0x0145, 0x014A, 0x0152, 0x0153, 0x015B, 0x0201, 0x0202),
    *(0x0211, 0x0212, 0x0213, 0x0214, 0x02BC, 0x8773),
}
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Metadata of a photo; every field is optional.

    Attributes:
      exif: the EXIF block, without orientation and tags for the layout of the original file.
      icc_profile: colour profile.
      xmp: XMP packet.
      dpi: pixels per inch, across and down.
      text: pairs of keyword and text; a comment has the keyword "Comment".
      gamma, chromaticity, srgb: from PNG: the exponent, x and y of white, red, green and
        blue, and the rendering intent.
    """

    exif: bytes = b""
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()
    gamma: float | None = None
    chromaticity: tuple[float, ...] | None = None
    srgb: int | None = None


def _attempt(what: str, read: Callable[[], Any], notes: list[str]) -> Any:
    """The result of `read`; None, with a note, if that part of the file is damaged."""
    try:
        return read()
    except Exception as error:  # decoders raise errors of many types
        notes.append(f"the file's {what} cannot be read and is left out ({error})")
        return None


def _exif(image: Image.Image, turned: bool) -> bytes:
    found = image.getexif()
    kept = Image.Exif()
    for tag, value in found.items():
        if tag not in _LAYOUT and tag not in SUB_IFDS:
            kept[tag] = value
    for tag in SUB_IFDS:
        if values := dict(found.get_ifd(tag)):
            values.pop(_INTEROPERABILITY, None)  # it would point into the original file
            for side in _SIDES if turned else ():
                values.pop(side, None)
            kept[tag] = values
    return kept.tobytes() if len(kept) else b""


def _text(info: dict[Any, Any]) -> tuple[tuple[str, str], ...]:
    texts = {}
    for key, value in info.items():
        value = value.decode("utf-8", "replace") if key == "comment" and value else value
        if isinstance(key, str) and isinstance(value, str) and not key.startswith("XML:"):
            texts["Comment" if key == "comment" else key] = value
    for key in ("Raw profile type exif", "Raw profile type xmp", "compression", "version"):
        texts.pop(key, None)
    return tuple(texts.items())


def _dpi(info: dict[Any, Any]) -> tuple[float, float] | None:
    found = info.get("dpi")
    if found is None:
        return None
    across, down = (float(value) for value in found)
    return (across, down) if across > 0 and down > 0 else None


def read_metadata(image: Image.Image, notes: list[str], turned: bool = False) -> Metadata:
    """The metadata of an image; what cannot be read is noted.

    Args:
      image: the loaded image.
      notes: a phrase is appended for each damaged part.
      turned: whether rows and columns are swapped, so that EXIF's width and height are wrong.
    """
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or None
    xmp = xmp.encode("utf-8") if isinstance(xmp, str) else xmp
    return Metadata(
        exif=_attempt("EXIF", lambda: _exif(image, turned), notes) or b"",
        icc_profile=info.get("icc_profile") or None,
        xmp=xmp and _XMP_ORIENTATION.sub(rb"\g<1>1", xmp),
        dpi=_attempt("resolution", lambda: _dpi(info), notes),
        text=_attempt("text", lambda: _text(info), notes) or (),
        gamma=info.get("gamma"),
        chromaticity=info.get("chromaticity"),
        srgb=info.get("srgb"),
    )


def png_colour_chunks(metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """The gAMA, cHRM and sRGB chunks of a PNG file, as (type, contents)."""
    chunks = []
    if metadata.gamma:
        chunks.append((b"gAMA", struct.pack(">I", round(metadata.gamma * 100_000))))
    if metadata.chromaticity:
        values = [round(value * 100_000) for value in metadata.chromaticity]
        chunks.append((b"cHRM", struct.pack(f">{len(values)}I", *values)))
    if metadata.srgb is not None:
        chunks.append((b"sRGB", bytes([metadata.srgb])))
    return chunks
