"""Golden files of the image room: small encoded images in every mode that a supported format opens in, and checksums of
what Pillow and the reference preprocessing make of them.

    python tests/reference/image.py [DATA]

writes tests/reference/golden/image/* and, when DATA (the larger test data) is given, the checksums of its photos. The
pipelines are written out from OpenAI's clip/clip.py, open_clip's transform.py and torchvision's functional.py with
Pillow, NumPy and PyTorch; that of transformers runs its own image processor.
"""

import io
import json
import math
import platform
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import transformers
from PIL import Image, ImageOps
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from image_files import bmp, bmp_rows, exif, gif, patch_jpeg_frame, png

warnings.simplefilter("ignore")
FOLDER = Path(__file__).parent / "golden" / "image"
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def checksum(data):
    return f"{zlib.crc32(bytes(data)):08x}"


def pixel_bytes(image):
    """As Image::pixels: interleaved, one byte a sample, two of I;16."""
    if image.mode == "1":
        return (np.array(image).astype(np.uint8) * 255).tobytes()
    return image.tobytes()


# The reference pipelines ----------------------------------------------------------------------------------------------


def to_tensor_and_normalize(image):
    """torchvision's ToTensor and Normalize."""
    tensor = torch.from_numpy(np.array(image, np.uint8)).permute(2, 0, 1).contiguous()
    tensor = tensor.to(torch.float32).div(255)
    mean, std = torch.tensor(MEAN).view(-1, 1, 1), torch.tensor(STD).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std).numpy()


def resize_shortest(image, size, resample):
    """torchvision's Resize(size)."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    return image.resize((size, new_long) if width <= height else (new_long, size), resample)


def center_crop(image, size):
    """torchvision's CenterCrop."""
    width, height = image.size
    top, left = int(round((height - size) / 2.0)), int(round((width - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def preprocess_openai(image, size=224, resample=Image.Resampling.BICUBIC):
    image = center_crop(resize_shortest(image, size, resample), size)
    return to_tensor_and_normalize(image.convert("RGB"))


def preprocess_squash(image, size=224):
    return to_tensor_and_normalize(image.resize((size, size), Image.Resampling.BICUBIC).convert("RGB"))


def preprocess_longest(image, fill, size=224):
    """open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad; torchvision's pad of a PIL image."""
    width, height = image.size
    ratio = max(height / size, width / size) * 1.0 + min(height / size, width / size) * 0.0
    image = image.resize((round(width / ratio), round(height / ratio)), Image.Resampling.BICUBIC)
    width, height = image.size
    border = ((size - width) // 2, (size - height) // 2, (size - width + 1) // 2, (size - height + 1) // 2)
    color = fill if len(image.getbands()) == 1 else (fill,) * len(image.getbands())
    padded = Image.new(image.mode, (size, size), color)
    if image.mode == "P":
        padded.putpalette(image.getpalette())
    padded.paste(image, border[:2])
    return to_tensor_and_normalize(padded.convert("RGB"))


def preprocess_hugging_face(image):
    processor = CLIPImageProcessorPil()
    return processor(image, return_tensors="np")["pixel_values"][0]


PIPELINES = {
    "openai": preprocess_openai,
    "hugging_face": preprocess_hugging_face,
    "longest": lambda image: preprocess_longest(image, 0),
    "longest_fill_127": lambda image: preprocess_longest(image, 127),
    "squash": preprocess_squash,
    "bilinear_97": lambda image: preprocess_openai(image, 97, Image.Resampling.BILINEAR),
}


def over_white(image):
    """transformers.image_transforms.convert_to_rgb."""
    return transformers.image_transforms.convert_to_rgb(image, return_numpy=True).tobytes()


# The files ------------------------------------------------------------------------------------------------------------


def pattern(width, height, channels=3, maximum=255):
    """A gradient with some texture, without a random generator."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    planes = []
    for c in range(channels):
        gradient = (x * (3 + c) + y * (5 - c) * 2 + 40 * c) * maximum // 255
        texture = (x * x * 7 + y * y * 13 + x * y * (c + 1)) % (maximum // 3 + 1)
        planes.append((gradient + texture) % (maximum + 1))
    return np.stack(planes, -1)


def palette_of(count):
    index = np.arange(count)
    return np.stack([(index * 37 + 11) % 256, (index * 91 + 5) % 256, 255 - index * 255 // count], -1).astype(np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rgb(width, height):
    return Image.fromarray(pattern(width, height).astype(np.uint8))


def jpeg_files():
    files = {}
    for name, options in {
        "420": {"subsampling": 2},
        "422": {"subsampling": 1},
        "444": {"subsampling": 0, "quality": 95},
        "progressive": {"progressive": True},
        "progressive-444": {"progressive": True, "subsampling": 0},
        "restart": {"restart_marker_blocks": 2},
    }.items():
        files[f"{name}.jpg"] = encoded(rgb(45, 37), "JPEG", **options)
    for width, height in ((1, 1), (1, 5000), (5000, 1), (223, 225), (224, 224), (3, 7), (225, 224), (500, 333)):
        quality = 20 if width * height > 10000 else 75
        files[f"{width}x{height}.jpg"] = encoded(rgb(width, height), "JPEG", quality=quality)
    files["grey.jpg"] = encoded(rgb(45, 37).convert("L"), "JPEG")
    files["grey-progressive.jpg"] = encoded(rgb(45, 37).convert("L"), "JPEG", progressive=True)
    cmyk = encoded(Image.fromarray(pattern(33, 29, 4).astype(np.uint8), "CMYK"), "JPEG", quality=90)
    files["cmyk.jpg"] = cmyk
    transform_at = cmyk.index(b"Adobe") + 11
    files["ycck.jpg"] = cmyk[:transform_at] + b"\2" + cmyk[transform_at + 1 :]
    files["440.jpg"] = patch_jpeg_frame(encoded(rgb(64, 48), "JPEG", subsampling=1), (24, 128), 0x12)
    files["411.jpg"] = patch_jpeg_frame(encoded(rgb(64, 64), "JPEG", subsampling=2), (128, 32), 0x41)
    files["rgb-components.jpg"] = encoded(rgb(45, 37), "JPEG", keep_rgb=True)
    for orientation in range(1, 9):
        files[f"orientation-{orientation}.jpg"] = encoded(rgb(7, 5), "JPEG", exif=b"Exif\0\0" + exif(orientation))
    return files


def png_files():
    files = {}
    grey, grey_alpha, color, color_alpha, indexed = 0, 4, 2, 6, 3
    for interlaced in (False, True):
        suffix = "-interlaced" if interlaced else ""
        for bits in (1, 2, 4, 8, 16):
            maximum = 2**bits - 1
            files[f"grey-{bits}{suffix}.png"] = png(pattern(19, 23, 1, maximum), bits, grey, interlaced=interlaced)
            if bits <= 8:
                files[f"palette-{bits}{suffix}.png"] = png(pattern(19, 23, 1, maximum), bits, indexed,
                                                           palette=palette_of(2**bits).tobytes(), interlaced=interlaced)
            if bits >= 8:
                files[f"rgb-{bits}{suffix}.png"] = png(pattern(19, 23, 3, maximum), bits, color, interlaced=interlaced)
                files[f"grey-alpha-{bits}{suffix}.png"] = png(pattern(19, 23, 2, maximum), bits, grey_alpha,
                                                              interlaced=interlaced)
                files[f"rgba-{bits}{suffix}.png"] = png(pattern(19, 23, 4, maximum), bits, color_alpha,
                                                        interlaced=interlaced)
    # tRNS: a colour, an index, a table.
    for bits in (1, 2, 4, 8, 16):
        samples = pattern(19, 23, 1, 2**bits - 1)
        files[f"grey-{bits}-trns.png"] = png(samples, bits, grey, transparency=struct.pack(">H", samples[3, 4, 0]))
    for bits in (8, 16):
        samples = pattern(19, 23, 3, 2**bits - 1)
        samples[5:9, 5:9] = samples[0, 0]
        files[f"rgb-{bits}-trns.png"] = png(samples, bits, color, transparency=struct.pack(">HHH", *samples[0, 0]))
    indices, palette = pattern(19, 23, 1, 15), palette_of(16).tobytes()
    files["palette-4-index.png"] = png(indices, 4, indexed, palette=palette, transparency=b"\xff\xff\xff\0")
    files["palette-4-table.png"] = png(indices, 4, indexed, palette=palette, transparency=bytes(range(0, 160, 16)))
    files["palette-short.png"] = png(pattern(19, 23, 1, 255), 8, indexed, palette=palette_of(200).tobytes())
    low = pattern(19, 23, 1, 300)
    files["grey-16-low.png"] = png(low, 16, grey)
    files["exif-6.png"] = png(pattern(7, 5, 3), 8, color, exif=exif(6))
    repeated = np.tile(np.random.default_rng(0).integers(256, size=(1, 300, 3)), (8, 1, 1))
    files["small-window.png"] = png(repeated, 8, color, zlib_header=b"\x08\x1d")  # 256 bytes; rows repeat after 901
    # Odd sizes of the modes that are not resampled like RGB.
    for width, height in ((1, 1), (1, 5000), (5000, 1), (223, 225)):
        small = 5 if width * height > 10000 else 255
        stretched = 255 // small
        files[f"rgba-{width}x{height}.png"] = png(pattern(width, height, 4, small) * stretched, 8, color_alpha)
        files[f"palette-{width}x{height}.png"] = png(pattern(width, height, 1, 15), 4, indexed, palette=palette)
        files[f"grey-16-{width}x{height}.png"] = png(pattern(width, height, 1, small) * 257 * stretched, 16, grey)
        files[f"grey-1-{width}x{height}.png"] = png(pattern(width, height, 1, 1), 1, grey)
        files[f"grey-alpha-{width}x{height}.png"] = png(pattern(width, height, 2, small) * stretched, 8, grey_alpha)
    return files


def webp_files():
    alpha = Image.fromarray(pattern(45, 37, 4).astype(np.uint8))
    frames = [rgb(45, 37), rgb(45, 37).transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    files = {
        "lossy.webp": encoded(rgb(45, 37), "WEBP", quality=80),
        "lossless.webp": encoded(rgb(45, 37), "WEBP", lossless=True),
        "lossy-alpha.webp": encoded(alpha, "WEBP", quality=80),
        "lossless-alpha.webp": encoded(alpha, "WEBP", lossless=True, exact=True),
        "1x1.webp": encoded(rgb(1, 1), "WEBP"),
        "223x225.webp": encoded(rgb(223, 225), "WEBP", quality=30),
        "exif-8.webp": encoded(rgb(7, 5), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(8)),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], quality=50),
    }
    # The first frame painted at (8, 6) of a larger canvas: ANMF holds half the offsets.
    animated = bytearray(files["animated.webp"])
    canvas, frame = animated.index(b"VP8X") + 8 + 4, animated.index(b"ANMF") + 8
    animated[canvas : canvas + 6] = (59).to_bytes(3, "little") + (47).to_bytes(3, "little")
    animated[frame : frame + 6] = (4).to_bytes(3, "little") + (3).to_bytes(3, "little")
    files["animated-offset.webp"] = bytes(animated)
    return files


def gif_files():
    indices = pattern(19, 23, 1, 255)[:, :, 0]
    colors, ramp = palette_of(256).tobytes(), np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes()
    other = palette_of(256)[::-1].tobytes()
    index = int(indices[3, 4])
    return {
        "palette.gif": gif(indices, (19, 23), global_palette=colors),
        "interlaced.gif": gif(indices, (19, 23), global_palette=colors, interlaced=True),
        "local-palette.gif": gif(indices, (19, 23), global_palette=colors, local_palette=other),
        "transparent.gif": gif(indices, (19, 23), global_palette=colors, transparent=index),
        "grey.gif": gif(indices, (19, 23), global_palette=ramp),
        "grey-local.gif": gif(indices, (19, 23), local_palette=ramp),
        "grey-transparent.gif": gif(indices, (19, 23), global_palette=ramp, transparent=index),
        "no-palette.gif": gif(indices, (19, 23)),
        "offset.gif": gif(indices, (40, 30), 7, 3, global_palette=colors),
        "offset-transparent.gif": gif(indices, (40, 30), 7, 3, global_palette=colors, transparent=index),
        "beyond-screen.gif": gif(indices, (16, 16), 3, 2, global_palette=colors),
        "compressed.gif": encoded(rgb(64, 48).quantize(64), "GIF"),
        "animated.gif": encoded(rgb(20, 10).quantize(16), "GIF", save_all=True,
                                append_images=[rgb(20, 10).rotate(180).quantize(16)]),
        "1x5000.gif": encoded(rgb(1, 5000).quantize(8), "GIF"),
    }


def bmp_files():
    files = {}
    width, height = 19, 13
    color = palette_of(256)[:, ::-1]
    padded = lambda count: np.pad(color[:count], ((0, 0), (0, 1))).tobytes()
    ramp = np.pad(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1), ((0, 0), (0, 1))).tobytes()
    for bits in (1, 4, 8):
        samples = pattern(width, height, 1, 2**bits - 1)[:, :, 0]
        for top_down in (False, True):
            suffix = "-top-down" if top_down else ""
            files[f"{bits}{suffix}.bmp"] = bmp(bmp_rows(samples, bits, top_down), width, height, bits, padded(2**bits),
                                               top_down=top_down)
        files[f"{bits}-os2.bmp"] = bmp(bmp_rows(samples, bits), width, height, bits, color[: 2**bits].tobytes(),
                                       header_size=12)
    few = pattern(width, height, 1, 9)[:, :, 0]
    files["8-few-colors.bmp"] = bmp(bmp_rows(few, 8), width, height, 8, padded(10), colors=10)
    files["8-grey.bmp"] = bmp(bmp_rows(pattern(width, height, 1)[:, :, 0], 8), width, height, 8, ramp)
    files["1-black-white.bmp"] = bmp(bmp_rows(pattern(width, height, 1, 1)[:, :, 0], 1), width, height, 1,
                                     b"\0\0\0\0\xff\xff\xff\0")
    words = pattern(width, height, 2).astype(np.uint8).reshape(height, -1)
    files["16.bmp"] = bmp(bmp_rows(words, 16), width, height, 16)
    for name, masks in {"555": (0x7C00, 0x3E0, 0x1F), "565": (0xF800, 0x7E0, 0x1F)}.items():
        files[f"16-{name}.bmp"] = bmp(bmp_rows(words, 16), width, height, 16, compression=3, masks=struct.pack("<III", *masks))
    triples = pattern(width, height, 3).astype(np.uint8).reshape(height, -1)
    files["24.bmp"] = bmp(bmp_rows(triples, 24), width, height, 24)
    files["24-top-down.bmp"] = bmp(bmp_rows(triples, 24, True), width, height, 24, top_down=True)
    files["24-os2.bmp"] = bmp(bmp_rows(triples, 24), width, height, 24, header_size=12)
    quads = bmp_rows(pattern(width, height, 4).astype(np.uint8).reshape(height, -1), 32)
    files["32.bmp"] = bmp(quads, width, height, 32)
    for name, masks in {
        "bgrx": (0xFF0000, 0xFF00, 0xFF, 0),
        "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0),
        "bgxr": (0xFF000000, 0xFF00, 0xFF, 0),
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        "zero": (0, 0, 0, 0),
    }.items():
        files[f"32-{name}.bmp"] = bmp(quads, width, height, 32, compression=3, masks=struct.pack("<IIII", *masks),
                                      header_size=124)
    # Run-length encoded, 7 × 4: runs, literals of odd length, a jump, short rows.
    runs8 = b"\3\5\4\6\0\0" + b"\0\5\1\2\3\4\5\0\2\x09\0\0" + b"\2\7\0\2\2\1\1\x08" + b"\0\0\7\1" + b"\0\1"
    files["rle8.bmp"] = bmp(runs8, 7, 4, 8, padded(16), colors=16, compression=1)
    files["rle8-black-white.bmp"] = bmp(runs8, 7, 4, 8, b"\0\0\0\0\xff\xff\xff\0", colors=2, compression=1)
    runs4 = b"\3\x56\4\x61\0\0" + b"\0\5\x12\x34\x50\0\2\x97\0\0" + b"\2\x71\0\2\2\1\1\x80" + b"\0\0\7\x12" + b"\0\1"
    files["rle4.bmp"] = bmp(runs4, 7, 4, 4, padded(16), compression=2)
    return {f"bmp-{name}": data for name, data in files.items()}


def preprocessed(pipeline, image):
    """None where the pipeline fails: a side of an elongated image may round to no pixel."""
    try:
        return checksum(pipeline(image).tobytes())
    except ValueError:
        return None


def describe(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    entry = {
        "mode": image.mode,
        "width": image.width,
        "height": image.height,
        "pixels": checksum(pixel_bytes(image)),
        "rgb": checksum(image.convert("RGB").tobytes()),
        "rgb_over_white": checksum(over_white(image)),
        "upright": checksum(pixel_bytes(ImageOps.exif_transpose(image))),
        "preprocessed": {name: preprocessed(pipeline, image) for name, pipeline in PIPELINES.items()},
        "resized": [],  # width, height, and the pixels of all three filters
    }
    width, height = image.size
    for target in ((math.ceil(width * 0.37), math.ceil(height * 1.7)), (width, height), (13, 11)):
        if target[0] * target[1] > 40000:
            continue
        pixels = b"".join(pixel_bytes(image.resize(target, resample)) for resample in FILTERS)
        entry["resized"].append([*target, checksum(pixels)])
    return entry


def write_golden_files():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        if old.name != "photos.json":
            old.unlink()
    files = {**jpeg_files(), **png_files(), **webp_files(), **gif_files(), **bmp_files()}
    manifest = {"versions": versions(), "files": {}}
    for name, data in sorted(files.items()):
        (FOLDER / name).write_bytes(data)
        manifest["files"][name] = describe(data)
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")).replace(']},"', ']},\n"') + "\n")
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")


def versions():
    return {"python": platform.python_version(), "pillow": PIL.__version__, "numpy": np.__version__,
            "torch": torch.__version__, "transformers": transformers.__version__}


def write_photo_checksums(data):
    """Of every photo of some folders, in name order: the decoded pixels, OpenAI's tensor and transformers'."""
    manifest = {"versions": versions()}
    for folder in ("flickr8k-1000", "imagenet-1000", "photos", "preprocess-parity"):
        manifest[folder] = []
        for path in sorted((data / folder).rglob("*")):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                image = Image.open(path)
                tensors = (preprocess_openai(image), preprocess_hugging_face(image))
                manifest[folder].append(checksum(pixel_bytes(image)) + "".join(checksum(t.tobytes()) for t in tensors))
        print(folder, len(manifest[folder]))
    (FOLDER / "photos.json").write_text(json.dumps(manifest, separators=(",", ":")).replace("],", "],\n") + "\n")


if __name__ == "__main__":
    write_golden_files()
    if len(sys.argv) > 1:
        write_photo_checksums(Path(sys.argv[1]))
