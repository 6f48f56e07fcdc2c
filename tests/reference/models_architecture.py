"""CLIP in PyTorch, as small as it can be said: the oracle of the checkpoint and engine tests.

Written from the architecture that arXiv 2103.00020 section 2.4 and openai/CLIP describe, with the attribute names of
openai/CLIP's clip/model.py, so that state_dict() has the names of OpenAI's and open_clip's checkpoints.
"""
import dataclasses
import math

import torch
from torch import nn


@dataclasses.dataclass
class Options:
    """What the checkpoints of the families can vary."""
    embed_dim: int = 24
    image_size: int = 32
    vision_layers: int | tuple = 2  # a tuple of four: ModifiedResNet
    vision_width: int = 32
    vision_heads: int = 2
    patch_size: int = 8
    vision_mlp_ratio: float = 4.0
    pre_norm: bool = True
    image_pooling: str = "tok"
    final_ln_after_pool: bool = False
    context_length: int = 12
    vocab_size: int = 96
    text_width: int = 32
    text_heads: int = 2
    text_layers: int = 2
    text_mlp_ratio: float = 4.0
    causal: bool = True
    text_pooling: str = "argmax"
    eos_id: int = 95
    projection_bias: bool = False
    quick_gelu: bool = False
    tanh_gelu: bool = False
    norm_eps: float = 1e-5
    logit_bias: float | None = None


class LayerNorm(nn.LayerNorm):
    """Computed in fp32 and cast back, as OpenAI's, whose own weights stay fp32."""

    def forward(self, x):
        return super().forward(x.type(torch.float32)).type(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


def activation(options):
    if options.quick_gelu:
        return QuickGELU()
    return nn.GELU(approximate="tanh" if options.tanh_gelu else "none")


class Block(nn.Module):
    def __init__(self, width, heads, mlp_ratio, options):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = LayerNorm(width, eps=options.norm_eps)
        mlp_width = int(width * mlp_ratio)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, mlp_width))
        self.mlp.add_module("gelu", activation(options))
        self.mlp.add_module("c_proj", nn.Linear(mlp_width, width))
        self.ln_2 = LayerNorm(width, eps=options.norm_eps)

    def forward(self, x, mask: torch.Tensor | None):
        y = self.ln_1(x)
        mask = mask.to(x.dtype) if mask is not None else None
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, mlp_ratio, options):
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, heads, mlp_ratio, options) for _ in range(layers)])

    def forward(self, x, mask: torch.Tensor | None = None):
        x = x.permute(1, 0, 2)  # nn.MultiheadAttention wants (tokens, batch, width)
        for block in self.resblocks:
            x = block(x, mask)
        return x.permute(1, 0, 2)


class VisionTransformer(nn.Module):
    def __init__(self, options):
        super().__init__()
        width = options.vision_width
        self.pooling, self.final_ln_after_pool = options.image_pooling, options.final_ln_after_pool
        self.conv1 = nn.Conv2d(3, width, options.patch_size, stride=options.patch_size, bias=False)
        self.class_embedding = nn.Parameter(width ** -0.5 * torch.randn(width))
        tokens = (options.image_size // options.patch_size) ** 2 + 1
        self.positional_embedding = nn.Parameter(width ** -0.5 * torch.randn(tokens, width))
        self.ln_pre = LayerNorm(width, eps=options.norm_eps) if options.pre_norm else nn.Identity()
        self.transformer = Transformer(width, options.vision_layers, options.vision_heads, options.vision_mlp_ratio,
                                       options)
        self.ln_post = LayerNorm(width, eps=options.norm_eps)
        self.proj = nn.Parameter(width ** -0.5 * torch.randn(width, options.embed_dim))

    def pool(self, x):
        return x[:, 1:].mean(dim=1) if self.pooling == "avg" else x[:, 0]

    def forward(self, x):
        x = self.conv1(x).flatten(2).permute(0, 2, 1)
        class_token = self.class_embedding.to(x.dtype) + torch.zeros_like(x[:, :1])
        x = torch.cat([class_token, x], dim=1) + self.positional_embedding.to(x.dtype)
        x = self.transformer(self.ln_pre(x))
        x = self.ln_post(self.pool(x)) if self.final_ln_after_pool else self.pool(self.ln_post(x))
        return x @ self.proj


class Bottleneck(nn.Module):
    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if stride > 1 or channels != 4 * planes:
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride))
            self.downsample.add_module("0", nn.Conv2d(channels, 4 * planes, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(self.avgpool(y)))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class AttentionPool(nn.Module):
    """The query is the mean of the grid's positions, which also is the first key."""

    def __init__(self, side, width, heads, embed_dim):
        super().__init__()
        self.positional_embedding = nn.Parameter(width ** -0.5 * torch.randn(side * side + 1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)
        self.num_heads = heads

    def forward(self, x):
        x = x.flatten(2).permute(0, 2, 1)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding.to(x.dtype)
        head_width = x.shape[-1] // self.num_heads

        def split(t):
            return t.unflatten(-1, (self.num_heads, head_width)).transpose(1, 2)

        q, k, v = split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x))
        weights = (q @ k.transpose(-1, -2) / math.sqrt(head_width)).softmax(dim=-1)
        return self.c_proj((weights @ v).transpose(1, 2).flatten(2))[:, 0]


class ModifiedResNet(nn.Module):
    def __init__(self, options):
        super().__init__()
        width = options.vision_width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        channels = width
        for stage, blocks in enumerate(options.vision_layers):
            planes = width << stage
            layer = nn.Sequential()
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                layer.add_module(str(index), Bottleneck(channels, planes, stride))
                channels = 4 * planes
            setattr(self, f"layer{stage + 1}", layer)
        self.attnpool = AttentionPool(options.image_size // 32, channels, options.vision_heads, options.embed_dim)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.avgpool(self.bn3(self.conv3(x)).relu())
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class Clip(nn.Module):
    def __init__(self, options):
        super().__init__()
        self.options = options
        resnet = isinstance(options.vision_layers, tuple)
        self.visual = ModifiedResNet(options) if resnet else VisionTransformer(options)
        self.transformer = Transformer(options.text_width, options.text_layers, options.text_heads,
                                       options.text_mlp_ratio, options)
        self.token_embedding = nn.Embedding(options.vocab_size, options.text_width)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(options.context_length, options.text_width))
        self.ln_final = LayerNorm(options.text_width, eps=options.norm_eps)
        scale = options.text_width ** -0.5
        self.text_projection = nn.Parameter(scale * torch.randn(options.text_width, options.embed_dim))
        self.text_projection_bias = nn.Parameter(torch.randn(options.embed_dim)) if options.projection_bias else None
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.logit_bias = nn.Parameter(torch.tensor(options.logit_bias)) if options.logit_bias is not None else None

    def pooled_positions(self, ids):
        if self.options.text_pooling == "argmax":
            return ids.argmax(dim=-1)
        if self.options.text_pooling == "eos":
            return (ids == self.options.eos_id).int().argmax(dim=-1)
        return torch.full_like(ids[:, 0], ids.shape[1] - 1)  # "last"

    def encode_image(self, image):
        return self.visual(image.type(self.visual.conv1.weight.dtype))

    def encode_text(self, ids):
        dtype = self.visual.conv1.weight.dtype
        length = ids.shape[1]
        x = self.token_embedding(ids).type(dtype) + self.positional_embedding[:length].type(dtype)
        mask = torch.full((length, length), -math.inf).triu(1) if self.options.causal else None
        x = self.ln_final(self.transformer(x, mask)).type(dtype)
        pooled = x[torch.arange(x.shape[0]), self.pooled_positions(ids)] @ self.text_projection
        return pooled if self.text_projection_bias is None else pooled + self.text_projection_bias

    def forward(self, image, ids):
        image = nn.functional.normalize(self.encode_image(image), dim=-1)
        text = nn.functional.normalize(self.encode_text(ids), dim=-1)
        logits = self.logit_scale.exp() * image @ text.t()
        return logits, logits.t()


@torch.no_grad()
def randomise(model):
    """Moves what is 0 or 1 at first (norms, biases, running statistics) away from there, so that leaving any of them
    out shows."""
    for module in model.modules():
        if isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            module.weight.add_(0.2 * torch.randn_like(module.weight))
            module.bias.normal_(0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.MultiheadAttention):
            module.in_proj_bias.normal_(0, 0.2)
            module.out_proj.bias.normal_(0, 0.2)


def half_as_openai(model):
    """OpenAI's convert_weights: convolutions, linear layers, attention and projections in fp16, the rest in fp32."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.half()
        if isinstance(module, nn.MultiheadAttention):
            for name in ("in_proj_weight", "in_proj_bias"):
                getattr(module, name).data = getattr(module, name).data.half()
    for owner, name in ((model, "text_projection"), (model.visual, "proj")):
        if isinstance(getattr(owner, name, None), nn.Parameter):
            getattr(owner, name).data = getattr(owner, name).data.half()
    return model
