#!/usr/bin/env python3
"""Golden values of src/metrics, computed with NumPy: writes golden/metrics/."""
import json
import pathlib

import numpy as np

folder = pathlib.Path(__file__).parent / "golden" / "metrics"
folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(1)
LABELS, TEMPLATES, DIM, IMAGES = 7, 3, 37, 40


def normalised(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


prompts = random.normal(size=(LABELS, TEMPLATES, DIM)).astype(np.float32)
images = (random.normal(size=(IMAGES, DIM)) + 0.3 * prompts[:, 0][np.arange(IMAGES) % LABELS]).astype(np.float32)
head = normalised(normalised(prompts.astype(np.float64)).mean(axis=1))
cosines = normalised(images.astype(np.float64)) @ head.T
logits = 20 * cosines
scores = np.exp(logits - logits.max(axis=1, keepdims=True))
scores /= scores.sum(axis=1, keepdims=True)

# Rounded, so that there are ties, which go to the lower index: a stable sort of the negated values.
ties = np.round(cosines, 1).astype(np.float32)
order = np.argsort(-ties, axis=1, kind="stable")
labels = np.arange(IMAGES) % LABELS
relevant = [sorted(set(random.integers(0, LABELS, size=2).tolist())) for _ in range(IMAGES)]

for name, array in [("prompts", prompts), ("images", images), ("head", head), ("cosines", cosines), ("scores", scores),
                    ("ties", ties)]:
    np.save(folder / f"{name}.npy", array.astype(np.float32))
(folder / "expected.json").write_text(json.dumps({
    "made_with": {"numpy": np.__version__},
    "labels": labels.tolist(),
    "order": order.tolist(),
    "relevant": relevant,
    "top_k_accuracy": [float(np.mean([labels[i] in order[i, :k] for i in range(IMAGES)])) for k in range(LABELS + 1)],
    "recall_at_k": [float(np.mean([bool(set(relevant[i]) & set(order[i, :k].tolist())) for i in range(IMAGES)]))
                    for k in range(LABELS + 1)],
}, indent=1))
