#!/usr/bin/env python3
"""Parts of training by PyTorch's own functions, in fp64: writes golden/train/parts.json with position embeddings resized as
open_clip's resize_pos_embed does, and the distillation of MobileCLIP (arXiv 2311.17049) with its gradients."""
import json
import pathlib

import torch
from torch.nn import functional as F

FOLDER = pathlib.Path(__file__).parent / "golden" / "train"
torch.manual_seed(11)
torch.set_default_dtype(torch.float64)


def flat(tensor):
    return {"shape": list(tensor.shape), "values": [round(v, 9) for v in tensor.detach().flatten().tolist()]}


def resized(positions, side):
    old = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], grid.permute(0, 2, 3, 1).reshape(side * side, -1)])


def distillation(images, texts, log_scale, teacher_images, teacher_texts, teacher_scale):
    """texts: one for each image, or so many, one image after the other; equal ones repeated."""
    student = log_scale.exp() * images @ texts.t()
    teacher = teacher_scale * teacher_images @ teacher_texts.t()
    divergence = [F.kl_div(s.log_softmax(1), t.log_softmax(1), reduction="batchmean", log_target=True)
                  for s, t in [(student, teacher), (student.t(), teacher.t())]]
    return sum(divergence) / 2


positions = torch.randn(1 + 3 * 3, 2).round(decimals=3)
CAPTIONS = [[[0], [1], [2], [1], [3], [1], [2]],  # seven images, four texts
            [[0, 1], [1, 2], [2, 3], [1, 1], [3, 0], [1, 3], [2, 0]]]
unit = lambda *shape: F.normalize(torch.randn(*shape), dim=1).round(decimals=9)
images, texts, teacher_images, teacher_texts = unit(7, 5), unit(4, 5), unit(7, 3), unit(4, 3)
log_scale = torch.tensor(1.3)
learnt = images, texts, log_scale
for tensor in learnt:
    tensor.requires_grad_(True)


def case(caption):
    rows = torch.tensor(caption).flatten()
    loss = distillation(images, texts[rows], log_scale, teacher_images, teacher_texts[rows], 14.0)
    d_images, d_texts, d_log_scale = torch.autograd.grad(loss, learnt)
    print(loss.item())
    return {"caption": caption, "loss": loss.item(), "d_images": flat(d_images), "d_texts": flat(d_texts),
            "d_log_scale": d_log_scale.item()}


(FOLDER / "parts.json").write_text(json.dumps({
    "torch": torch.__version__,
    "positions": flat(positions), "enlarged": flat(resized(positions, 5)), "reduced": flat(resized(positions, 2)),
    "distillation": {
        "images": flat(images), "texts": flat(texts), "log_scale": 1.3,
        "teacher_images": flat(teacher_images), "teacher_texts": flat(teacher_texts), "teacher_scale": 14.0,
        "cases": [case(caption) for caption in CAPTIONS],
    }}) + "\n")
