#!/usr/bin/env python3
"""Golden archives, tables and orders of src/data, made by Python's tarfile and csv and by pyarrow: writes golden/data/."""
import csv
import io
import json
import pathlib
import platform
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent / "golden" / "data"
folder.mkdir(parents=True, exist_ok=True)
expected = {"made_with": {"python": platform.python_version(), "pyarrow": pa.__version__}}

# Tars: the same members in every format that tarfile writes.
LONG = "a-folder-of-a-rather-long-name/" * 5 + "picture"  # 162 characters: ustar splits it
LONGER = "n" * 300                                          # needs a pax record or a GNU long name
members = [
    ("000.jpg", b"first image"), ("000.txt", b"a caption"),
    ("sub.folder/001.PNG", b"x" * 513), ("sub.folder/001.json", b'{"caption": "from \\u00e9 json", "id": 3}'),
    ("002.cls", b"7\n"), ("002.webp", b""), ("002.txt", "na\u00efve \U0001f408".encode()),
    ("003.jpg", b"no caption"),
    ("004.txt", b"no image"),
    ("005.seg.png", b"not the image"), ("005.jpeg", b"image"), ("005.json", b'{"text": ["one", "two"]}'),
    ("README", b"no extension"), (".hidden.jpg", b"no key"),
    (LONG + ".jpg", b"long"), (LONG + ".txt", b"a long name"),
]
longer = [(LONGER + ".jpg", b"longer"), (LONGER + ".txt", "a longer name".encode()), ("caf\u00e9.jpg", b"e"),
          ("caf\u00e9.txt", b"a name that is not ASCII")]
tarfile.RECORDSIZE = tarfile.BLOCKSIZE  # no padding to 10 KiB
expected["members"] = {}
for name, kind in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    with tarfile.open(folder / f"{name}.tar", "w", format=kind, encoding="utf-8") as tar:
        for member, content in members + (longer if name != "ustar" else []):
            if member == "003.jpg":  # a folder and a link stand between the samples
                for special in ("folder", "link"):
                    info = tarfile.TarInfo(special)
                    info.type = tarfile.DIRTYPE if special == "folder" else tarfile.SYMTYPE
                    info.linkname = "" if special == "folder" else "000.jpg"
                    tar.addfile(info)
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with tarfile.open(folder / f"{name}.tar") as tar:
        expected["members"][name] = [[m.name, m.offset_data, m.size] for m in tar if m.isfile()]

# Tables, with everything that needs a quote.
rows = [("a.jpg", "plain"), ("b.jpg", 'says "hello", twice'), ("c d.jpg", "two\nlines\r\nand more"), ("a.jpg", "second"),
        ("e.jpg", ""), ("f.jpg", "tab\there"), ("g.jpg", "na\u00efve \U0001f408"), ("a.jpg", ",")]
for name, separator, end in [("table.csv", ",", "\r\n"), ("table.tsv", "\t", "\n")]:
    with open(folder / name, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, delimiter=separator, lineterminator=end)
        writer.writerow(["id", "caption", "image"])
        writer.writerows([i, caption, image] for i, (image, caption) in enumerate(rows))
expected["rows"] = rows

# Parquet: the same table by pyarrow, with its dictionaries; and rows that hold their images, two to a row group, as
# Hugging Face's data sets do and as plain bytes.
images, captions = [image for image, _ in rows], [caption for _, caption in rows]
pq.write_table(pa.table({"caption": captions, "image": images}), folder / "paths.parquet", row_group_size=3)
pq.write_table(pa.table({"caption": captions, "image": pa.array(images, pa.string_view())}), folder / "views.parquet")
pq.write_table(pa.table({"image": pa.array(images).dictionary_encode(), "text": captions}), folder / "codes.parquet",
               compression="zstd")
held = [{"bytes": f"bytes of {i}".encode() if i != 3 else None, "path": f"{i}.jpg"} for i in range(5)]
pq.write_table(pa.table({"image": held, "id": range(5), "text": [f"text {i}" if i != 2 else None for i in range(5)]}),
               folder / "structs.parquet", row_group_size=2)
pq.write_table(pa.table({"image": pa.array([row["bytes"] or b"" for row in held], pa.large_binary()),
                         "caption": [["one", "two"], ["three"], [], ["four"], ["five"]]}),
               folder / "bytes.parquet", row_group_size=2, compression="gzip")
# Lists as Polars has them, and of equally many.
pairs = [[f"{i} a", f"{i} b"] for i in range(3)]
for name, kind in [("large", pa.large_list(pa.large_string())), ("fixed", pa.list_(pa.string_view(), 2))]:
    pq.write_table(pa.table({"image": pa.array([f"{i}".encode() for i in range(3)], pa.binary_view()),
                             "caption": pa.array(pairs, kind)}), folder / f"{name}_lists.parquet")
pq.write_table(pa.table({"caption": pa.nulls(0), "image": pa.nulls(0)}), folder / "empty.parquet")

# The order of an epoch: SplitMix64, then Fisher and Yates's shuffle from the end.
MASK = (1 << 64) - 1


def mix_seed(seed, value):
    z = (seed + 0x9e3779b97f4a7c15 * (value + 1)) & MASK
    z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & MASK
    z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK
    return z ^ (z >> 31)


def random_permutation(size, seed, number):
    order, key = list(range(size)), mix_seed(seed, number)
    for draw, last in enumerate(range(size, 1, -1)):
        other = mix_seed(key, draw) * last >> 64
        order[last - 1], order[other] = order[other], order[last - 1]
    return order


expected["orders"] = [{"size": n, "seed": s, "epoch": e, "order": random_permutation(n, s, e)}
                      for n, s, e in [(0, 0, 0), (1, 5, 2), (10, 0, 0), (10, 0, 1), (25, 123456789012345, 3)]]
(folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
