"""The whole multimodal model in JAX: vision encoder, C-Abstractor or average pooling, decoder.

Legend: N images, G grid side, P = G² patches, W vision width, K tokens of an image, B sequences, T positions, D width.
"""

import math

import jax
import jax.numpy as jnp
from candidate import SPEC
from jax_decoder import attention, cross_entropy, decoder, layers_of, product, rotary_tables, through

MODEL = SPEC["model"]


def multimodal_loss(weights, batch):
    image_tokens = connector(vision_encoder(batch["images_NHWC"], weights), weights)
    rows_BT, segments_BT = batch["imageTokenIndex_BT"], batch["segmentIds_BT"]
    text = weights["decoder/embedding"][batch["tokenIds_BT"]]
    image = image_tokens[jnp.maximum(rows_BT - 1, 0)]
    x_BTD = jnp.where((rows_BT > 0)[..., None], image, text)
    mask_B1TT = (segments_BT[:, :, None] == segments_BT[:, None, :])[:, None]
    logits = decoder(x_BTD, weights, "decoder/", rotary_tables(batch["positions_BT"]), True, mask_B1TT)
    losses = cross_entropy(logits, batch["targetIds_BT"]) * batch["lossMask_BT"]
    return jnp.sum(losses) / jnp.sum(batch["lossMask_BT"])


def linear(x, p, prefix):
    return product("...i,io->...o", x, p[prefix + "kernel"]) + p[prefix + "bias"]


def layer_norm(x, p, prefix, epsilon):
    centred = x - jnp.mean(x, -1, keepdims=True)
    scale = jax.lax.rsqrt(jnp.mean(centred * centred, -1, keepdims=True) + epsilon)
    return centred * scale * p[prefix + "gain"] + p[prefix + "bias"]


def vision_encoder(images_NHWC, weights):
    """[N, H, W, 3] → [N, P, W]."""
    config = MODEL["images"]["vision"]
    N, size, _, colours = images_NHWC.shape
    side, heads = config["patchSize"], config["heads"]
    grid = size // side
    cut = images_NHWC.reshape(N, grid, side, grid, side, colours).swapaxes(2, 3)
    x_NPW = linear(cut.reshape(N, grid * grid, -1), weights, "vision/patch/") + weights["vision/positions"]

    def block(x_NPW, p):
        normed = layer_norm(x_NPW, p, "attentionNorm/", 1e-5)
        q, v = linear(normed, p, "attention/query/"), linear(normed, p, "attention/value/")
        k = product("npw,wv->npv", normed, p["attention/key"])
        read = attention(*(x.reshape(N, grid * grid, heads, -1) for x in (q, k, v))).reshape(x_NPW.shape)
        x_NPW = x_NPW + linear(read, p, "attention/output/")
        hidden = linear(layer_norm(x_NPW, p, "feedForwardNorm/", 1e-5), p, "feedForward/up/")
        return x_NPW + linear(hidden * jax.nn.sigmoid(1.702 * hidden), p, "feedForward/down/")

    x_NPW = through(block, x_NPW, layers_of(weights, "vision/", config["depth"]))
    return layer_norm(x_NPW, weights, "vision/norm/", 1e-5)


def pointwise(x, p, prefix):
    return layer_norm(product("...i,io->...o", x, p[prefix + "kernel"]), p, prefix + "norm/", 1e-5)


def reg_block(x_NPI, p, prefix):
    N, P, _ = x_NPI.shape
    grid = math.isqrt(P)
    entered = jax.nn.silu(pointwise(x_NPI, p, prefix + "enter/"))
    # [3, 3, C, 1] → [3, 3, 1, C]: one filter a channel.
    kernel = p[prefix + "depthwise/kernel"].swapaxes(2, 3)
    mixed = jax.lax.conv_general_dilated(
        entered.reshape(N, grid, grid, -1),
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=kernel.shape[-1],
    )
    mixed = jax.nn.silu(layer_norm(mixed.reshape(N, P, -1), p, prefix + "depthwise/norm/", 1e-6))
    squeezed = jax.nn.silu(linear(mixed.mean(1), p, prefix + "gate/squeeze/"))
    gate = jax.nn.sigmoid(linear(squeezed, p, prefix + "gate/excite/"))
    has_shortcut = prefix + "shortcut/kernel" in p
    shortcut = pointwise(x_NPI, p, prefix + "shortcut/") if has_shortcut else x_NPI
    return jax.nn.silu(pointwise(mixed * gate[:, None], p, prefix + "leave/") + shortcut)


def pool(x_NPC, tokens):
    """Adaptive average pooling of the grid to √tokens × √tokens, as a product along each side."""
    N, P, C = x_NPC.shape
    grid, side = math.isqrt(P), math.isqrt(tokens)
    weights_SG = jnp.asarray([shares(cell, side, grid) for cell in range(side)], jnp.float32)
    x_NGGC = x_NPC.reshape(N, grid, grid, C)
    pooled = jnp.einsum("sg,ngac,ta->nstc", weights_SG, x_NGGC, weights_SG, precision="highest")
    return pooled.reshape(N, tokens, C)


def shares(cell, side, grid):
    """How a cell of the pooled grid is made from one side of the grid."""
    first, end = cell * grid // side, -(-(cell + 1) * grid // side)
    return [1 / (end - first) if first <= at < end else 0.0 for at in range(grid)]


def connector(features_NPW, weights):
    """The image tokens of the batch as rows, [N·K, D]."""
    config = MODEL["images"]["connector"]
    if config["kind"] == "averagePool":
        pooled = pool(features_NPW, config["tokensPerImage"])
        return linear(pooled, weights, "connector/projection/").reshape(-1, MODEL["decoder"]["width"])
    x = features_NPW + weights["connector/positions"]
    for i in range(config["depth"]):
        x = reg_block(x, weights, f"connector/before/blocks/{i}/")
    x = pool(x, config["tokensPerImage"])
    for i in range(config["depth"]):
        x = reg_block(x, weights, f"connector/after/blocks/{i}/")
    entered = jax.nn.silu(linear(x, weights, "connector/projection/enter/"))
    return linear(entered, weights, "connector/projection/leave/").reshape(-1, MODEL["decoder"]["width"])
