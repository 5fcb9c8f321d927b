"""One rank of PyTorch's gloo all-reduce, in rounds with bench/src/all-reduce.ts, which starts it.

Answers each line {"mib": n, "repeats": n} of its input with the seconds of every all-reduce.
"""

import json
import sys
import time

try:
    import torch
    import torch.distributed as dist
except ImportError:
    sys.exit(f"the all-reduce of gloo needs PyTorch: run `{sys.executable} -m pip install torch`, or set WEFT_BENCH_PYTHON")


def send(message):
    print(json.dumps(message), flush=True)


def main():
    dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    send({"version": torch.__version__})
    for line in sys.stdin:
        task = json.loads(line)
        if "mib" not in task:
            break
        values = torch.full((int(task["mib"] * 2**18),), float(rank + 1))
        dist.all_reduce(values)
        assert bool((values == world_size * (world_size + 1) / 2).all())
        values.zero_()
        seconds = []
        for _ in range(task["repeats"]):
            dist.barrier()
            start = time.perf_counter()
            dist.all_reduce(values)
            seconds.append(time.perf_counter() - start)
        send({"seconds": seconds})
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
