"""The decoder in JAX, over weights by name. What is not a product stays float32.

Legend: B sequences, T positions, D width, H heads, C width of one head.
"""

import functools

import jax
import jax.numpy as jnp
import numpy
from candidate import SPEC

OPERANDS = jnp.bfloat16 if SPEC["precision"] == "bf16" else jnp.float32
# cuDNN's kernel takes numbers of 16 bits alone.
FUSED = "cudnn" if SPEC["device"] == "gpu" and SPEC["precision"] == "bf16" else None


def product(equation, x, y):
    """A product with operands in the precision of the run."""
    return jnp.einsum(equation, x.astype(OPERANDS), y.astype(OPERANDS)).astype(jnp.float32)


def norm(x, gain):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + SPEC["model"]["decoder"]["normEpsilon"]) * gain


def rotary_tables(positions_BT):
    """Cosine and sine of every position's angles, [B, T, 1, C]."""
    config = SPEC["model"]["decoder"]
    half = config["headWidth"] // 2
    frequencies = numpy.tile(config["ropeTheta"] ** (-numpy.arange(half) / half), 2).astype(numpy.float32)
    angles = positions_BT[:, :, None, None].astype(jnp.float32) * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x_BTHC, tables):
    first, second = jnp.split(x_BTHC, 2, -1)
    return x_BTHC * tables[0] + jnp.concatenate((-second, first), -1) * tables[1]


def attention(q_BTHC, k_BTHC, v_BTHC, is_causal=False, mask_B1TT=None):
    """Softmax attention, as one kernel of cuDNN where there is one."""
    B, T, _, C = q_BTHC.shape
    if FUSED is not None:
        # JAX refuses odd lengths here, such as the 729 patches of an image.
        even = lambda x: jnp.pad(x.astype(OPERANDS), ((0, 0), (0, T % 2), (0, 0), (0, 0)))
        lengths = jnp.full(B, T, jnp.int32) if T % 2 else None
        read = jax.nn.dot_product_attention(
            even(q_BTHC),
            even(k_BTHC),
            even(v_BTHC),
            mask=mask_B1TT,
            is_causal=is_causal,
            query_seq_lengths=lengths,
            key_value_seq_lengths=lengths,
            implementation=FUSED,
        )
        return read[:, :T].astype(jnp.float32)
    scores = product("bthc,bshc->bhts", q_BTHC * C**-0.5, k_BTHC)
    if is_causal:
        scores = jnp.where(numpy.tril(numpy.ones((T, T), bool)), scores, -1e9)
    if mask_B1TT is not None:
        scores = jnp.where(mask_B1TT, scores, -1e9)
    return product("bhts,bshc->bthc", jax.nn.softmax(scores), v_BTHC)


def through(block, x, layers):
    """x through all layers: `block(x, parameters of a layer)`; what is recomputed is the bench's choice."""
    kept = {
        "none": lambda f: f,
        "selective": functools.partial(
            jax.checkpoint, policy=jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims
        ),
        "full": jax.checkpoint,
    }
    recomputed = kept[SPEC["model"]["recompute"]](block)
    for layer in layers:
        x = recomputed(x, layer)
    return x


def layers_of(weights, prefix, depth):
    """The parameters of every layer, by their names inside it."""
    names = [name for name in weights if name.startswith(f"{prefix}layers/")]
    return [
        {name[len(start) :]: weights[name] for name in names if name.startswith(start)}
        for start in (f"{prefix}layers/{layer}/" for layer in range(depth))
    ]


def decoder(x_BTD, weights, prefix, tables, is_causal=True, mask_B1TT=None):
    """Blocks and head over embedded rows; gives the logits [B, T, V]."""
    config = SPEC["model"]["decoder"]
    B, T, _ = x_BTD.shape
    heads, C = config["heads"], config["headWidth"]

    def block(x_BTD, p):
        split = lambda name: product("btd,de->bte", normed, p["attention/" + name]).reshape(B, T, heads, C)
        normed = norm(x_BTD, p["attentionNorm"])
        q, k, v = split("query"), split("key"), split("value")
        if config["qkNorm"]:
            q, k = norm(q, p["attention/queryNorm"]), norm(k, p["attention/keyNorm"])
        read = attention(rotate(q, tables), rotate(k, tables), v, is_causal, mask_B1TT).reshape(B, T, -1)
        x_BTD = x_BTD + product("btd,de->bte", read, p["attention/output"])
        normed = norm(x_BTD, p["feedForwardNorm"])
        gate, up = (product("btd,df->btf", normed, p["feedForward/" + name]) for name in ("gate", "up"))
        return x_BTD + product("btf,fd->btd", jax.nn.silu(gate) * up, p["feedForward/down"])

    x_BTD = through(block, x_BTD, layers_of(weights, prefix, config["depth"]))
    return product("btd,dv->btv", norm(x_BTD, weights[prefix + "norm"]), weights[prefix + "head"])


def cross_entropy(logits_BTV, targets_BT):
    """At every position, [B, T]."""
    chosen = jnp.take_along_axis(logits_BTV, targets_BT[..., None], -1)[..., 0]
    return jax.nn.logsumexp(logits_BTV, -1) - chosen


def decoder_loss(weights, batch):
    x_BTD = weights["embedding"][batch["tokenIds_BT"]]
    tables = rotary_tables(batch["positions_BT"])
    return jnp.mean(cross_entropy(decoder(x_BTD, weights, "", tables), batch["targetIds_BT"]))
