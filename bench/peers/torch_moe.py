"""The MoE layer in PyTorch, forwards and backwards; bench/src/moe starts it.

Three ways of it, which give the same numbers: `loop` goes from expert to expert with index_add, as published models
do; `batched` lays the tokens out as [experts, slots, width] and multiplies all experts at once; `compiled` is the
latter under torch.compile.

Legend: R tokens, D width, E experts, C slots of an expert, F feed-forward width, 2 choices of every token.
"""

import os
import sys

import torch
import torch.nn.functional as F
from candidate import SPEC, answer_rounds, read_tensors, send
from torch import nn

GATE_EPSILON = 1e-9


class Router(nn.Module):
    """Top-2 gating: gates renormalised before drops, first choices placed before second ones."""

    def __init__(self, weight_DE, size, moe):
        super().__init__()
        self.weight = nn.Parameter(weight_DE)
        self.experts, self.moe = size["experts"], moe
        self.capacity = max(1, int(size["tokens"] * moe["capacityFactor"] / self.experts))

    def forward(self, x_RD):
        with torch.autocast("cpu", enabled=False):
            logits_RE = x_RD.float() @ self.weight
            p_RE = logits_RE.softmax(-1)
            p_R2, expert_R2 = p_RE.topk(2, dim=-1)
            gate_R2 = p_R2 / (p_R2.sum(-1, keepdim=True) + GATE_EPSILON)
            with torch.no_grad():
                marks_KE = F.one_hot(expert_R2.t().reshape(-1), self.experts)
                position_K = ((marks_KE.cumsum(0) - marks_KE) * marks_KE).sum(-1)
                position_R2 = position_K.view(2, -1).t()
                kept_R2 = position_R2 < self.capacity
                density_E = marks_KE[: len(x_RD)].float().mean(0)
            balance = self.experts * (density_E * p_RE.mean(0)).sum()
            z = logits_RE.logsumexp(-1).square().mean()
            # Per text target, as in training: every token of the bench is one.
            aux = len(x_RD) * (self.moe["loadBalanceWeight"] * balance + self.moe["routerZWeight"] * z)
            return gate_R2, expert_R2, position_R2, kept_R2, aux


class Experts(nn.Module):
    """SwiGLU experts; gate and up lie side by side, so that one product computes both."""

    def __init__(self, gate_EDF, up_EDF, down_EFD):
        super().__init__()
        self.gate_up = nn.Parameter(torch.cat((gate_EDF, up_EDF), -1).contiguous())
        self.down = nn.Parameter(down_EFD)

    def batched(self, x_ECD):
        gate, up = torch.bmm(x_ECD, self.gate_up).chunk(2, -1)
        return torch.bmm(F.silu(gate) * up, self.down)

    def one(self, expert, x_CD):
        gate, up = (x_CD @ self.gate_up[expert]).chunk(2, -1)
        return (F.silu(gate) * up) @ self.down[expert]


class Layer(nn.Module):
    def __init__(self, tensors, size, moe, mode):
        super().__init__()
        self.router = Router(tensors["router"], size, moe)
        self.experts = Experts(tensors["gate"], tensors["up"], tensors["down"])
        self.computed = self.loop if mode == "loop" else self.batched

    def forward(self, x_RD):
        gate_R2, expert_R2, position_R2, kept_R2, aux = self.router(x_RD)
        return self.computed(x_RD, gate_R2, expert_R2, position_R2, kept_R2), aux

    def loop(self, x_RD, gate_R2, expert_R2, position_R2, kept_R2):
        out_RD = torch.zeros_like(x_RD)
        chosen_R2 = expert_R2.masked_fill(~kept_R2, -1)
        for expert in range(self.router.experts):
            token, choice = torch.where(chosen_R2 == expert)
            y_CD = self.experts.one(expert, x_RD[token]) * gate_R2[token, choice, None]
            out_RD.index_add_(0, token, y_CD.to(out_RD.dtype))
        return out_RD

    def batched(self, x_RD, gate_R2, expert_R2, position_R2, kept_R2):
        R, D = x_RD.shape
        E, C = self.router.experts, self.router.capacity
        slot_R2 = torch.where(kept_R2, expert_R2 * C + position_R2, E * C)
        token_N = torch.zeros(E * C + 1, dtype=torch.long)
        token_N[slot_R2.reshape(-1)] = torch.arange(R).repeat_interleave(2)
        x_ECD = x_RD[token_N[:-1]].view(E, C, D)
        y_ND = self.experts.batched(x_ECD).view(E * C, D)
        weight_R2 = gate_R2 * kept_R2
        rows_R2D = y_ND[slot_R2.clamp(max=E * C - 1)]
        return (rows_R2D * weight_R2[..., None]).sum(1)


def fingerprint(tensor):
    """See bench/src/moe/fingerprint.ts."""
    values = tensor.detach().double().flatten()
    i = torch.arange(values.numel(), dtype=torch.float64)
    projections = [(values * (frequency * i).cos()).sum().item() for frequency in (0.7, 1.3)]
    return {"norm": values.norm().item(), "projections": projections}


def main():
    torch.set_num_threads(SPEC["threads"])
    size, mode = SPEC["size"], SPEC["mode"]
    tensors = {
        name: torch.frombuffer(values, dtype=torch.float32).view(shape).clone()
        for name, shape, values in read_tensors(SPEC["fixture"])
    }
    layer = Layer(tensors, size, SPEC["moe"], mode)
    x_RD = tensors["input"].requires_grad_()
    direction_RD = tensors["direction"]
    forward = torch.compile(layer) if mode == "compiled" else layer
    output = None

    def step():
        nonlocal output
        x_RD.grad = None
        layer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=SPEC["precision"] == "bf16"):
            output, aux = forward(x_RD)
        objective = (output.float() * direction_RD).sum() + aux
        objective.backward()
        return objective.item()

    step()
    gate, up = layer.experts.gate_up.grad.chunk(2, -1)
    results = {
        "output": output,
        "input": x_RD.grad,
        "router": layer.router.weight.grad,
        "gate": gate,
        "up": up,
        "down": layer.experts.down.grad,
    }
    send(
        {
            "engine": f"PyTorch {torch.__version__} {mode}, {SPEC['precision']}, {SPEC['threads']} threads",
            "results": {name: fingerprint(tensor) for name, tensor in results.items()},
        }
    )
    answer_rounds(step)
    # Threads of the inductor's compiler would hold the process back.
    sys.stdout.flush()
    os._exit(0)


main()
