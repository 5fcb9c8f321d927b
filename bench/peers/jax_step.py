"""A measured process of JAX: one jitted training step of the decoder alone; bench/src starts it.

Legend: B sequences, T positions, D width, H heads, C width of one head.
"""

import os

from candidate import SPEC, decays, load, exchange_addresses, serve

# XLA's CPU backend takes a thread for every core that it may run on, and has no other dependable switch.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: SPEC["threads"]])
os.environ.setdefault("JAX_PLATFORMS", "cpu")
exchange_addresses()

import jax
import jax.numpy as jnp
import numpy

MODEL, OPTIMIZER = SPEC["model"], SPEC["optimizer"]
CONFIG = MODEL["decoder"]
HEADS, EPSILON = CONFIG["heads"], CONFIG["normEpsilon"]
B, T = MODEL["batchSize"], MODEL["sequenceLength"]
HEAD_WIDTH = CONFIG["width"] // HEADS
OPERANDS = jnp.bfloat16 if SPEC["precision"] == "bf16" else jnp.float32

half = HEAD_WIDTH // 2
frequencies = numpy.tile(CONFIG["ropeTheta"] ** (-numpy.arange(half) / half), 2)
angles = numpy.arange(T)[:, None] * frequencies
COS, SIN = (numpy.asarray(f(angles), numpy.float32) for f in (numpy.cos, numpy.sin))
MASK = numpy.where(numpy.tril(numpy.ones((T, T), bool)), 0, -1e9).astype(numpy.float32)


def product(equation, x, y):
    """A product with operands in the precision of the run; everything else stays float32."""
    return jnp.einsum(equation, x.astype(OPERANDS), y.astype(OPERANDS)).astype(jnp.float32)


def norm(x, gain):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPSILON) * gain


def rotate(x_BHTC):
    first, second = jnp.split(x_BHTC, 2, -1)
    return x_BHTC * COS + jnp.concatenate((-second, first), -1) * SIN


def block(x_BTD, at):
    heads = lambda name: product("btd,dhc->bhtc", normed, at("attention/" + name).reshape(-1, HEADS, HEAD_WIDTH))
    normed = norm(x_BTD, at("attentionNorm"))
    q, k, v = rotate(heads("query")), rotate(heads("key")), heads("value")
    scores = product("bhtc,bhsc->bhts", q * HEAD_WIDTH**-0.5, k) + MASK
    read = product("bhts,bhsc->bthc", jax.nn.softmax(scores), v).reshape(B, T, -1)
    x_BTD = x_BTD + product("btd,de->bte", read, at("attention/output"))
    normed = norm(x_BTD, at("feedForwardNorm"))
    gate, up = (product("btd,df->btf", normed, at("feedForward/" + name)) for name in ("gate", "up"))
    return x_BTD + product("btf,fd->btd", jax.nn.silu(gate) * up, at("feedForward/down"))


def mean_loss(weights, tokens, targets):
    x_BTD = weights["embedding"][tokens]
    for layer in range(CONFIG["depth"]):
        x_BTD = block(x_BTD, lambda name: weights[f"layers/{layer}/{name}"])
    logits = product("btd,dv->btv", norm(x_BTD, weights["norm"]), weights["head"])
    chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen)


def train_step(weights, moments, t, tokens, targets):
    loss, gradients = jax.value_and_grad(mean_loss)(weights, tokens, targets)
    size = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
    clip = OPTIMIZER["clipNorm"] / jnp.maximum(size, OPTIMIZER["clipNorm"])
    beta1, beta2 = OPTIMIZER["beta1"], OPTIMIZER["beta2"]
    new_weights, new_moments = {}, {}
    for name, p in weights.items():
        g = gradients[name] * clip
        m = beta1 * moments[name][0] + (1 - beta1) * g
        v = beta2 * moments[name][1] + (1 - beta2) * g * g
        adam = m / (1 - beta1**t) / (jnp.sqrt(v / (1 - beta2**t)) + OPTIMIZER["epsilon"])
        decay = OPTIMIZER["weightDecay"] if decays(name) else 0.0
        new_weights[name] = p - OPTIMIZER["learningRate"] * adam - decay * p
        new_moments[name] = (m, v)
    return new_weights, new_moments, t + 1, loss


def main():
    weights, batch = load(lambda shape, values: jnp.asarray(numpy.asarray(values, numpy.float32).reshape(shape)), 0)
    tokens, targets = (
        jnp.asarray(batch[name], jnp.int32).reshape(B, T) for name in ("tokenIds_BT", "targetIds_BT")
    )
    moments = {name: (jnp.zeros_like(p), jnp.zeros_like(p)) for name, p in weights.items()}
    state = (weights, moments, jnp.float32(1))
    jitted = jax.jit(train_step, donate_argnums=(0, 1, 2))

    def step():
        nonlocal state
        *state, loss = jitted(*state, tokens, targets)
        return float(loss)

    serve(f"JAX {jax.__version__} jit, {SPEC['precision']}, {SPEC['threads']} threads", step)


main()
