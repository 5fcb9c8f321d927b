"""The decoder in PyTorch, as one would write it for speed: projections of one input in one product, fused attention.

Legend: B sequences, T positions, D width, H heads, C width of one head.
"""

import torch
import torch.nn.functional as F
from candidate import SPEC
from torch import nn
from torch.utils.checkpoint import checkpoint

if SPEC.get("mode") == "flex":
    from torch.nn.attention.flex_attention import flex_attention


def matrix(*kernels):
    """[in, out] kernels side by side as one [out, in] parameter, which is how nn.Linear lays them out."""
    return nn.Parameter(torch.cat(kernels, dim=1).t().contiguous())


class Rotary(nn.Module):
    """The angles of rotary position embedding, [B or 1, 1, T, C]."""

    def __init__(self, width, theta):
        super().__init__()
        half = width // 2
        self.register_buffer("frequencies", (theta ** (-torch.arange(half) / half)).repeat(2))

    def forward(self, positions):
        angles = positions[:, None, :, None].float() * self.frequencies
        return angles.cos(), angles.sin()


def through(blocks, x, recompute, *inputs):
    """x through all blocks; with `full` recomputation only the input of each is kept for the backward pass."""
    for block in blocks:
        x = checkpoint(block, x, *inputs, use_reentrant=False) if recompute == "full" else block(x, *inputs)
    return x


def attention(q, k, v, mask):
    """Causal attention; `mask` is None, or says who reads whom: a boolean tensor, or a mask of blocks for flex_attention."""
    if mask is None or isinstance(mask, torch.Tensor):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return flex_attention(q, k, v, block_mask=mask)


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class Block(nn.Module):
    def __init__(self, weights, prefix, config):
        super().__init__()
        at = lambda name: weights[prefix + name]
        self.heads, self.epsilon = config["heads"], config["normEpsilon"]
        assert config["keyValueHeads"] == self.heads
        self.attention_norm = nn.Parameter(at("attentionNorm"))
        self.query_key_value = matrix(at("attention/query"), at("attention/key"), at("attention/value"))
        self.output = matrix(at("attention/output"))
        self.feed_forward_norm = nn.Parameter(at("feedForwardNorm"))
        self.gate_up = matrix(at("feedForward/gate"), at("feedForward/up"))
        self.down = matrix(at("feedForward/down"))
        self.qk_norm = config["qkNorm"]
        if self.qk_norm:
            self.query_norm = nn.Parameter(at("attention/queryNorm"))
            self.key_norm = nn.Parameter(at("attention/keyNorm"))

    def norm(self, x, gain):
        return F.rms_norm(x, gain.shape, gain, self.epsilon)

    def forward(self, x_BTD, cos, sin, mask):
        B, T, D = x_BTD.shape
        projected = F.linear(self.norm(x_BTD, self.attention_norm), self.query_key_value)
        q, k, v = projected.view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = self.norm(q, self.query_norm), self.norm(k, self.key_norm)
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        read = attention(q, k, v, mask)
        x_BTD = x_BTD + F.linear(read.transpose(1, 2).reshape(B, T, D), self.output)
        gate, up = F.linear(self.norm(x_BTD, self.feed_forward_norm), self.gate_up).chunk(2, -1)
        return x_BTD + F.linear(F.silu(gate) * up, self.down)


class Decoder(nn.Module):
    """Blocks and head over embedded rows; `forward` gives the logits [B·T, V]."""

    def __init__(self, weights, prefix, config, recompute):
        super().__init__()
        self.epsilon, self.recompute = config["normEpsilon"], recompute
        self.embedding = nn.Parameter(weights[prefix + "embedding"])
        self.rotary = Rotary(config["width"] // config["heads"], config["ropeTheta"])
        self.blocks = nn.ModuleList(
            Block(weights, f"{prefix}layers/{layer}/", config) for layer in range(config["depth"])
        )
        self.norm = nn.Parameter(weights[prefix + "norm"])
        self.head = matrix(weights[prefix + "head"])

    def forward(self, x_BTD, cos, sin, mask):
        x_BTD = through(self.blocks, x_BTD, self.recompute, cos, sin, mask)
        x_BTD = F.rms_norm(x_BTD, self.norm.shape, self.norm, self.epsilon)
        return F.linear(x_BTD, self.head).flatten(0, 1)


class DecoderOnly(nn.Module):
    """Whole sequences of text: no mask but the causal one, and angles that never change."""

    def __init__(self, weights, model):
        super().__init__()
        self.decoder = Decoder(weights, "", model["decoder"], model["recompute"])
        cos, sin = self.decoder.rotary(torch.arange(model["sequenceLength"])[None])
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, batch):
        x_BTD = F.embedding(batch["tokenIds_BT"], self.decoder.embedding)
        logits = self.decoder(x_BTD, self.cos, self.sin, None)
        return F.cross_entropy(logits, batch["targetIds_BT"].flatten())
