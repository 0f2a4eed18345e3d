"""Writes photo files, keeping as much of the original photo as the format can hold."""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from deblur_tf.base.errors import SaveError
from deblur_tf.base.files import replacing
from deblur_tf.image_files.metadata import SUB_IFDS, Metadata, png_colour_chunks
from deblur_tf.image_files.reading import Photo, to_8_bits


@dataclasses.dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Attributes:
      name: Pillow's name for it.
      options: arguments for Pillow's `save`.
      alpha, deep, exif, icc_profile, xmp, dpi, text: whether it holds these; `deep` is 16
        bits per channel.
    """

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    alpha: bool = False
    deep: bool = False
    exif: bool = True
    icc_profile: bool = True
    xmp: bool = True
    dpi: bool = True
    text: bool = False


_JPEG = Format("JPEG", {"quality": 95, "subsampling": 0})
_TIFF = Format("TIFF", {"compression": "tiff_deflate"}, alpha=True, deep=True)
_HEIF = Format("HEIF", {"quality": 95, "chroma": "444"}, alpha=True, dpi=False)
FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _JPEG),
    ".png": Format("PNG", alpha=True, deep=True, text=True),
    ".webp": Format("WEBP", {"quality": 95}, alpha=True, dpi=False),
    **dict.fromkeys((".tif", ".tiff"), _TIFF),
    ".bmp": Format("BMP", exif=False, icc_profile=False, xmp=False),
    ".avif": Format("AVIF", {"quality": 90, "subsampling": "4:4:4"}, alpha=True, dpi=False),
    **dict.fromkeys((".heic", ".heif"), _HEIF),
    ".jp2": Format("JPEG2000", alpha=True, exif=False, icc_profile=False, xmp=False, dpi=False),
}


def _lost(kind: Format, like: Photo) -> list[str]:
    """What the format cannot hold of a photo, as phrases."""
    has = like.metadata
    parts = {
        "alpha": like.alpha is not None and not kind.alpha,
        "EXIF": has.exif and not kind.exif,
        "colour profile": has.icc_profile and not kind.icc_profile,
        "XMP": has.xmp and not kind.xmp,
        "resolution": has.dpi and not kind.dpi,
        "text": not kind.text and any(k != "Comment" or kind.name != "JPEG" for k, _ in has.text),
        "gamma": has.gamma and not has.icc_profile and kind.name != "PNG",
    }
    lost = [f"{kind.name} keeps no {name}" for name, is_lost in parts.items() if is_lost]
    if like.pixels.dtype == np.uint16 and not kind.deep:
        lost.append(f"16 bits became 8, since {kind.name} holds no more")
    return lost


def _comment(metadata: Metadata) -> str | None:
    return dict(metadata.text).get("Comment")


def _options(kind: Format, metadata: Metadata) -> dict[str, Any]:
    """Arguments for Pillow's `save`."""
    options = dict(kind.options)
    if kind.exif and metadata.exif:
        options["exif"] = metadata.exif
    if kind.icc_profile and metadata.icc_profile:
        options["icc_profile"] = metadata.icc_profile
    if kind.dpi and metadata.dpi:
        options["dpi"] = metadata.dpi
    if kind.name == "TIFF":
        options = _tiff_options(options, metadata)
    elif kind.name == "PNG":
        options["pnginfo"] = _png_info(metadata)
    elif kind.xmp and metadata.xmp:
        options["xmp"] = metadata.xmp
    if kind.name == "JPEG" and (comment := _comment(metadata)):
        options["comment"] = comment
    return options


def _tiff_options(options: dict[str, Any], metadata: Metadata) -> dict[str, Any]:
    """Adds EXIF and XMP, which in TIFF are tags of the file itself."""
    exif = Image.Exif()
    if metadata.exif:
        exif.load(metadata.exif)
        if any(exif.get_ifd(tag) for tag in SUB_IFDS):
            del options["compression"]  # Pillow writes sub-IFDs only without compression
    if metadata.xmp:
        exif[0x02BC] = metadata.xmp
    return options | ({"exif": exif} if len(exif) else {})


def _png_info(metadata: Metadata) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    if not metadata.icc_profile:
        for kind, contents in png_colour_chunks(metadata):
            info.add(kind, contents)
    for key, value in metadata.text:
        info.add_text(key, value)
    if metadata.xmp:
        info.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    return info


def _encode_8_bits(image: Image.Image, kind: Format, metadata: Metadata, notes: list[str]) -> bytes:
    """The bytes of the file; metadata that it cannot hold is left out, with a note."""
    options = _options(kind, metadata)
    parts = [
        name
        for name in ("exif", "xmp", "icc_profile", "pnginfo", "comment", "dpi")
        if name in options
    ]
    for left_out in ((), *((part,) for part in parts), tuple(parts)):
        trial = {k: v for k, v in options.items() if k not in left_out}
        file = io.BytesIO()
        try:
            image.save(file, kind.name, **trial)
        except MemoryError:
            raise
        except Exception as error:  # encoders raise errors of many types
            failure = error
            continue
        if left_out:
            names = ", ".join(left_out)
            notes.append(f"{names} cannot be written to {kind.name} and is left out")
        return file.getvalue()
    raise SaveError(f"cannot be written as {kind.name} ({failure})")


def _encode_16_bits(
    values: np.ndarray, kind: Format, metadata: Metadata, notes: list[str]
) -> bytes:
    """The bytes of a file with uint16 [H, W, 1 to 4]; see `_encode_8_bits`."""
    try:
        return _encode_deep(values, kind, metadata, notes)
    except MemoryError:
        raise
    except Exception as error:  # encoders raise errors of many types
        if metadata == Metadata():
            raise SaveError(f"cannot be written as {kind.name} ({error})") from error
        notes.append(f"metadata cannot be written to {kind.name} and is left out")
        return _encode_16_bits(values, kind, Metadata(), notes)


def _encode_deep(values: np.ndarray, kind: Format, metadata: Metadata, notes: list[str]) -> bytes:
    """uint16 [H, W, 1 to 4] as PNG or TIFF, with all metadata that the format can hold."""
    if kind.name == "PNG":
        import imagecodecs

        return _with_chunks(bytes(imagecodecs.png_encode(values)), metadata)
    import tifffile

    file = io.BytesIO()
    channels = values.shape[2]
    tags = []
    if metadata.exif:
        exif = Image.Exif()
        exif.load(metadata.exif)
        tags = [(tag, "s", 0, text, True) for tag, text in exif.items() if isinstance(text, str)]
        if len(tags) < len(exif):
            notes.append("of EXIF, a 16-bit TIFF keeps the main texts only")
    if metadata.xmp:
        tags.append((0x02BC, "B", len(metadata.xmp), metadata.xmp, True))  # type: ignore[arg-type]
    tifffile.imwrite(
        file,
        values if channels > 1 else values[..., 0],
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        planarconfig="contig" if channels > 1 else None,
        compression="zlib",
        iccprofile=metadata.icc_profile,
        resolution=metadata.dpi,
        resolutionunit="inch" if metadata.dpi else None,
        extratags=tags,
        metadata=None,
        software=False,
    )
    return file.getvalue()


def _with_chunks(png: bytes, metadata: Metadata) -> bytes:
    """Inserts metadata into a PNG file, between its header and its pixels."""
    # The chunks come from a one-pixel image that Pillow writes with the same metadata.
    tiny = io.BytesIO()
    kind = FORMATS[".png"]
    Image.new("RGB", (1, 1)).save(tiny, "PNG", **_options(kind, metadata))
    wanted = (b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
    kept = [chunk for chunk in _chunks(tiny.getvalue()) if chunk[0] in wanted]
    first, *rest = [chunk for chunk in _chunks(png) if chunk[0] not in wanted]
    return png[:8] + b"".join(_chunk(*chunk) for chunk in (first, *kept, *rest))


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        start = position + 8
        found.append((png[position + 4 : start], png[start : start + length]))
        position = start + length + 4
    return found


def _chunk(kind: bytes, contents: bytes) -> bytes:
    checksum = zlib.crc32(contents, zlib.crc32(kind))
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", checksum)


def write_photo(
    path: str | os.PathLike[str], pixels: np.ndarray, like: Photo | None = None
) -> Sequence[str]:
    """Writes a photo; the file is complete before it gets its name.

    Args:
      path: its extension, one of `FORMATS`, gives the format.
      pixels: uint8 or uint16 [H, W, 3].
      like: the photo whose metadata, alpha and gray mode carry over.

    Returns:
      A phrase for each thing that could not be kept.

    Raises:
      SaveError: if the format cannot hold a picture of this size.
      OSError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    kind = FORMATS[path.suffix.lower()]
    if kind is _HEIF:
        import pillow_heif

        pillow_heif.register_heif_opener()
    like = Photo(pixels) if like is None else like
    notes = _lost(kind, dataclasses.replace(like, pixels=pixels))
    alpha = like.alpha if kind.alpha else None
    try:
        if pixels.dtype == np.uint16 and kind.deep:
            # Few programs can read a 16-bit TIFF with gray and alpha channels.
            colour = not like.gray or (kind is _TIFF and alpha is not None)
            layers = [pixels if colour else _gray_16(pixels)]
            if alpha is not None:
                layers.append(alpha[..., None])
            values = np.concatenate(layers, 2)
            data = _encode_16_bits(values, kind, like.metadata, notes)
        else:
            image = Image.fromarray(to_8_bits(pixels))
            image = image.convert("L") if like.gray else image
            if alpha is not None:
                image.putalpha(Image.fromarray(to_8_bits(alpha)))
            data = _encode_8_bits(image, kind, like.metadata, notes)
    except SaveError as error:
        raise SaveError(f"{path}: {error}") from error
    with replacing(path) as file:
        file.write(data)
    return notes


def _gray_16(pixels: np.ndarray) -> np.ndarray:
    """uint16 [H, W, 3] -> luma, uint16 [H, W, 1]."""
    from deblur_tf.numerics.image_ops import LUMA  # imported late: it loads Keras

    luma = pixels.astype(np.float64) @ np.array(LUMA)
    return np.round(luma).astype(np.uint16)[..., None]


def check_size(path: pathlib.Path, size: tuple[int, int]) -> None:
    """Checks that the format of a file can hold a picture of (width, height).

    Raises:
      SaveError: if not.
    """
    kind = FORMATS[path.suffix.lower()]
    largest = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65536, "HEIF": 16384}.get(kind.name)
    if largest is not None and max(size) > largest:
        raise SaveError(
            f"{path}: {kind.name} holds no more than {largest} pixels a side, and this picture has "
            f"{size[0]}x{size[1]}; choose another --ext"
        )
