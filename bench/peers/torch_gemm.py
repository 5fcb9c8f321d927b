"""A measured process that does nothing but large matrix products in PyTorch: the peak of its own library."""

from candidate import SPEC, exchange_addresses, serve

exchange_addresses()

import torch

# As in bench/src/gemm-candidate.ts.
SIDE = {"cpu": {"fp32": 2048, "bf16": 4096}, "gpu": {"fp32": 4096, "bf16": 8192}}[SPEC["device"]][SPEC["precision"]]
PRODUCTS = {"cpu": 1, "gpu": 8}[SPEC["device"]]

torch.set_num_threads(SPEC["threads"])
torch.manual_seed(1)
kind = {
    "dtype": torch.bfloat16 if SPEC["precision"] == "bf16" else torch.float32,
    "device": "cuda" if SPEC["device"] == "gpu" else "cpu",
}
# On zeros and constants chips run faster than on numbers.
a, b = (torch.randn((SIDE, SIDE), **kind) * SIDE**-0.5 for _ in range(2))
product = torch.empty_like(a)


def step():
    for _ in range(PRODUCTS):
        torch.mm(a, b, out=product)
    if SPEC["device"] == "gpu":
        torch.cuda.synchronize()
    return 0.0


serve(f"PyTorch {torch.__version__} mm, {SPEC['precision']}, {SPEC['threads']} threads", step)
