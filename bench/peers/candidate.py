"""What the peers share: the fixture's tensors, and the conversation with the bench.

Every peer starts from the weights and batches of the fixture, takes steps when it is told to on its standard input,
and answers with their durations; see bench/src/candidate-spec.ts for the messages.
"""

import array
import json
import math
import os
import re
import resource
import struct
import sys
import time

SPEC = json.loads(sys.argv[1])


def read_tensors(path):
    """Yields (name, shape, float32 values) of every tensor of a safetensors file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        start = 8 + length
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, end = entry["data_offsets"]
            file.seek(start + first)
            yield name, entry["shape"], array.array("f", file.read(end - first))


def load(wrap, rank):
    """The weights by name, and the rank's batch by field, each made a tensor with `wrap(shape, values)`."""
    weights, batch, noise = {}, {}, None
    mine = f"batch/{rank}/"
    for name, shape, values in read_tensors(SPEC["fixture"]):
        if name.startswith(mine):
            batch[name[len(mine) :]] = wrap(shape, values)
        elif name == "noise":
            noise = values
        elif not name.startswith("batch/"):
            weights[name] = wrap(shape, values)
    if noise is not None:
        weights.update(patterned_weights(wrap, noise))
    return weights, batch


def patterned_weights(wrap, noise):
    """The weights that the fixture describes as cuts of its noise; see bench/src/fixture.ts."""
    with open(SPEC["fixture"] + ".patterns.json", encoding="ascii") as file:
        patterns = json.load(file)
    for pattern in patterns:
        shape = pattern["shape"]
        count = math.prod(shape)
        if "value" in pattern:
            yield pattern["name"], wrap(shape, array.array("f", [pattern["value"]]) * count)
            continue
        turned = noise[pattern["offset"] :] + noise[: pattern["offset"]]
        repeats = -(-count // len(noise))
        yield pattern["name"], wrap(shape, (turned * repeats)[:count]) * pattern["scale"]


def decays(name):
    """Whether weight decay pulls at a parameter: not at norms, biases and learned positions."""
    return re.search(r"(norm|Norm|gain|bias|positions)$", name) is None


def serve(engine, step, compile_seconds=lambda first_step_seconds: {}, device_memory=lambda: {}):
    """Takes the first step, then answers the bench until it says goodbye. `step()` returns the loss.

    The two functions give, if they can, `compileSeconds` and `peakDeviceBytes` of the messages.
    """
    start = time.perf_counter()
    first_loss = step()
    compiled = compile_seconds(time.perf_counter() - start)
    seconds = time.time() - SPEC["startedAtMs"] / 1000
    send({"engine": engine, "firstLoss": first_loss, "secondsToFirstStep": seconds, **compiled})
    answer_rounds(step)
    send({"peakBytes": peak_bytes(), **device_memory()})


def answer_rounds(step):
    """Takes as many timed steps as each line asks for, until a line asks for none. `step()` returns the loss."""
    for line in sys.stdin:
        round = json.loads(line)
        if "steps" not in round:
            break
        step_seconds, losses = [], []
        cpu_before = cpu_seconds()
        for _ in range(round["steps"]):
            start = time.perf_counter()
            losses.append(step())
            step_seconds.append(time.perf_counter() - start)
        send({"stepSeconds": step_seconds, "losses": losses, "cpuSeconds": cpu_seconds() - cpu_before})


def exchange_addresses():
    """The first words; whoever needs an address has it from the environment."""
    send({})
    sys.stdin.readline()


def send(message):
    print(json.dumps(message), flush=True)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes():
    """The most memory this process ever held; Linux's ru_maxrss would include the parent it was forked from."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return int(re.search(r"^VmHWM:\s+(\d+) kB$", status.read(), re.MULTILINE).group(1)) * 1024
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
