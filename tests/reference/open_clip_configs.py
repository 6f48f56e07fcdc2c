#!/usr/bin/env python3
"""Which of open_clip's model configurations are a ViT or ModifiedResNet with CLIP's text transformer, by a list of the
fields that make another tower. Writes golden/checkpoint/open_clip_configs.json.

    python tests/reference/open_clip_configs.py DATA/open_clip-model-configs
"""
import json
import pathlib
import sys

OTHER = {"": ["audio_cfg", "audio_naflex_cfg", "multimodal_cfg", "genlip_cfg", "genlap_cfg"],
         "vision_cfg": ["timm_model_name", "attentional_pool", "output_tokens", "ls_init_value"],
         "text_cfg": ["hf_model_name", "text_arch", "embed_cls", "output_tokens", "variable_text"]}


def other_field(config):
    for section, fields in OTHER.items():
        table = config.get(section, {}) if section else config
        for field in fields:
            if table.get(field):
                return field
    if config["text_cfg"].get("proj_type", "linear") != "linear":
        return "proj_type"
    if config["text_cfg"].get("pool_type") == "map":
        return "pool_type"
    return None


configs = {path.stem: json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))}
result = {name: other_field(config) for name, config in configs.items()}
folder = pathlib.Path(__file__).parent / "golden" / "checkpoint"
folder.mkdir(parents=True, exist_ok=True)
(folder / "open_clip_configs.json").write_text(json.dumps(result, indent=0) + "\n")
print(len(result), "configurations,", sum(field is None for field in result.values()), "to be built")
