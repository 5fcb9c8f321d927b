"""A measured process that does nothing but large matrix products in PyTorch: the peak of its own library."""

from candidate import SPEC, exchange_addresses, serve

exchange_addresses()

import torch

# As in bench/src/gemm-candidate.ts.
SIDE = {"fp32": 2048, "bf16": 4096}

torch.set_num_threads(SPEC["threads"])
dtype = torch.bfloat16 if SPEC["precision"] == "bf16" else torch.float32
a, b, product = (torch.full((SIDE[SPEC["precision"]],) * 2, 1e-3, dtype=dtype) for _ in range(3))


def step():
    torch.mm(a, b, out=product)
    return 0.0


serve(f"PyTorch {torch.__version__} mm, {SPEC['precision']}, {SPEC['threads']} threads", step)
