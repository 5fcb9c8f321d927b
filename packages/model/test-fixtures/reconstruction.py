"""Prints reconstruction.json: the loss of AIM's objective and its gradients, computed by PyTorch's own modules.

python3 -m venv v && v/bin/pip install torch numpy
v/bin/python reconstruction.py > reconstruction.json

Two images of 4 x 4 patches, a vision transformer with biases but for keys, a prefix mask written out position by
position, targets from torch.var_mean, and autograd. The weights are random, and are part of what is printed, in the names
and layouts of Weft: kernels are [inputs, outputs].
"""

import json

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(16)
torch.set_default_dtype(torch.float64)
SIDE, PATCH, WIDTH, HEADS, DEPTH, HIDDEN = 8, 2, 8, 2, 2, 16
HEAD_WIDTH, HEAD_DEPTH, EPSILON = 6, 2, 1e-5
CELLS = (SIDE // PATCH) ** 2
PIXELS = PATCH * PATCH * 3
PREFIXES = [3, 11]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.query, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm2 = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x, mask):
        y = self.norm(x)
        heads = lambda z: z.unflatten(2, (HEADS, -1)).transpose(1, 2)
        read = F.scaled_dot_product_attention(heads(self.query(y)), heads(self.key(y)), heads(self.value(y)), attn_mask=mask)
        x = x + self.output(read.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(HEAD_WIDTH, eps=EPSILON)
        self.up, self.down = nn.Linear(HEAD_WIDTH, 4 * HEAD_WIDTH), nn.Linear(4 * HEAD_WIDTH, HEAD_WIDTH)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.positions = nn.Parameter(torch.empty(CELLS, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.input = nn.Linear(WIDTH, HEAD_WIDTH)
        self.head = nn.ModuleList(Perceptron() for _ in range(HEAD_DEPTH))
        self.head_norm = nn.LayerNorm(HEAD_WIDTH, eps=EPSILON)
        self.output = nn.Linear(HEAD_WIDTH, PIXELS)

    def forward(self, images, mask):
        x = self.embed(images.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x, mask)
        y = self.input(self.norm(x))
        for perceptron in self.head:
            y = perceptron(y)
        return self.output(self.head_norm(y))


def prefix_mask(prefix):
    """Row i may read column j."""
    return torch.tensor([[j <= i or j < prefix for j in range(CELLS)] for i in range(CELLS)])


def weft_names(model):
    """(name, module's parameter, how its values lie in Weft's array)"""
    same, kernel = (lambda w: w), (lambda w: w.T)
    linear = lambda path, m: [(f"{path}/kernel", m.weight, kernel)] + ([(f"{path}/bias", m.bias, same)] if m.bias is not None else [])
    norm = lambda path, m: [(f"{path}/gain", m.weight, same), (f"{path}/bias", m.bias, same)]
    names = [
        ("vision/patch/kernel", model.embed.weight, lambda w: w.permute(2, 3, 1, 0).reshape(PIXELS, WIDTH)),
        ("vision/patch/bias", model.embed.bias, same),
        ("vision/positions", model.positions, same),
    ]
    for i, block in enumerate(model.blocks):
        path = f"vision/layers/{i}"
        names += norm(f"{path}/attentionNorm", block.norm) + norm(f"{path}/feedForwardNorm", block.norm2)
        names += [(f"{path}/attention/key", block.key.weight, kernel)]
        for part in ("query", "value", "output"):
            names += linear(f"{path}/attention/{part}", getattr(block, part))
        names += linear(f"{path}/feedForward/up", block.up) + linear(f"{path}/feedForward/down", block.down)
    names += norm("vision/norm", model.norm) + linear("head/input", model.input)
    for i, perceptron in enumerate(model.head):
        path = f"head/layers/{i}"
        names += norm(f"{path}/norm", perceptron.norm)
        names += linear(f"{path}/feedForward/up", perceptron.up) + linear(f"{path}/feedForward/down", perceptron.down)
    return names + norm("head/norm", model.head_norm) + linear("head/output", model.output)


def main():
    model = Model()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
        # What is printed is single precision, so that both begin with the same numbers.
        parameter.data = parameter.data.float().double()
    images = torch.randn(len(PREFIXES), SIDE, SIDE, 3).float().double()
    mask = torch.stack([prefix_mask(prefix) for prefix in PREFIXES]).unsqueeze(1)
    predicted = model(images, mask)

    grid = SIDE // PATCH
    cut = images.reshape(-1, grid, PATCH, grid, PATCH, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, CELLS, PIXELS)
    variance, mean = torch.var_mean(cut, dim=2, keepdim=True, unbiased=False)
    targets = (cut - mean) / torch.sqrt(variance + 1e-6)
    loss, count = 0, 0
    for n, prefix in enumerate(PREFIXES):
        for patch in range(prefix, CELLS):
            loss = loss + F.mse_loss(predicted[n, patch - 1], targets[n, patch])
            count += 1
    loss.backward()

    rounded = lambda tensor: [float(f"{x:.9g}") for x in tensor.detach().flatten().tolist()]
    names = weft_names(model)
    print(json.dumps({
        "vision": {"imageSize": SIDE, "patchSize": PATCH, "width": WIDTH, "depth": DEPTH, "heads": HEADS, "feedForwardWidth": HIDDEN},
        "head": {"headWidth": HEAD_WIDTH, "headDepth": HEAD_DEPTH},
        "prefixes": PREFIXES,
        "images": rounded(images),
        "weights": {name: rounded(layout(weight)) for name, weight, layout in names},
        "lossSum": loss.item(),
        "predicted": count,
        "gradients": {name: rounded(layout(weight.grad)) for name, weight, layout in names},
    }, separators=(",", ":")))


main()
