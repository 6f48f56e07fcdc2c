#!/usr/bin/env python3
"""Archives that torch.save and torch.jit.save write, and their tensors. Writes golden/checkpoint/*.pt and tensors.json."""
import argparse
import collections
import json
import os
import pathlib
import pickle
import zipfile

import torch

folder = pathlib.Path(__file__).parent / "golden" / "checkpoint"
folder.mkdir(parents=True, exist_ok=True)
torch.manual_seed(1)
expected = {}


def described(state):
    return {name: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape),
                   "values": t.detach().double().flatten().tolist()} for name, t in state.items()}


types = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
         torch.uint8, torch.bool]
base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
state = collections.OrderedDict({f"type.{str(t)[6:]}": torch.tensor([[0, 1, 3], [1, 0, 2]]).to(t) for t in types})
state |= {"view.transposed": base.permute(2, 0, 1), "view.slice": base[:, 1:, ::2], "view.shared": base[1],
          "view.row": base[0, 2], "scalar": torch.tensor(2.5), "empty": torch.empty(3, 0),
          "parameter": torch.nn.Parameter(torch.randn(3))}
torch.save(state, folder / "state_dict.pt")
expected["state_dict.pt"] = described(state)

layer = torch.nn.Linear(3, 2)
optimiser = torch.optim.AdamW(layer.parameters())
layer(torch.ones(1, 3)).sum().backward()
optimiser.step()
state = {"module." + name: tensor for name, tensor in layer.state_dict().items()}
torch.save({"epoch": 7, "name": "a run", "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("x")),
            "optimizer": optimiser.state_dict(), "big": 1 << 100, "state_dict": state}, folder / "training.pt")
expected["training.pt"] = described(layer.state_dict())

# As in PyTorch's tutorial on general checkpoints, and in CLIP's issue 83.
torch.save({"epoch": 7, "model_state_dict": layer.state_dict(), "optimizer_state_dict": optimiser.state_dict(),
            "loss": torch.tensor(0.25)}, folder / "general.pt")
expected["general.pt"] = described(layer.state_dict())


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.register_buffer("count", torch.tensor([1, 2, 3]))
        self.scale = 3

    def forward(self, x: torch.Tensor):
        return self.linear(x) * self.scale + self.count[0]


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Inner(), Inner()])
        self.weight = torch.nn.Parameter(torch.randn(2).half())

    def forward(self, x: torch.Tensor):
        for block in self.blocks:
            x = block(x)
        return x * self.weight


model = Outer().eval()
torch.jit.script(model).save(str(folder / "scripted.pt"))
torch.jit.trace(model, torch.ones(1, 2)).save(str(folder / "traced.pt"))
expected["scripted.pt"] = expected["traced.pt"] = described(model.state_dict())


class Malice:
    """What torch.load would run."""

    def __reduce__(self):
        return os.system, ("touch gondola-was-here",)


def hostile(name, description, others=()):
    """The archive of one tensor, the pickle that describes it replaced, and with other, empty files."""
    torch.save({"w": torch.ones(2)}, folder / name)
    with zipfile.ZipFile(folder / name) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(folder / name, "w") as archive:
        for n, data in entries.items():
            archive.writestr(n, description if n.endswith("data.pkl") else data)
        for n in others:
            archive.writestr(n, b"")


hostile("malice.pt", pickle.dumps({"w": Malice()}, protocol=2))

# 60 modules, each holding the next twice: 2^60 paths.
module = b"cm\nC\n)R"
chain = b"\x80\x02" + module + b"q\x00"
for i in range(60):
    held = b"h" + bytes([i])
    chain += module + b"}(X\x01\0\0\0x" + held + b"X\x01\0\0\0y" + held + b"ub" + b"q" + bytes([i + 1])
hostile("shared_modules.pt", chain + b".", ["shared_modules/constants.pkl"])

square = torch.zeros(16, 16)
torch.save({f"w{i}": square.t() for i in range(100)}, folder / "many_copies.pt")
torch.save({f"w{i}": square for i in range(100)}, folder / "many_views.pt")

torch.save({"huge": torch.empty(77, 99, 0)}, folder / "empty_but_huge.pt")
with zipfile.ZipFile(folder / "empty_but_huge.pt") as archive:
    description = archive.read("empty_but_huge/data.pkl")
for small in (77, 99):  # 2^40 instead, which torch itself would refuse to write
    assert description.count(b"K" + bytes([small])) >= 1
    description = description.replace(b"K" + bytes([small]), b"\x8a\x06" + (2**40).to_bytes(6, "little"))
hostile("empty_but_huge.pt", description)

torch.save({"w" * 2000: torch.ones(2)}, folder / "long_name.pt")
(folder / "tensors.json").write_text(json.dumps({"torch": torch.__version__, "files": expected}) + "\n")
