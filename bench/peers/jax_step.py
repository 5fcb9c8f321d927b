"""A measured process of JAX: one jitted training step; bench/src starts it."""

import os

from candidate import SPEC, decays, load, exchange_addresses, serve

if SPEC["device"] == "cpu":
    # XLA's CPU backend takes a thread for every core that it may run on, and has no other dependable switch.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: SPEC["threads"]])
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
exchange_addresses()

import time

import jax
import jax.numpy as jnp
import numpy

if SPEC["precision"] == "fp32":
    # On GPUs the default would round operands to TF32.
    jax.config.update("jax_default_matmul_precision", "highest")

from jax_decoder import decoder_loss
from jax_multimodal import multimodal_loss

MODEL, OPTIMIZER = SPEC["model"], SPEC["optimizer"]
mean_loss = decoder_loss if MODEL["images"] is None else multimodal_loss


def train_step(weights, moments, t, batch):
    loss, gradients = jax.value_and_grad(mean_loss)(weights, batch)
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


def prepare(batch):
    """Gives fields their shapes and dtypes."""
    shape = (MODEL["batchSize"], MODEL["sequenceLength"])
    ready = {}
    for name, values in batch.items():
        if name == "images_NHWC":
            size = MODEL["images"]["vision"]["imageSize"]
            ready[name] = values.reshape(-1, size, size, 3)
        else:
            ready[name] = values.reshape(shape).astype(jnp.float32 if name == "lossMask_BT" else jnp.int32)
    return ready


def device_memory():
    stats = jax.local_devices()[0].memory_stats() or {}
    return {"peakDeviceBytes": stats["peak_bytes_in_use"]} if "peak_bytes_in_use" in stats else {}


def main():
    weights, batch = load(lambda shape, values: jnp.asarray(numpy.asarray(values, numpy.float32).reshape(shape)), 0)
    batch = prepare(batch)
    moments = {name: (jnp.zeros_like(p), jnp.zeros_like(p)) for name, p in weights.items()}
    state = (weights, moments, jnp.float32(1))
    del weights, moments
    start = time.perf_counter()
    compiled = jax.jit(train_step, donate_argnums=(0, 1, 2)).lower(*state, batch).compile()
    compile_seconds = time.perf_counter() - start

    def step():
        nonlocal state
        *state, loss = compiled(*state, batch)
        return float(loss)

    where = jax.devices()[0].device_kind if SPEC["device"] == "gpu" else f"{SPEC['threads']} threads"
    serve(
        f"JAX {jax.__version__} jit, {SPEC['precision']}, {where}",
        step,
        lambda _: {"compileSeconds": compile_seconds},
        device_memory,
    )


main()
