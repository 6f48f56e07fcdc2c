#!/usr/bin/env python3
"""Golden .npy files of src/base, written by NumPy: golden/base/."""
import json
import pathlib

import numpy as np

folder = pathlib.Path(__file__).parent / "golden" / "base"
folder.mkdir(parents=True, exist_ok=True)
# Exact in fp32; half of them between two fp16 values, some at the ends of its range.
values = np.concatenate([np.arange(-20, 20) / 3, [0, -0.0, 65504, 65519, 65520, 1e-8, 6e-8, 1e30, 1 / 2048 + 1, 3 / 2048 + 1]])
values = values.astype(np.float32).reshape(10, 5)
with np.errstate(over="ignore"):
    np.save(folder / "rows_fp16.npy", values.astype(np.float16))
np.save(folder / "rows_fp32.npy", values)
np.save(folder / "cube_fp32.npy", values.reshape(2, 5, 5))
np.save(folder / "empty_fp16.npy", np.zeros((0, 5), np.float16))
np.save(folder / "column_fp32.npy", values.reshape(-1))
(folder / "made_with.json").write_text(json.dumps({"numpy": np.__version__}) + "\n")
