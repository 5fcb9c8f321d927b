"""The ops of bench/src/gpu/op-cases.ts in JAX, on the device of the argument: one answer for each line of a case."""

import base64
import json
import os
import sys

SPEC = json.loads(sys.argv[1])
if SPEC["device"] == "cpu":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy

# On GPUs the default would round operands of float32 products to TF32.
jax.config.update("jax_default_matmul_precision", "highest")
OPERANDS = jnp.bfloat16 if SPEC["precision"] == "bf16" else jnp.float32


def product(x, y):
    """A product with operands in the precision of the run."""
    return jnp.matmul(x.astype(OPERANDS), y.astype(OPERANDS), preferred_element_type=jnp.float32)


def turned(x, is_turned):
    return jnp.swapaxes(x, -1, -2) if is_turned else x


def binary(s, a, b, c):
    return {
        "add": a + b,
        "sub": b - a,
        "mul": a * b,
        "div": b / c,
        "pow": c**b,
        "mod": a - jnp.floor(a / c) * c,
        "maximum": jnp.maximum(a, b),
        "minimum": jnp.minimum(a, b),
        "addN": a + c + a,
        "equal": a == b,
        "less": a < b,
        "lessEqual": a <= a,
        "greaterEqual": b >= a,
        "logicalAnd": (a < b) & (a < 0.5),
    }


def unary(s, a, c):
    return {
        "neg": -a,
        "square": a * a,
        "floor": jnp.floor(a),
        "exp": jnp.exp(a),
        "sin": jnp.sin(a),
        "cos": jnp.cos(a),
        "sigmoid": jax.nn.sigmoid(a),
        "tanh": jnp.tanh(a),
        "sqrt": jnp.sqrt(c),
        "rsqrt": jax.lax.rsqrt(c),
        "log": jnp.log(c),
        "cast": a.astype(jnp.int32),
    }


def reductions(s, x):
    axes = tuple(s["axes"])
    return {
        "sum": jnp.sum(x, axes, keepdims=s["keep"]),
        "mean": jnp.mean(x, axes, keepdims=s["keep"]),
        "max": jnp.max(x, axes, keepdims=s["keep"]),
        "sumOfAll": jnp.sum(x),
    }


def rows(s, x):
    y = x[:, ::-1] if s["reverse"] else x
    sums = jnp.cumsum(y, 1) - (y if s["exclusive"] else 0)
    return {
        "softmax": jax.nn.softmax(x),
        "cumsum": sums[:, ::-1] if s["reverse"] else sums,
        "topk": jax.lax.top_k(x, 2)[0],
    }


def products(s, x, y, u, w):
    du, dw = jax.grad(lambda a, b: jnp.sum(jnp.tanh(product(a, b) * 0.05)), (0, 1))(u, w)
    return {
        "matMul": product(turned(x, s["left"]), turned(y, s["right"])),
        "wide": product(u, w),
        "precise": u @ w,
        "du": du,
        "dw": dw,
    }


def convolution(s, x, filter, weights):
    def convolved(x, filter):
        return jax.lax.conv_general_dilated(
            x,
            filter.swapaxes(2, 3),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )

    dx, dfilter = jax.grad(lambda x, filter: jnp.sum(convolved(x, filter) * weights), (0, 1))(x, filter)
    return {"depthwise": convolved(x, filter), "dx": dx, "dfilter": dfilter}


def moves(s, x, y):
    c = s["c"]
    return {
        "reshape": x.reshape(s["b"], -1),
        "expandDims": y[:, None],
        "transpose": x.transpose(2, 0, 1),
        "slice": x[:, -1:, 1:],
        "splitFirst": x[..., :c],
        "splitSecond": x[..., c:],
        "concat": jnp.concatenate((y, -y)),
        "stack": jnp.stack((y, -y), -1),
        "range": jnp.arange(1, 2 * c + 1, 2) * jnp.mean(y),
    }


def indexing(s, x, byRow, byColumn, slices, elements, segments):
    row = byRow[:, 0]
    return {
        "gather": x[byRow],
        "gatherColumns": x[:, byColumn],
        "gatherND": x[row, byColumn],
        "scatterND": jnp.zeros((s["rows"], s["columns"])).at[row, byColumn].add(elements),
        "scatterSlices": jnp.zeros((s["rows"], s["columns"], 2)).at[row, byColumn].add(slices),
        "oneHot": jax.nn.one_hot(byColumn, s["columns"] + 1),
        "segmentSum": jax.ops.segment_sum(slices, segments, s["rows"]),
    }


def crossEntropy(s, scores, labels):
    def loss(x):
        return jnp.sum(jax.nn.logsumexp(x, -1) - jnp.take_along_axis(x, labels[:, None], -1)[:, 0])

    return {"loss": loss(scores), "gradient": jax.grad(loss)(scores)}


def adam(s, p, m, v, g):
    g = g * s["gradientScale"]
    m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
    change = m / (1 - 0.9 ** s["step"]) / (jnp.sqrt(v / (1 - 0.95 ** s["step"])) + 1e-8)
    return {"parameter": p * s["kept"] - s["learningRate"] * change, "firstMoment": m, "secondMoment": v}


def recomputed(s, x):
    block = jax.checkpoint(lambda y: jnp.sum(jnp.sin(product(y, y) * 0.1)))
    return {"value": block(x), "gradient": jax.grad(block)(x)}


def attention(s, q, k, v, weights, segmentIds=None):
    T, C = q.shape[1], q.shape[3]
    readable = numpy.tril(numpy.ones((T, T), bool))[None, None]
    if segmentIds is not None:
        readable = readable & (segmentIds[:, :, None] == segmentIds[:, None, :])[:, None]

    def read(q, k, v):
        k, v = (jnp.repeat(x, s["group"], 2) for x in (k, v))
        heads_first = lambda x: x.transpose(0, 2, 1, 3)
        scores = product(heads_first(q) * C**-0.5, turned(heads_first(k), True))
        chances = jax.nn.softmax(jnp.where(readable, scores, -1e9))
        return heads_first(product(chances, heads_first(v)))

    dq, dk, dv = jax.grad(lambda *qkv: jnp.sum(read(*qkv) * weights), (0, 1, 2))(q, k, v)
    return {"read": read(q, k, v), "dq": dq, "dk": dk, "dv": dv}


FAMILIES = {
    "binary": binary,
    "unary": unary,
    "reductions": reductions,
    "rows": rows,
    "products": products,
    "convolution": convolution,
    "moves": moves,
    "indexing": indexing,
    "crossEntropy": crossEntropy,
    "adam": adam,
    "recomputed": recomputed,
    "attention": attention,
    "attentionPacked": attention,
    "attentionGrouped": attention,
}


def array_of(entry):
    kind = numpy.int32 if entry["dtype"] == "int32" else numpy.float32
    return jnp.asarray(numpy.frombuffer(base64.b64decode(entry["data"]), kind).reshape(entry["shape"]))


def text_of(array):
    return base64.b64encode(numpy.asarray(array, numpy.float32).tobytes()).decode("ascii")


def answer(case):
    inputs = {name: array_of(entry) for name, entry in case["inputs"].items()}
    outputs = jax.jit(lambda arrays: FAMILIES[case["family"]](case["settings"], **arrays))(inputs)
    return {"outputs": {name: text_of(array) for name, array in outputs.items()}}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
    print(json.dumps(reply), flush=True)
