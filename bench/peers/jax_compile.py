"""Compiles the training step of `weft compile`, written in JAX, for GPUs that need not be there, and prints one line of JSON.

The peer of `scripts/compile-for-h100.mjs`: the same encoder, connector, decoder and experts with the same arrays, cut over
the same mesh, bfloat16 products, every block computed twice, attention in cuDNN's kernel, gradients summed in float32. It is
compiled twice: `gradients` alone, whose results are the gradients, and the whole step with AdamW in one program, which
keeps gradients among its temporaries. Simpler than Weft's: sequences are one segment, and there is no loss mask.

Needs jax, jax-cuda13-plugin and jax-cuda13-pjrt of one version, and nvidia-cuda-nvcc, nvidia-cudnn-cu13, nvidia-nccl-cu13,
nvidia-cublas and nvidia-cuda-nvrtc; no GPU, no driver.
Run: python jax_compile.py '{"model": …, "mesh": {"expert": 1, "fsdp": 8}, "hosts": 1, "microbatch": 8, "images": 16, "chip": …}'
with the model of a Weft recipe and the text of a chip.
"""
import json
import os
import pathlib
import sys
import time
from functools import partial

import nvidia.cu13 as cuda

os.environ['JAX_SKIP_CUDA_CONSTRAINTS_CHECK'] = '1'  # it would ask the driver
os.environ['XLA_FLAGS'] = f'--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={pathlib.Path(list(cuda.__path__)[0])}'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
import jax  # noqa: E402
import jax._src.cudnn.fused_attention_stablehlo as fused  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P  # noqa: E402

ASKED = json.loads(sys.argv[1])
MODEL, SIZES = ASKED['model'], ASKED['mesh']
VISION, CONNECTOR, DECODER = MODEL['vision'], MODEL['connector'], MODEL['decoder']
MOE = DECODER['moe']
LENGTH = MODEL['sequenceLength']
SIDE = VISION['imageSize'] // VISION['patchSize']
PATCH = VISION['patchSize']
fused.check_cudnn_version = lambda: 91000  # there is no library to ask before it is compiled for
fused.check_compute_capability = lambda capability: True
# It takes every call for one with a bias, of which it wants an even length; an image has 729 patches.
fused.check_is_flash_attention = lambda *arguments: None

COUNT = SIZES['expert'] * SIZES['fsdp']
topology = f"1x{ASKED['hosts']}x{COUNT // ASKED['hosts']}"
devices = topologies.get_topology_desc('chip', 'cuda', target_config=ASKED['chip'], topology=topology).devices
mesh = Mesh(np.array(devices).reshape(SIZES['expert'], SIZES['fsdp']), ('expert', 'fsdp'))
EVERY = ('expert', 'fsdp')


def array(shape, parts=P(), dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, parts))


def constrained(x, *parts):
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(*parts)))


# Parameters. `rows` are cut along their first axis, `columns` along the second, vectors are whole.
def rows(i, o):
    return array((i, o), P(EVERY, None))


def columns(i, o):
    return array((i, o), P(None, EVERY))


def norm_parameters(width):
    return {'gain': array((width,)), 'bias': array((width,))}


def vision_parameters():
    w, f = VISION['width'], VISION['feedForwardWidth']
    layer = {
        **{name: rows(w, w) for name in ('query', 'key', 'value')}, 'output': columns(w, w), 'up': rows(w, f), 'down': columns(f, w),
        **{f'{name}Bias': array((w,)) for name in ('query', 'value', 'output', 'down')}, 'upBias': array((f,)),
        'norm1': norm_parameters(w), 'norm2': norm_parameters(w),
    }
    return {'patch': columns(3 * PATCH**2, w), 'patchBias': array((w,)), 'positions': columns(SIDE**2, w),
            'layers': [layer] * VISION['depth'], 'norm': norm_parameters(w)}


def connector_parameters():
    w, h, d = VISION['width'], CONNECTOR['hiddenWidth'], DECODER['width']

    def block(i):
        squeezed = i // 4
        own = {'enter': rows(i, h), 'enterNorm': norm_parameters(h), 'kernel': array((3, 3, 1, h)), 'mixNorm': norm_parameters(h),
               'squeeze': rows(h, squeezed), 'squeezeBias': array((squeezed,)), 'excite': columns(squeezed, h), 'exciteBias': array((h,)),
               'leave': rows(h, h), 'leaveNorm': norm_parameters(h)}
        return own if i == h else {**own, 'shortcut': rows(i, h), 'shortcutNorm': norm_parameters(h)}

    def stage(i):
        return [block(i if n == 0 else h) for n in range(CONNECTOR['depth'])]

    return {'positions': columns(SIDE**2, w), 'before': stage(w), 'after': stage(h),
            'enter': rows(h, d), 'enterBias': array((d,)), 'leave': rows(d, d), 'leaveBias': array((d,))}


def has_experts(layer):
    return MOE is not None and (layer + 1) % MOE['everyLayers'] == 0


def decoder_parameters():
    d, f, v = DECODER['width'], DECODER['feedForwardWidth'], DECODER['vocabularySize']
    c = d // DECODER['heads']
    kv = DECODER['keyValueHeads'] * c

    def layer(index):
        own = {'query': rows(d, d), 'key': rows(d, kv), 'value': rows(d, kv), 'output': columns(d, d),
               'queryNorm': array((c,)), 'keyNorm': array((c,)), 'norm1': array((d,)), 'norm2': array((d,))}
        if not has_experts(index):
            return {**own, 'gate': rows(d, f), 'up': rows(d, f), 'down': columns(f, d)}
        e = MOE['experts']
        wide = array((e, d, f), P('expert', 'fsdp', None))
        return {**own, 'router': rows(d, e), 'gate': wide, 'up': wide, 'down': array((e, f, d), P('expert', None, 'fsdp'))}

    return {'embedding': columns(v, d), 'layers': [layer(i) for i in range(DECODER['depth'])], 'norm': array((d,)), 'head': rows(d, v)}


def narrow(x):
    return x.astype(jnp.bfloat16)


def by_batch(x, w):
    """Activations follow the batch, and those of experts their experts and slots: else the partitioner cuts features."""
    return constrained(x, 'expert', 'fsdp') if w.ndim == 3 else constrained(x, EVERY)


@jax.custom_vjp
def product(x, w):
    """x·w with bfloat16 operands; the gradient of w is given in float32, in which devices then add their parts."""
    return by_batch(jnp.matmul(narrow(x), narrow(w)).astype(jnp.float32), w)


def product_gradient(saved, dy):
    x, w = saved
    x, dy = narrow(x), narrow(by_batch(dy, w))
    dx = jnp.matmul(dy, jnp.swapaxes(narrow(w), -1, -2)).astype(jnp.float32)
    rows_of = (lambda each: each) if w.ndim == 3 else (lambda each: each.reshape(-1, each.shape[-1]))
    dw = jnp.matmul(jnp.swapaxes(rows_of(x), -1, -2), rows_of(dy), preferred_element_type=jnp.float32)
    return by_batch(dx, w), dw


product.defvjp(lambda x, w: (product(x, w), (x, w)), product_gradient)


def rms_norm(x, gain):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * gain


def layer_norm(x, p, epsilon=1e-5):
    centred = x - jnp.mean(x, -1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, -1, keepdims=True) + epsilon) * p['gain'] + p['bias']


def attention(q, k, v, causal):
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    return jax.nn.dot_product_attention(q, k, v, is_causal=causal, implementation='cudnn').astype(jnp.float32)


def heads_of(x, heads):
    return x.reshape(*x.shape[:2], heads, -1)


@jax.checkpoint
def vision_block(x, p):
    y = layer_norm(x, p['norm1'])
    q = product(y, p['query']) + p['queryBias']
    k = product(y, p['key'])
    v = product(y, p['value']) + p['valueBias']
    read = attention(*(heads_of(each, VISION['heads']) for each in (q, k, v)), False)
    x = x + product(read.reshape(x.shape), p['output']) + p['outputBias']
    hidden = product(layer_norm(x, p['norm2']), p['up']) + p['upBias']
    return x + product(hidden * jax.nn.sigmoid(1.702 * hidden), p['down']) + p['downBias']


def vision(images, p):
    n = images.shape[0]
    cut = images.reshape(n, SIDE, PATCH, SIDE, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, SIDE**2, -1)
    x = constrained(product(cut, p['patch']) + p['patchBias'] + p['positions'], EVERY)
    for own in p['layers']:
        x = vision_block(x, own)
    return layer_norm(x, p['norm'])


def regnet_block(x, p):
    side = int(x.shape[1]**0.5)

    def normed(y, kernel, norm):
        return layer_norm(product(y, p[kernel]), p[norm], 1e-6)

    y = jax.nn.silu(normed(x, 'enter', 'enterNorm'))
    grid = y.reshape(y.shape[0], side, side, -1)
    mixed = jax.lax.conv_general_dilated(grid, p['kernel'], (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                         feature_group_count=y.shape[-1], precision=jax.lax.Precision.HIGHEST)
    y = jax.nn.silu(layer_norm(mixed.reshape(y.shape), p['mixNorm'], 1e-6))
    squeezed = jax.nn.silu(product(jnp.mean(y, 1), p['squeeze']) + p['squeezeBias'])
    y = y * jax.nn.sigmoid(product(squeezed, p['excite']) + p['exciteBias'])[:, None]
    y = normed(y, 'leave', 'leaveNorm')
    return jax.nn.silu(y + (normed(x, 'shortcut', 'shortcutNorm') if 'shortcut' in p else x))


def pooling():
    side = int(CONNECTOR['tokensPerImage']**0.5)
    axis = np.zeros((side, SIDE), np.float32)
    for i in range(side):
        begin, end = i * SIDE // side, -(-(i + 1) * SIDE // side)
        axis[i, begin:end] = 1 / (end - begin)
    return np.kron(axis, axis)


def connect(x, p):
    x = x + p['positions']
    for own in p['before']:
        x = regnet_block(x, own)
    x = jnp.einsum('kp,npc->nkc', jnp.asarray(pooling(), jnp.bfloat16), x.astype(jnp.bfloat16)).astype(jnp.float32)
    for own in p['after']:
        x = regnet_block(x, own)
    return product(jax.nn.silu(product(x, p['enter']) + p['enterBias']), p['leave']) + p['leaveBias']


def rotate(x):
    half = x.shape[-1] // 2
    angles = jnp.arange(LENGTH)[:, None] * DECODER['ropeTheta'] ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


@jax.custom_vjp
def dispatch(x, tokens, slots, kept):
    return jnp.take(x, tokens, axis=0)


def dispatch_gradient(saved, dy):
    slots, kept = saved
    return sum(jnp.take(dy, slots[k], axis=0) * kept[k][:, None] for k in (0, 1)), None, None, None


dispatch.defvjp(lambda x, tokens, slots, kept: (jnp.take(x, tokens, axis=0), (slots, kept)), dispatch_gradient)


@jax.custom_vjp
def combine(y, gates, tokens, assignments, filled, slots):
    return sum(jnp.take(y, slots[k], axis=0) * gates[k][:, None] for k in (0, 1))


def combine_forward(y, gates, tokens, assignments, filled, slots):
    both = [jnp.take(y, slots[k], axis=0) for k in (0, 1)]
    return sum(row * gates[k][:, None] for k, row in enumerate(both)), (both, gates, tokens, assignments, filled)


def combine_gradient(saved, dout):
    both, gates, tokens, assignments, filled = saved
    gate = jnp.take(gates.reshape(-1), assignments) * filled
    return jnp.take(dout, tokens, axis=0) * gate[:, None], jnp.stack([jnp.sum(row * dout, 1) for row in both]), None, None, None, None


combine.defvjp(combine_forward, combine_gradient)


def experts(x, p):
    """Top-2 routing with a capacity, a sequence being a group; tokens go to experts by gathers."""
    e, group = MOE['experts'], MOE['groupSize']
    tokens = x.shape[0]
    capacity = int(group * MOE['capacityFactor'] // e)
    slots = tokens // group * capacity
    scores = jax.nn.softmax(jnp.matmul(x, p['router'], precision=jax.lax.Precision.HIGHEST), -1)
    values, chosen = jax.lax.top_k(scores, 2)
    gates, chosen = (values / jnp.sum(values, -1, keepdims=True)).T, jax.lax.stop_gradient(chosen.T)
    masks = jax.nn.one_hot(chosen.reshape(2, -1, group), e)
    first = jnp.concatenate([jnp.zeros_like(masks[:1, :, :1]), jnp.sum(masks[:1], 2, keepdims=True)])
    position = jnp.sum((jnp.cumsum(masks, 2) - masks + first) * masks, 3).reshape(2, tokens).astype(jnp.int32)
    kept = position < capacity
    slot = chosen * slots + (jnp.arange(tokens) // group) * capacity + position
    occupants = jnp.zeros(e * slots, jnp.int32).at[jnp.where(kept, slot, e * slots).reshape(-1)].set(jnp.arange(1, 2 * tokens + 1), mode='drop')
    filled, assignments = (occupants > 0).astype(jnp.float32), jnp.maximum(occupants - 1, 0)
    slot, kept = jnp.where(kept, slot, 0), kept.astype(jnp.float32)
    sent = dispatch(x, assignments % tokens, slot, kept).reshape(e, slots, -1)
    sent = constrained(sent, 'expert', 'fsdp', None)
    hidden = jax.nn.silu(product(sent, p['gate'])) * product(sent, p['up'])
    back = constrained(product(hidden, p['down']), 'expert', 'fsdp', None).reshape(e * slots, -1)
    balance = e * jnp.mean(jnp.mean(masks[0], 1) * jnp.mean(scores.reshape(-1, group, e), 1)) * tokens
    return combine(back, gates * kept, assignments % tokens, assignments, filled, slot), balance


@jax.checkpoint
def decoder_block(x, p):
    y = rms_norm(x, p['norm1'])
    q, k, v = (heads_of(product(y, p[name]), DECODER[count]) for name, count in (('query', 'heads'), ('key', 'keyValueHeads'), ('value', 'keyValueHeads')))
    read = attention(rotate(rms_norm(q, p['queryNorm'])), rotate(rms_norm(k, p['keyNorm'])), v, True)
    x = x + product(read.reshape(x.shape), p['output'])
    y = rms_norm(x, p['norm2'])
    if 'router' in p:
        moved, balance = experts(y.reshape(-1, y.shape[-1]), p)
        return x + moved.reshape(x.shape), balance
    return x + product(jax.nn.silu(product(y, p['gate'])) * product(y, p['up']), p['down']), 0.0


def taken(table, index):
    return jnp.take(table, jnp.maximum(index, 0), axis=0) * (index >= 0)[..., None]


def loss(p, batch):
    images = connect(vision(batch['images'], p['vision']), p['connector'])
    image_tokens = images.reshape(-1, images.shape[-1])
    own = p['decoder']
    at = batch['imageTokens']
    x = constrained(taken(own['embedding'], jnp.where(at > 0, -1, batch['tokens'])) + taken(image_tokens, at - 1), EVERY)
    balance = 0.0
    for layer in own['layers']:
        x, more = decoder_block(x, layer)
        balance = balance + 0.01 * more
    scores = product(rms_norm(x, own['norm']), own['head'])
    picked = jnp.take_along_axis(scores, batch['targets'][..., None], -1)[..., 0]
    return jnp.sum(jax.nn.logsumexp(scores, -1) - picked) + balance


def step(p, m, v, batch):
    value, g = jax.value_and_grad(loss)(p, batch)
    m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, g)
    v = jax.tree.map(lambda v, g: v + 0.05 * (g * g - v), v, g)
    return jax.tree.map(lambda p, m, v: p - 1e-4 * m / (jnp.sqrt(v) + 1e-8), p, m, v), m, v, value


parameters = {'vision': vision_parameters(), 'connector': connector_parameters(), 'decoder': decoder_parameters()}
sequences = ASKED['microbatch']
ints = array((sequences, LENGTH), P(EVERY, None), jnp.int32)
pixels = array((sequences * ASKED['images'], VISION['imageSize'], VISION['imageSize'], 3), P(EVERY))
batch = {'images': pixels, 'tokens': ints, 'imageTokens': ints, 'targets': ints}
laid = jax.tree.map(lambda each: each.sharding, parameters)


def facts(function, outputs, donated, *arguments):
    began = time.time()
    compiled = jax.jit(function, donate_argnums=donated, out_shardings=outputs).lower(*arguments).compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    kinds = ('all-gather', 'reduce-scatter', 'all-reduce', 'all-to-all')
    return {'arguments': memory.argument_size_in_bytes, 'temporaries': memory.temp_size_in_bytes, 'seconds': round(time.time() - began),
            'collectives': {kind: text.count(f' {kind}(') + text.count(f' {kind}-start(') for kind in kinds},
            'fused': text.count('custom_call_target="__cudnn$fmha')}


whole = NamedSharding(mesh, P())
result = {'gradients': facts(partial(jax.value_and_grad(loss)), (whole, laid), (), parameters, batch)}
if ASKED.get('step'):
    result['step'] = facts(step, (laid, laid, laid, whole), (0, 1, 2), parameters, parameters, parameters, batch)
print(json.dumps(result))
