"""The whole multimodal model in PyTorch: vision encoder, C-Abstractor or average pooling, decoder.

Legend: N images, G grid side, P = G² patches, W vision width, H hidden width, B sequences, T positions, D width.
"""

import torch
import torch.nn.functional as F
from torch import nn
from candidate import SPEC
from torch_decoder import Decoder, matrix, through

if SPEC.get("mode") == "flex":
    from torch.nn.attention.flex_attention import create_block_mask


class Linear(nn.Module):
    def __init__(self, weights, prefix):
        super().__init__()
        self.kernel = matrix(weights[prefix + "kernel"])
        self.bias = nn.Parameter(weights[prefix + "bias"])

    def forward(self, x):
        return F.linear(x, self.kernel, self.bias)


class LayerNorm(nn.Module):
    def __init__(self, weights, prefix, epsilon):
        super().__init__()
        self.gain = nn.Parameter(weights[prefix + "gain"])
        self.bias = nn.Parameter(weights[prefix + "bias"])
        self.epsilon = epsilon

    def forward(self, x):
        return F.layer_norm(x, self.gain.shape, self.gain, self.bias, self.epsilon)


class VisionBlock(nn.Module):
    def __init__(self, weights, prefix, heads):
        super().__init__()
        at = lambda name: weights[f"{prefix}attention/{name}"]
        self.heads = heads
        self.attention_norm = LayerNorm(weights, prefix + "attentionNorm/", 1e-5)
        self.query_key_value = matrix(at("query/kernel"), at("key"), at("value/kernel"))
        self.query_bias, self.value_bias = nn.Parameter(at("query/bias")), nn.Parameter(at("value/bias"))
        self.register_buffer("no_bias", torch.zeros_like(self.query_bias))
        self.output = Linear(weights, prefix + "attention/output/")
        self.feed_forward_norm = LayerNorm(weights, prefix + "feedForwardNorm/", 1e-5)
        self.up = Linear(weights, prefix + "feedForward/up/")
        self.down = Linear(weights, prefix + "feedForward/down/")

    def forward(self, x_NPW):
        N, P, W = x_NPW.shape
        bias = torch.cat((self.query_bias, self.no_bias, self.value_bias))
        projected = F.linear(self.attention_norm(x_NPW), self.query_key_value, bias)
        q, k, v = projected.view(N, P, 3, self.heads, W // self.heads).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v)
        x_NPW = x_NPW + self.output(read.transpose(1, 2).reshape(N, P, W))
        hidden = self.up(self.feed_forward_norm(x_NPW))
        return x_NPW + self.down(hidden * torch.sigmoid(1.702 * hidden))


class VisionEncoder(nn.Module):
    def __init__(self, weights, config, recompute):
        super().__init__()
        self.patch_size, self.recompute = config["patchSize"], recompute
        self.patch = Linear(weights, "vision/patch/")
        self.positions = nn.Parameter(weights["vision/positions"])
        self.blocks = nn.ModuleList(
            VisionBlock(weights, f"vision/layers/{layer}/", config["heads"]) for layer in range(config["depth"])
        )
        self.norm = LayerNorm(weights, "vision/norm/", 1e-5)

    def forward(self, images_NHWC):
        N, size, _, colours = images_NHWC.shape
        side, grid = self.patch_size, size // self.patch_size
        cut = images_NHWC.view(N, grid, side, grid, side, colours).transpose(2, 3)
        x_NPW = self.patch(cut.reshape(N, grid * grid, side * side * colours)) + self.positions
        return self.norm(through(self.blocks, x_NPW, self.recompute))


class Pointwise(nn.Module):
    def __init__(self, weights, prefix):
        super().__init__()
        self.kernel = matrix(weights[prefix + "kernel"])
        self.norm = LayerNorm(weights, prefix + "norm/", 1e-5)

    def forward(self, x):
        return self.norm(F.linear(x, self.kernel))


class RegBlock(nn.Module):
    def __init__(self, weights, prefix):
        super().__init__()
        self.enter = Pointwise(weights, prefix + "enter/")
        # [3, 3, C, 1] → [C, 1, 3, 3]
        self.kernel = nn.Parameter(weights[prefix + "depthwise/kernel"].permute(2, 3, 0, 1).contiguous())
        self.norm = LayerNorm(weights, prefix + "depthwise/norm/", 1e-6)
        self.squeeze = Linear(weights, prefix + "gate/squeeze/")
        self.excite = Linear(weights, prefix + "gate/excite/")
        self.leave = Pointwise(weights, prefix + "leave/")
        has_shortcut = prefix + "shortcut/kernel" in weights
        self.shortcut = Pointwise(weights, prefix + "shortcut/") if has_shortcut else nn.Identity()

    def forward(self, x_NPI):
        N, P, _ = x_NPI.shape
        grid = round(P**0.5)
        entered = F.silu(self.enter(x_NPI))
        x_NCGG = entered.view(N, grid, grid, -1).permute(0, 3, 1, 2)
        mixed = F.conv2d(x_NCGG, self.kernel, padding=1, groups=self.kernel.shape[0])
        mixed = F.silu(self.norm(mixed.permute(0, 2, 3, 1).reshape(N, P, -1)))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(mixed.mean(1)))))
        return F.silu(self.leave(mixed * gate[:, None]) + self.shortcut(x_NPI))


def pool(x_NPC, tokens):
    """Adaptive average pooling of the grid to √tokens × √tokens."""
    N, P, C = x_NPC.shape
    grid, side = round(P**0.5), round(tokens**0.5)
    pooled = F.adaptive_avg_pool2d(x_NPC.view(N, grid, grid, C).permute(0, 3, 1, 2), side)
    return pooled.permute(0, 2, 3, 1).reshape(N, tokens, C)


class Connector(nn.Module):
    def __init__(self, weights, config):
        super().__init__()
        self.kind, self.tokens = config["kind"], config["tokensPerImage"]
        if self.kind == "averagePool":
            self.projection = Linear(weights, "connector/projection/")
            return
        stage = lambda name: nn.Sequential(
            *(RegBlock(weights, f"connector/{name}/blocks/{i}/") for i in range(config["depth"]))
        )
        self.positions = nn.Parameter(weights["connector/positions"])
        self.before, self.after = stage("before"), stage("after")
        self.enter = Linear(weights, "connector/projection/enter/")
        self.leave = Linear(weights, "connector/projection/leave/")

    def forward(self, features_NPW):
        """Returns the image tokens of the batch as rows, [N·K, D]."""
        if self.kind == "averagePool":
            return self.projection(pool(features_NPW, self.tokens)).flatten(0, 1)
        pooled = pool(self.before(features_NPW + self.positions), self.tokens)
        return self.leave(F.silu(self.enter(self.after(pooled)))).flatten(0, 1)


class Multimodal(nn.Module):
    def __init__(self, weights, model):
        super().__init__()
        self.vision = VisionEncoder(weights, model["images"]["vision"], model["recompute"])
        self.connector = Connector(weights, model["images"]["connector"])
        self.decoder = Decoder(weights, "decoder/", model["decoder"], model["recompute"])

    def forward(self, batch):
        image_tokens = self.connector(self.vision(batch["images_NHWC"]))
        rows_BT, segments_BT = batch["imageTokenIndex_BT"], batch["segmentIds_BT"]
        text = F.embedding(batch["tokenIds_BT"], self.decoder.embedding)
        image = F.embedding((rows_BT - 1).clamp(min=0), image_tokens)
        x_BTD = torch.where((rows_BT > 0)[..., None], image, text)

        cos, sin = self.decoder.rotary(batch["positions_BT"])
        logits = self.decoder(x_BTD, cos, sin, segments_mask(segments_BT))
        return F.cross_entropy(logits, batch["targetIds_BT"].flatten())


def segments_mask(segments_BT):
    """Who reads whom: earlier positions of the same segment. In the mode `flex` as blocks, else as [B, 1, T, T]."""
    B, T = segments_BT.shape
    if SPEC["mode"] == "flex":
        readable = lambda b, h, q, k: (segments_BT[b, q] == segments_BT[b, k]) & (k <= q)
        return create_block_mask(readable, B, None, T, T, device=segments_BT.device)
    places = torch.arange(T, device=segments_BT.device)
    same_segment = segments_BT[:, :, None] == segments_BT[:, None, :]
    return (same_segment & (places[None] <= places[:, None]))[:, None]
