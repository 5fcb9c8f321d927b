"""WebDataset and PyTorch's DataLoader as one candidate of `npm run bench:data`: for every line it reads, it goes once through all
pictures: decode, resize, normalise, tokenise, batch. Prints the seconds of that. Its workers stay between rounds."""

import json
import sys
import time

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from tokenizers import Tokenizer

bench = json.loads(sys.argv[1])
size = bench["imageSize"]
torch.set_num_threads(1)
tokenizer = Tokenizer.from_file(bench["tokenizer"])
LENGTH = 32


def prepare(sample):
    image, caption = sample
    pixels = np.asarray(image.resize((size, size), Image.LANCZOS), dtype=np.float32)
    ids = tokenizer.encode(caption).ids[:LENGTH]
    row = np.zeros(LENGTH, dtype=np.int64)
    row[: len(ids)] = ids
    return torch.from_numpy(pixels / 127.5 - 1.0), torch.from_numpy(row)


dataset = (
    wds.WebDataset(bench["shards"], shardshuffle=False)
    .decode("pilrgb")
    .to_tuple("jpg", "txt")
    .map(prepare)
    .batched(bench["batch"])
)
loader = torch.utils.data.DataLoader(
    dataset, batch_size=None, num_workers=bench["workers"], persistent_workers=True, prefetch_factor=2
)

for line in sys.stdin:
    if line.strip() == "end":
        break
    began = time.perf_counter()
    images = sum(len(ids) for _, ids in loader)
    print(json.dumps({"images": images, "seconds": time.perf_counter() - began}), flush=True)
