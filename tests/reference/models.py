#!/usr/bin/env python3
"""Small random CLIP models in every layout, with the embeddings that PyTorch computes from them.

Writes golden/models/:

  model                  layout                                           what is particular about it
  vit_openai.pt          OpenAI's TorchScript archive (traced), fp16      QuickGELU, heads = width / 64
  resnet_openai.pt       the same                                         ModifiedResNet
  vit_scripted.pt        the same, by torch.jit.script                    no code but the weights
  vit_open_clip/         open_clip folder, safetensors fp32               GELU
  vit_state_dict.pt      torch.save of a training checkpoint              "state_dict", names prefixed with "module."
  vit_state_dict.json    its model configuration, for --config
  vit_average/           open_clip folder, safetensors fp16               as CLIPA: average pooling, no ln_pre, ln_post
                                                                          after it; text not causal, pooled at the last
  vit_custom_text/       open_clip folder, torch.save .bin, bf16          "text." prefix, projection bias, end token
                                                                          pooling, GELU by tanh, epsilon 1e-6, logit bias
  resnet_open_clip/      open_clip folder, safetensors fp16               ModifiedResNet with QuickGELU
  vit_hf/                transformers' CLIPModel.save_pretrained, fp32    QuickGELU, end token pooling
  vit_hf_legacy/         the same, pytorch_model.bin, old short config    GELU, eos_token_id 2: pooled at the largest id
  vit_hf_int8/           the same as vit_hf, int8 of compressed-tensors   one layer in bf16

and of each NAME (without its extension)

  NAME_ids.npy                 int32, batch × context_length
  NAME_text_embeddings.npy     fp32, batch × embed_dim, not normalised
  NAME_image_embeddings.npy    fp32, batch × embed_dim, not normalised, of
  pixels_SIZE.npy              fp32, batch × 3 × SIZE × SIZE (32 for the ViTs, 64 for the ResNets)

Embeddings are computed in fp32 from the weights as they are stored. `--full DIR` writes ViT-B-32, ViT-L-14 and RN50 of
full size instead (`openai.pt`, `open_clip/`, and for the ViTs `hf/`, in a folder each), with the same files beside them.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

from models_architecture import Clip, Options, half_as_openai, randomise

GOLDEN = pathlib.Path(__file__).parent / "golden" / "models"
BATCH = 2
OPENAI_MEAN, OPENAI_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
torch.backends.mha.set_fastpath_enabled(False)  # one way of computing, in eval mode too


def build(seed, **options):
    torch.manual_seed(seed)
    model = Clip(Options(**options)).eval()
    randomise(model)
    return model


def pixels(size):
    return torch.from_numpy(np.random.default_rng(size).normal(size=(BATCH, 3, size, size)).astype(np.float32))


def token_ids(vocab_size, context_length, end_id, start_id):
    """Start, words, end, padding 0: one text short, one that fills the context. Words may have larger ids than the end
    token where it is not the largest."""
    random = np.random.default_rng(vocab_size)
    ids = np.zeros((BATCH, context_length), dtype=np.int32)
    for row, length in enumerate([3, context_length - 2]):
        words = random.integers(5, vocab_size - 2, size=length)
        ids[row, : length + 2] = [start_id, *words, end_id]
    return torch.from_numpy(ids)


def save_golden(folder, name, size, ids, image, text):
    np.save(folder / f"pixels_{size}.npy", pixels(size).numpy())
    np.save(folder / f"{name}_ids.npy", ids.numpy().astype(np.int32))
    np.save(folder / f"{name}_image_embeddings.npy", image.float().numpy())
    np.save(folder / f"{name}_text_embeddings.npy", text.float().numpy())


@torch.no_grad()
def save_embeddings(folder, name, model):
    options = model.float().options
    ids = token_ids(options.vocab_size, options.context_length, options.eos_id, options.vocab_size - 2)
    save_golden(folder, name, options.image_size, ids, model.encode_image(pixels(options.image_size)),
                model.encode_text(ids.long()))


def archived_numbers(options):
    return {"input_resolution": torch.tensor(options.image_size), "context_length": torch.tensor(options.context_length),
            "vocab_size": torch.tensor(options.vocab_size)}


class Archived(torch.nn.Module):
    """The attributes of OpenAI's archives: the model's, and three numbers that are buffers."""

    def __init__(self, model):
        super().__init__()
        for name, child in model.named_children():
            setattr(self, name, child)
        for name, parameter in model.named_parameters(recurse=False):
            setattr(self, name, parameter)
        for name, number in archived_numbers(model.options).items():
            self.register_buffer(name, number)
        self.options = model.options
        self.text_projection_bias = None

    pooled_positions, encode_image = Clip.pooled_positions, Clip.encode_image
    encode_text, forward = Clip.encode_text, Clip.forward


@torch.no_grad()
def save_openai(folder, name, model):
    half_as_openai(model)
    options = model.options
    image = pixels(options.image_size)[:1]
    ids = token_ids(options.vocab_size, options.context_length, options.eos_id, options.vocab_size - 2)[:1].long()
    traced = torch.jit.trace_module(Archived(model).eval(), {"forward": (image, ids), "encode_image": image,
                                                             "encode_text": ids}, check_trace=False)
    traced.save(str(folder / f"{name}.pt"))
    save_embeddings(folder, name, model)


class Names(torch.nn.Module):
    """A tree of modules that holds the tensors of a state dict under its names."""

    def __init__(self, state, prefix=""):
        super().__init__()
        groups = {}
        for name, tensor in state.items():
            head, dot, tail = name.partition(".")
            if dot:
                groups.setdefault(head, {})[tail] = tensor
            else:
                self.register_buffer(head, tensor)
        for head, group in groups.items():
            self.add_module(head, Names(group))

    def forward(self, x: torch.Tensor):
        return x


def save_scripted(folder, name, model):
    torch.jit.script(Names(model.state_dict() | archived_numbers(model.options))).save(str(folder / f"{name}.pt"))
    save_embeddings(folder, name, model)


def open_clip_config(options):
    resnet = isinstance(options.vision_layers, tuple)
    head_width = options.vision_width * (32 if resnet else 1) // options.vision_heads
    vision = {"image_size": options.image_size, "width": options.vision_width,
              "layers": list(options.vision_layers) if resnet else options.vision_layers,
              "patch_size": None if resnet else options.patch_size, "head_width": head_width}
    text = {"context_length": options.context_length, "vocab_size": options.vocab_size, "width": options.text_width,
            "heads": options.text_heads, "layers": options.text_layers}
    config = {"embed_dim": options.embed_dim, "vision_cfg": vision, "text_cfg": text}

    def differs(table, key, value, default):
        if value != default:
            table[key] = value

    if not resnet:
        differs(vision, "mlp_ratio", options.vision_mlp_ratio, 4.0)
        differs(vision, "no_ln_pre", not options.pre_norm, False)
        differs(vision, "pool_type", options.image_pooling, "tok")
        differs(vision, "final_ln_after_pool", options.final_ln_after_pool, False)
    differs(text, "mlp_ratio", options.text_mlp_ratio, 4.0)
    differs(text, "no_causal_mask", not options.causal, False)
    differs(text, "pool_type", options.text_pooling, "argmax")
    differs(text, "proj_bias", options.projection_bias, False)
    if options.text_pooling == "eos":
        text["eos_id"] = options.eos_id
    for table in (vision, text):
        differs(table, "norm_kwargs", {"eps": options.norm_eps}, {"eps": 1e-5})
        if options.tanh_gelu:
            table["act_kwargs"] = {"approximate": "tanh"}
    differs(config, "quick_gelu", options.quick_gelu, False)
    differs(config, "init_logit_bias", options.logit_bias, None)
    return config


def custom_text_names(state):
    """open_clip's CustomTextCLIP: the text tower under "text.", its projection a Linear when it has a bias."""
    result = {}
    for name, tensor in state.items():
        if name == "text_projection_bias":
            result["text.text_projection.bias"] = tensor
        elif name == "text_projection" and "text_projection_bias" in state:
            result["text.text_projection.weight"] = tensor.t().contiguous()
        else:
            own = name.startswith("visual.") or name.startswith("logit_")
            result[name if own else "text." + name] = tensor
    return result


def save_open_clip(folder, name, model, dtype=torch.float32, custom_text=False, preprocess=None):
    (folder / name).mkdir(parents=True, exist_ok=True)
    model.to(dtype)
    config = open_clip_config(model.options)
    state = model.state_dict()
    if custom_text:
        config["custom_text"] = True
        state = custom_text_names(state)
        torch.save(state, folder / name / "open_clip_pytorch_model.bin")
    else:
        save_file(state, folder / name / "open_clip_model.safetensors")
    (folder / name / "open_clip_config.json").write_text(json.dumps(
        {"model_cfg": config, "preprocess_cfg": preprocess or {"mean": OPENAI_MEAN, "std": OPENAI_STD}}, indent=2))
    save_embeddings(folder, name, model)


def save_state_dict(folder, name, model):
    model.half()
    state = {"module." + key: tensor for key, tensor in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "a run", "state_dict": state}, folder / f"{name}.pt")
    (folder / f"{name}.json").write_text(json.dumps(open_clip_config(model.options), indent=2))
    save_embeddings(folder, name, model)


PREPROCESSOR = {"crop_size": {"height": 32, "width": 32}, "do_center_crop": True, "do_convert_rgb": True,
                "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": OPENAI_MEAN,
                "image_std": OPENAI_STD, "image_processor_type": "CLIPImageProcessor", "resample": 3,
                "rescale_factor": 1 / 255, "size": {"shortest_edge": 32}}


def hf_model(seed, options, hidden_act, eos_token_id):
    torch.manual_seed(seed)
    text = transformers.CLIPTextConfig(
        vocab_size=options.vocab_size, hidden_size=options.text_width, num_attention_heads=options.text_heads,
        num_hidden_layers=options.text_layers, intermediate_size=int(options.text_mlp_ratio * options.text_width),
        max_position_embeddings=options.context_length, projection_dim=options.embed_dim, hidden_act=hidden_act,
        bos_token_id=options.vocab_size - 2, eos_token_id=eos_token_id, pad_token_id=1)
    vision = transformers.CLIPVisionConfig(
        hidden_size=options.vision_width, num_attention_heads=options.vision_heads,
        num_hidden_layers=options.vision_layers, intermediate_size=int(options.vision_mlp_ratio * options.vision_width),
        image_size=options.image_size, patch_size=options.patch_size, projection_dim=options.embed_dim,
        hidden_act=hidden_act)
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(),
                                     projection_dim=options.embed_dim)
    model = transformers.CLIPModel(config).eval()
    randomise(model)
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.bias"):
            torch.nn.init.normal_(parameter, 0, 0.2)
        elif "embedding" in name:  # initialised with a tiny deviation, as are the projections
            torch.nn.init.normal_(parameter, 0, 0.15)
        elif name.endswith("_proj.weight"):  # not so large in a wide model that attention turns on rounding
            torch.nn.init.normal_(parameter, 0, 0.85 * parameter.shape[-1] ** -0.5)
    return model


@torch.no_grad()
def save_hf_embeddings(folder, name, model, options, end_id):
    ids = token_ids(options.vocab_size, options.context_length, end_id, options.vocab_size - 2)
    image = model.visual_projection(model.vision_model(pixel_values=pixels(options.image_size)).pooler_output)
    text = model.text_projection(model.text_model(input_ids=ids.long()).pooler_output)
    save_golden(folder, name, options.image_size, ids, image, text)


def save_hf(folder, name, seed, options):
    end_id = options.vocab_size - 1
    model = hf_model(seed, options, "quick_gelu", eos_token_id=end_id)
    model.save_pretrained(folder / name)
    preprocessor = dict(PREPROCESSOR, crop_size={"height": options.image_size, "width": options.image_size},
                        size={"shortest_edge": options.image_size})
    (folder / name / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2))
    save_hf_embeddings(folder, name, model, options, end_id)


@torch.no_grad()
def save_hf_int8(folder, name, seed, options):
    """int8 weights with a scale an output channel, as compressed-tensors stores them; one layer in bf16. The embeddings
    are those of the weights as they are stored, in fp32."""
    end_id = options.vocab_size - 1
    model = hf_model(seed, options, "quick_gelu", eos_token_id=end_id)
    kept = "vision_model.encoder.layers.1.mlp.fc2"
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for layer, module in model.named_modules():
        if not isinstance(module, torch.nn.Linear) or ".encoder." not in layer:
            continue
        if layer == kept:
            state[layer + ".weight"] = module.weight.bfloat16()
            module.weight.copy_(module.weight.bfloat16().float())
            continue
        scale = module.weight.abs().amax(dim=1, keepdim=True) / 127
        integers = torch.round(module.weight * (127 / module.weight.abs().amax(dim=1, keepdim=True))).to(torch.int8)
        state[layer + ".weight"], state[layer + ".weight_scale"] = integers, scale
        module.weight.copy_(integers.float() * scale)
    model.save_pretrained(folder / name)  # for its configuration
    save_file(state, folder / name / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / name / "config.json").read_text())
    numbers = {"num_bits": 8, "type": "int"}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
        "config_groups": {"group_0": {
            "targets": ["Linear"], "weights": dict(numbers, strategy="channel", symmetric=True, dynamic=False),
            "input_activations": dict(numbers, strategy="token", symmetric=False, dynamic=True)}},
        "ignore": [kept, "visual_projection", "text_projection"]}
    (folder / name / "config.json").write_text(json.dumps(config, indent=2))
    (folder / name / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))
    save_hf_embeddings(folder, name, model, options, end_id)


def save_hf_legacy(folder, name, seed, options):
    """As the files of 2021: only what differs from the defaults, eos_token_id 2, a buffer of positions, a .bin."""
    model = hf_model(seed, options, "gelu", eos_token_id=2)
    (folder / name).mkdir(parents=True, exist_ok=True)
    state = {key: tensor.half() for key, tensor in model.state_dict().items() if not key.endswith("position_ids")}
    model.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
    state["text_model.embeddings.position_ids"] = torch.arange(options.context_length)[None]
    state["vision_model.embeddings.position_ids"] = torch.arange((options.image_size // options.patch_size) ** 2 + 1)[None]
    state["logit_scale"] = state["logit_scale"][None]
    torch.save(state, folder / name / "pytorch_model.bin")
    text = {"model_type": "clip_text_model", "vocab_size": options.vocab_size, "hidden_size": options.text_width,
            "num_attention_heads": options.text_heads, "num_hidden_layers": options.text_layers, "hidden_act": "gelu",
            "intermediate_size": int(options.text_mlp_ratio * options.text_width),
            "max_position_embeddings": options.context_length, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    vision = {"model_type": "clip_vision_model", "hidden_size": options.vision_width,
              "num_attention_heads": options.vision_heads, "num_hidden_layers": options.vision_layers,
              "intermediate_size": int(options.vision_mlp_ratio * options.vision_width), "hidden_act": "gelu",
              "image_size": options.image_size, "patch_size": options.patch_size}
    (folder / name / "config.json").write_text(json.dumps(
        {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": options.embed_dim,
         "text_config_dict": text, "text_config": text, "vision_config": vision,
         "vision_config_dict": vision, "torch_dtype": "float32", "transformers_version": None}, indent=2))
    (folder / name / "preprocessor_config.json").write_text(json.dumps(
        {"crop_size": options.image_size, "do_center_crop": True, "do_normalize": True, "do_resize": True,
         "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": OPENAI_MEAN, "image_std": OPENAI_STD,
         "resample": 3, "size": options.image_size}, indent=2))
    save_hf_embeddings(folder, name, model, options, end_id=options.vocab_size - 1)


RESNET = dict(image_size=64, vision_layers=(1, 2, 1, 1), vision_width=4, embed_dim=16, vocab_size=64)


def write_small(folder):
    folder.mkdir(parents=True, exist_ok=True)
    save_openai(folder, "vit_openai", build(1, quick_gelu=True, vision_width=128, vision_layers=1, text_width=64,
                                            text_heads=1, text_layers=1))
    save_openai(folder, "resnet_openai", build(2, quick_gelu=True, vision_heads=2, text_width=64, text_heads=1,
                                               text_layers=1, **RESNET, eos_id=63))
    save_scripted(folder, "vit_scripted", build(3, quick_gelu=True, vision_width=64, vision_heads=1, vision_layers=1,
                                                vision_mlp_ratio=1.0, text_width=64, text_heads=1, text_layers=1,
                                                text_mlp_ratio=1.0, embed_dim=16).half())
    save_open_clip(folder, "vit_open_clip", build(4, vision_mlp_ratio=2.0))
    save_state_dict(folder, "vit_state_dict", build(5, text_mlp_ratio=2.0, text_layers=1, vision_width=48,
                                                    vision_heads=3, vision_layers=1))
    save_open_clip(folder, "vit_average", build(6, image_pooling="avg", pre_norm=False, final_ln_after_pool=True,
                                                causal=False, text_pooling="last", quick_gelu=True,
                                                vision_mlp_ratio=2.6667), torch.float16,
                   preprocess={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear",
                               "resize_mode": "squash"})
    save_open_clip(folder, "vit_custom_text", build(7, projection_bias=True, text_pooling="eos", eos_id=2,
                                                    causal=False, tanh_gelu=True, norm_eps=1e-6, logit_bias=-10.0,
                                                    vision_layers=1, image_pooling="avg"), torch.bfloat16, True)
    save_open_clip(folder, "resnet_open_clip", build(8, vision_heads=4, quick_gelu=True, text_width=16,
                                                     text_layers=1, **RESNET, eos_id=63), torch.float16)
    save_hf(folder, "vit_hf", 9, Options(vision_mlp_ratio=2.0, text_mlp_ratio=2.0))
    save_hf_legacy(folder, "vit_hf_legacy", 10, Options(vision_mlp_ratio=2.0, text_mlp_ratio=2.0))
    save_hf_int8(folder, "vit_hf_int8", 9, Options(vision_mlp_ratio=2.0, text_mlp_ratio=2.0))


FULL = {
    "ViT-B-32": dict(vision_layers=12, vision_width=768, vision_heads=12, patch_size=32, embed_dim=512),
    "ViT-L-14": dict(vision_layers=24, vision_width=1024, vision_heads=16, patch_size=14, embed_dim=768,
                     text_width=768, text_heads=12),
    "RN50": dict(vision_layers=(3, 4, 6, 3), vision_width=64, vision_heads=32, embed_dim=1024),
}


def write_full(folder):
    for number, (name, options) in enumerate(FULL.items()):
        options = dict(dict(image_size=224, context_length=77, vocab_size=49408, eos_id=49407, text_width=512,
                            text_heads=8, text_layers=12), **options)
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_open_clip(folder / name, "open_clip", build(100 + number, **options))
        if not name.startswith("RN"):
            save_hf(folder / name, "hf", 200 + number, Options(**options))
        save_openai(folder / name, "openai", build(300 + number, quick_gelu=True, **options))
        print(name, file=sys.stderr)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--full", type=pathlib.Path, metavar="DIR")
arguments = parser.parse_args()
if arguments.full:
    write_full(arguments.full)
else:
    write_small(GOLDEN)
    (GOLDEN / "made_with.json").write_text(json.dumps(
        {"torch": torch.__version__, "transformers": transformers.__version__, "numpy": np.__version__}, indent=1))
