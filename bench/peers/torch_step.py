"""A measured process of PyTorch: eager, torch.compile, or DistributedDataParallel over gloo; bench/src starts it."""

import os
import re

from candidate import SPEC, load, exchange_addresses, serve

exchange_addresses()

import torch
import torch.distributed as dist
from torch import nn
from torch_decoder import DecoderOnly
from torch_multimodal import Multimodal

IGNORED = -100
DEVICE = "cuda" if SPEC["device"] == "gpu" else "cpu"


def tensor(shape, values):
    return torch.frombuffer(values, dtype=torch.float32).view(shape).clone().to(DEVICE)


def prepare(batch, model):
    """Gives fields their shapes and dtypes. Targets outside the mask become the index that cross_entropy ignores."""
    shape = (model["batchSize"], model["sequenceLength"])
    ready = {}
    for name, values in batch.items():
        if name == "images_NHWC":
            size = model["images"]["vision"]["imageSize"]
            ready[name] = values.view(-1, size, size, 3)
        elif name != "lossMask_BT":
            ready[name] = values.view(shape).long()
    if "lossMask_BT" in batch:
        ready["targetIds_BT"][batch["lossMask_BT"].view(shape) == 0] = IGNORED
    return ready


def adamw(model, weights, config):
    """Fused AdamW. What PyTorch calls weight_decay is multiplied by the learning rate, Weft's is not."""
    undecayed = [p for name, p in model.named_parameters() if re.search(r"(norm|gain|bias|positions)$", name)]
    excluded = {id(p) for p in undecayed}
    decayed = [p for p in model.parameters() if id(p) not in excluded]
    total = sum(p.numel() for p in model.parameters())
    assert total == sum(w.numel() for w in weights.values()), "parameters were lost on the way"
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config["weightDecay"] / config["learningRate"]},
            {"params": undecayed, "weight_decay": 0.0},
        ],
        lr=config["learningRate"],
        betas=(config["beta1"], config["beta2"]),
        eps=config["epsilon"],
        fused=True,
    )


def main():
    torch.set_num_threads(SPEC["threads"])
    distributed = SPEC["worldSize"] > 1
    if distributed:
        dist.init_process_group("gloo")
    weights, batch = load(tensor, SPEC["rank"])
    batch = prepare(batch, SPEC["model"])
    model = (DecoderOnly if SPEC["model"]["images"] is None else Multimodal)(weights, SPEC["model"]).to(DEVICE)
    optimizer = adamw(model, weights, SPEC["optimizer"])
    parameters = list(model.parameters())
    del weights
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    forward = model
    if distributed:
        forward = nn.parallel.DistributedDataParallel(forward, gradient_as_bucket_view=True)
    if SPEC["mode"] != "eager":
        forward = torch.compile(forward)
    steps_taken = 0

    def step():
        nonlocal steps_taken
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=SPEC["precision"] == "bf16"):
            loss = forward(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, SPEC["optimizer"]["clipNorm"], foreach=True)
        optimizer.step()
        steps_taken += 1
        value = loss.item()
        # The loss of all ranks is needed once, for the comparison; later steps spare DDP the exchange.
        if distributed and steps_taken == 1:
            everywhere = torch.tensor(value)
            dist.all_reduce(everywhere)
            value = everywhere.item() / SPEC["worldSize"]
        return value

    backend = " DDP over gloo," if distributed else ""
    where = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{SPEC['threads']} threads"
    serve(
        f"PyTorch {torch.__version__} {SPEC['mode']},{backend} {SPEC['precision']}, {where}",
        step,
        # Nothing tells how long the compiler alone took; a later step is as nothing beside the first.
        lambda first_step: {"compileSeconds": first_step} if SPEC["mode"] != "eager" else {},
        lambda: {"peakDeviceBytes": torch.cuda.max_memory_allocated()} if DEVICE == "cuda" else {},
    )
    if distributed:
        dist.destroy_process_group()
    # Threads of the inductor's compiler would hold the process back.
    os._exit(0)


main()
