"""Writers of image files in variants that Pillow reads but does not write; used by image.py."""

import struct
import zlib

import numpy as np


def pack_bits(samples, bits):
    """samples: rows × values, below 2**bits; the first value of a byte in its highest bits, rows padded to whole bytes."""
    rows = []
    for row in samples:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    return rows


# PNG ------------------------------------------------------------------------------------------------------------------


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples, bits, color_type, palette=None, transparency=None, interlaced=False, exif=None,
        zlib_header=None):
    """samples: height × width × channels. Filter 2 (up) on odd rows, 0 on even ones."""
    height, width, channels = samples.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for left, top, step_x, step_y in passes:
        part = samples[top::step_y, left::step_x]
        if part.size == 0:
            continue
        rows = pack_bits(part.reshape(part.shape[0], -1), bits)
        previous = bytes(len(rows[0]))
        for y, row in enumerate(rows):
            filtered = bytes((a - b) & 255 for a, b in zip(row, previous)) if y % 2 else row
            raw += bytes([2 if y % 2 else 0]) + filtered
            previous = row
    out = b"\x89PNG\r\n\x1a\n"
    out += png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, int(interlaced)))
    if exif is not None:
        out += png_chunk(b"eXIf", exif)
    if palette is not None:
        out += png_chunk(b"PLTE", bytes(palette))
    if transparency is not None:
        out += png_chunk(b"tRNS", transparency)
    packed = zlib.compress(raw, 9)
    if zlib_header is not None:
        packed = zlib_header + packed[2:]
    return out + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


# GIF ------------------------------------------------------------------------------------------------------------------


def gif_pixels(indices):
    """LZW of 8-bit indices without compression: 9-bit codes, cleared before they would grow."""
    codes = []
    for start in range(0, len(indices), 250):
        codes += [256, *indices[start : start + 250]]
    codes.append(257)
    bits = "".join(format(code, "09b")[::-1] for code in codes)
    bits += "0" * (-len(bits) % 8)
    packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    blocks = b"".join(bytes([len(packed[i : i + 255])]) + packed[i : i + 255] for i in range(0, len(packed), 255))
    return b"\x08" + blocks + b"\0"


def gif(indices, screen, left=0, top=0, global_palette=None, local_palette=None, transparent=None, interlaced=False):
    """indices: height × width; palettes: 256 × 3 bytes; screen: (width, height)."""
    height, width = indices.shape
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0xF7 if global_palette is not None else 0x77, 3, 0)
    out += bytes(global_palette or b"")
    if transparent is not None:
        out += b"!\xf9\x04" + struct.pack("<BHB", 1, 0, transparent) + b"\0"
    out += b"!\xfe\x07comment\0"
    flags = (0x87 if local_palette is not None else 0) | (0x40 if interlaced else 0)
    out += b"," + struct.pack("<HHHHB", left, top, width, height, flags) + bytes(local_palette or b"")
    order = list(range(height))
    if interlaced:
        order = [y for first, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(first, height, step)]
    return out + gif_pixels([int(value) for y in order for value in indices[y]]) + b";"


# BMP ------------------------------------------------------------------------------------------------------------------


def bmp(rows, width, height, bits, palette=b"", colors=0, compression=0, masks=b"", header_size=40, top_down=False):
    """rows: the stored pixel data; masks follow the 40-byte header, or lie inside the longer ones."""
    if header_size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        signed_height = -height if top_down else height
        header = struct.pack("<IiiHHIIiiII", header_size, width, signed_height, 1, bits, compression, len(rows), 2835, 2835,
                             colors, 0)
        if header_size > 40:
            header = (header + masks).ljust(header_size, b"\0")
        else:
            header += masks
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + palette + rows


def bmp_rows(samples, bits, top_down=False):
    """samples: height × width × bytes for whole bytes, height × width below; rows padded to 4 bytes."""
    rows = pack_bits(samples, bits) if bits < 8 else [row.astype(np.uint8).tobytes() for row in samples]
    rows = [row + bytes(-len(row) % 4) for row in rows]
    return b"".join(rows if top_down else rows[::-1])


# JPEG -----------------------------------------------------------------------------------------------------------------


def patch_jpeg_frame(data, size=None, sampling=None):
    """Another size and another sampling of the first component. Files of the same number of blocks in a minimum coded
    unit, and of the same number of units, stay valid: 4:2:2 becomes 4:4:0, and 4:2:0 becomes 4:1:1."""
    data = bytearray(data)
    at = 2
    while data[at + 1] not in (0xC0, 0xC2):
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    if size is not None:
        struct.pack_into(">HH", data, at + 5, size[1], size[0])
    if sampling is not None:
        data[at + 11] = sampling
    return bytes(data)


def exif(orientation):
    """A TIFF directory with the orientation alone, big endian."""
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, orientation, 0) + b"\0\0\0\0"
