#!/usr/bin/env python3
"""Three training steps in PyTorch, on a batch that is the whole data set, so that its order does not matter. Writes
golden/train/: images and captions (equal ones among them), the weights at the start, the losses
and the weights after the last step, of a ViT and a ModifiedResNet."""
import csv
import json
import math
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import text  # noqa: E402  (OpenAI's tokenizer)
from models_architecture import Clip, Options  # noqa: E402

GOLDEN = pathlib.Path(__file__).parent / "golden"
FOLDER = GOLDEN / "train"
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
CAPTIONS = ["a photo of a cat", "a dog", "the cat", "a dog", "a photo of the dog", "a cat, a dog", "a dog", "the photo"]
# So large an epsilon keeps a step from depending on the sign of a gradient that is zero but for rounding.
STEPS, RATE, WARMUP, DECAY, BETAS, EPSILON = 3, 1e-2, 2, 0.2, (0.9, 0.98), 1e-2
CONTEXT = 16


def make_images(size):
    random = np.random.default_rng(size)
    return [Image.fromarray(np.clip(random.normal(random.uniform(60, 200, 3), 40, (size, size, 3)), 0, 255).astype(np.uint8))
            for _ in CAPTIONS]


def tokens():
    merges = (GOLDEN / "cli" / "model" / "merges.txt").read_text().split("\n")[1:-1]
    tokenizer = text.Tokenizer(merges)
    start, end = len(tokenizer.ids) - 2, len(tokenizer.ids) - 1
    ids = torch.zeros(len(CAPTIONS), CONTEXT, dtype=torch.long)
    for row, caption in enumerate(CAPTIONS):
        encoded = [start, *tokenizer.encode(caption), end]
        ids[row, : len(encoded)] = torch.tensor(encoded)
    return ids, len(tokenizer.ids)


def contrastive_loss(model, pixels, ids, soft_targets):
    """Cross-entropy over all pairs in both directions; with soft targets pairs of equal captions share the target."""
    image = torch.nn.functional.normalize(model.encode_image(pixels), dim=-1)
    text = torch.nn.functional.normalize(model.encode_text(ids), dim=-1)
    logits = model.logit_scale.exp() * image @ text.t()
    target = torch.eye(len(ids))
    if soft_targets:
        target = (ids[:, None] == ids[None]).all(-1).float()
        target = target / target.sum(1, keepdim=True)
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.t(), target)) / 2


def write(name, options, soft_targets):
    folder = FOLDER / name
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images = make_images(options["image_size"])
    with open(folder / "pairs.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        for i, (image, caption) in enumerate(zip(images, CAPTIONS)):
            image.save(folder / "images" / f"{i}.png")
            table.writerow([f"{i}.png", caption])
    pixels = torch.stack([(torch.from_numpy(np.asarray(i).copy()).permute(2, 0, 1).float() / 255 - MEAN) / STD for i in images])
    ids, vocab_size = tokens()
    torch.manual_seed(5)
    model = Clip(Options(embed_dim=32, context_length=CONTEXT, vocab_size=vocab_size, eos_id=vocab_size - 1, text_width=32,
                         text_heads=2, text_layers=2, **options)).train()
    decays = [p for n, p in model.named_parameters() if p.ndim >= 2 and not n.endswith("positional_embedding")]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or n.endswith("positional_embedding")]
    optimiser = torch.optim.AdamW([{"params": decays, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}],
                                  lr=RATE, betas=BETAS, eps=EPSILON)
    save_file({n: t for n, t in model.state_dict().items() if t.is_floating_point()}, folder / "start.safetensors")
    losses = []
    for step in range(STEPS):
        progress = (step - WARMUP) / (STEPS - WARMUP)
        rate = RATE * (step + 1) / WARMUP if step < WARMUP else RATE / 2 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = contrastive_loss(model, pixels, ids, soft_targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
    save_file({n: t for n, t in model.state_dict().items() if t.is_floating_point()}, folder / "end.safetensors")
    (folder / "losses.json").write_text(json.dumps({"torch": torch.__version__, "losses": losses}) + "\n")
    print(name, losses)


torch.backends.mha.set_fastpath_enabled(False)
write("vit", dict(image_size=32, patch_size=8, vision_width=32, vision_heads=2, vision_layers=2), soft_targets=False)
write("resnet", dict(image_size=64, vision_width=4, vision_heads=2, vision_layers=(1, 1, 1, 1)), soft_targets=True)
