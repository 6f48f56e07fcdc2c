#!/usr/bin/env python3
"""A small random model in Hugging Face layout, images, and what transformers and NumPy make of them: the tests of the
command line, the pipeline and the installed library hold `gondola` against it. Writes golden/cli/."""
import json
import pathlib
import shutil

import numpy as np
import PIL
import torch
import transformers
from PIL import Image

folder = pathlib.Path(__file__).parent / "golden" / "cli"
shutil.rmtree(folder, ignore_errors=True)
model_folder, images_folder = folder / "model", folder / "images"
model_folder.mkdir(parents=True)
(images_folder / "deeper").mkdir(parents=True)

# The vocabulary: CLIP's 256 bytes, the same at the end of a word, a few merges, start and end.
visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
merges = ["t h", "th e</w>", "o f</w>", "c a", "ca t</w>", "d o", "do g</w>", "p h", "ph o", "pho t", "phot o</w>"]
tokens = letters + [letter + "</w>" for letter in letters] + ["".join(m.split()) for m in merges]
tokens += ["<|startoftext|>", "<|endoftext|>"]
(model_folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
(model_folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
start, end = len(tokens) - 2, len(tokens) - 1

torch.manual_seed(3)
WIDTH, DIM, SIZE, CONTEXT = 32, 16, 32, 40
tower = dict(hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=2,
             projection_dim=DIM, hidden_act="quick_gelu")
config = transformers.CLIPConfig(
    text_config=dict(tower, vocab_size=len(tokens), max_position_embeddings=CONTEXT, bos_token_id=start,
                     eos_token_id=end, pad_token_id=end),
    vision_config=dict(tower, image_size=SIZE, patch_size=8), projection_dim=DIM, logit_scale_init_value=3.0)
model = transformers.CLIPModel(config).eval()
with torch.no_grad():  # far from the flat start of training, so that inputs differ
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            parameter.normal_(0, 1.5 * parameter.shape[-1]**-0.5 if "embedding" not in name else 0.7)
model.save_pretrained(model_folder)
(model_folder / "preprocessor_config.json").write_text(json.dumps({
    "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": SIZE}, "resample": 3,
    "do_center_crop": True, "crop_size": {"height": SIZE, "width": SIZE}, "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "do_convert_rgb": True}, indent=1))

# Images: smooth patterns, one folder deeper than the others, and files that are none.
rows, columns = np.mgrid[0:60, 0:47]
patterns = {
    "a.png": np.stack([rows * 4, columns * 5, 255 - rows * 4], axis=-1),
    "b.jpg": np.stack([128 + 120 * np.sin(rows / 5), 128 + 120 * np.cos(columns / 7), rows + columns], axis=-1),
    "deeper/c.png": np.stack([255 * ((rows // 8 + columns // 8) % 2)] * 3, axis=-1),
}
for name, pixels in patterns.items():
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(images_folder / name, **({"quality": 92} if name.endswith("jpg") else {}))
(folder / "damaged.png").write_bytes((images_folder / "a.png").read_bytes()[:100])
(folder / "empty.jpg").write_bytes(b"")

processor = transformers.CLIPImageProcessor.from_pretrained(model_folder)
tokenizer = transformers.CLIPTokenizer.from_pretrained(model_folder)


def image_embedding(name):
    pixels = processor(Image.open(images_folder / name), return_tensors="pt").pixel_values
    with torch.no_grad():
        return model.visual_projection(model.vision_model(pixels).pooler_output)[0].double().numpy()


def text_ids(text):
    ids = tokenizer(text).input_ids
    assert ids[0] == start and ids[-1] == end and len(ids) <= CONTEXT, (text, ids)
    return ids


def text_embedding(text):
    with torch.no_grad():
        pooled = model.text_model(torch.tensor([text_ids(text)])).pooler_output
        return model.text_projection(pooled)[0].double().numpy()


def unit(vector):
    return vector / np.linalg.norm(vector)


def softmax(cosines):
    exponentials = np.exp(float(model.logit_scale.exp()) * (cosines - cosines.max()))
    return exponentials / exponentials.sum()


labels = ["cat", "dog", "the sea", "photo of a dog", "tea"]
template_sets = [["a photo of a {}."], ["a {}", "{} by the sea", "the photo of {}"]]
images = {name: image_embedding(name) for name in patterns}
texts = {text: text_embedding(text) for text in ["the cat", "a dog", "photo"]}
expected = {
    "made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "pillow": PIL.__version__},
    "labels": labels,
    "images": {name: vector.tolist() for name, vector in images.items()},
    "texts": {text: vector.tolist() for text, vector in texts.items()},
    "ids": {text: text_ids(text) for text in texts},
    "classify": [],
    "match": {},
}
for templates in template_sets:
    prompts = [[unit(text_embedding(t.replace("{}", label))) for t in templates] for label in labels]
    head = np.array([unit(np.mean(rows, axis=0)) for rows in prompts])
    scores = {name: softmax(head @ unit(vector)).tolist() for name, vector in images.items()}
    expected["classify"].append({"templates": templates, "scores": scores})
rows = np.array([unit(vector) for vector in texts.values()])
for name, vector in images.items():
    cosines = rows @ unit(vector)
    expected["match"][name] = {"similarity": cosines.tolist(), "score": softmax(cosines).tolist()}
(folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
