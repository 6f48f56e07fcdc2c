#!/usr/bin/env python3
"""Plants outlier channels into a ViT of Hugging Face's layout, for measurements of int8:

  plant_outliers.py MODEL OUT [--kinds norm value residual hidden] [--factor 100] [--channels 6]

  norm      channels of ln_1 and ln_2 grow by the factor, and the weights that read them shrink by it
  value     the same for the values of attention and the columns of out_proj that read them
  residual  channels of the first tokens grow: the image tower's first LayerNorm, the text tower's embeddings
  hidden    channels of the hidden layer, before the activation, and the columns of fc2 that read them

The first two leave the model's function as it is; the others change it, as a training could have."""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("out", type=pathlib.Path)
kinds = ["norm", "value", "residual", "hidden"]
parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds)
parser.add_argument("--factor", type=float, default=100)
parser.add_argument("--channels", type=int, default=6)
arguments = parser.parse_args()

weights = {name: tensor.float() for name, tensor in load_file(arguments.model / "model.safetensors").items()}
random = torch.Generator().manual_seed(1)


def factors(width):
    """1 for most channels; for the outliers from the factor's square root up to the factor."""
    result = torch.ones(width)
    chosen = torch.randperm(width, generator=random)[: arguments.channels]
    result[chosen] = arguments.factor ** torch.linspace(0.5, 1, len(chosen))
    return result


def grow(name, scale):
    """Multiplies a layer's outputs, or a LayerNorm's."""
    weight = weights[name + ".weight"]
    weights[name + ".weight"] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    weights[name + ".bias"] *= scale


def shrink(name, scale):
    weights[name + ".weight"] /= scale


for tower in ("text_model", "vision_model"):
    width = len(weights[f"{tower}.encoder.layers.0.layer_norm1.weight"])
    layers = 1 + max(int(name.split(".")[3]) for name in weights if name.startswith(f"{tower}.encoder.layers."))
    if "residual" in arguments.kinds:
        scale = factors(width)
        if tower == "vision_model":
            grow("vision_model.pre_layrnorm", scale)
        else:
            for name in ("token_embedding", "position_embedding"):
                weights[f"text_model.embeddings.{name}.weight"] *= scale
    for layer in range(layers):
        block = f"{tower}.encoder.layers.{layer}."
        if "norm" in arguments.kinds:
            for norm, readers in [("layer_norm1", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
                                  ("layer_norm2", ["mlp.fc1"])]:
                scale = factors(width)
                grow(block + norm, scale)
                for reader in readers:
                    shrink(block + reader, scale)
        if "value" in arguments.kinds:
            scale = factors(width)
            grow(block + "self_attn.v_proj", scale)
            shrink(block + "self_attn.out_proj", scale)
        if "hidden" in arguments.kinds:
            scale = factors(len(weights[block + "mlp.fc1.bias"]))
            grow(block + "mlp.fc1", scale)
            shrink(block + "mlp.fc2", scale)

arguments.out.mkdir(parents=True, exist_ok=True)
for file in arguments.model.iterdir():
    if file.suffix != ".safetensors":
        shutil.copyfile(file, arguments.out / file.name)
save_file({name: tensor.contiguous() for name, tensor in weights.items()}, arguments.out / "model.safetensors",
          {"format": "pt"})
print(json.dumps({"out": str(arguments.out), "kinds": arguments.kinds, "factor": arguments.factor}))
