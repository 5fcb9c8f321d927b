#!/usr/bin/env python3
"""Writes small data sets with Python's own libraries, as people publish them, and what must be read of them.

Needs pyarrow, webdataset, zstandard, Pillow, numpy and tokenizers. Usage: write-data-sets.py FOLDER
Test: packages/data/src/index/published-data.python.test.ts
"""
import io, json, os, sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds
import zstandard
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

out = sys.argv[1]
WORDS = 'the loom weaves a plain cloth of many threads, naïve façade 織物 🧵'.split()


def text(i):
    return ' '.join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(3 + i % 9)) + f' {i}.\n'


def picture(seed, size=(40, 30)):
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    a = np.stack([x * 5 + seed * 11, y * 7, (x + y) * 3 + seed], -1) % 256
    b = io.BytesIO()
    Image.fromarray(a.astype('uint8')).save(b, 'JPEG', quality=90)
    return b.getvalue()


def folder(*names):
    path = os.path.join(out, *names)
    os.makedirs(path, exist_ok=True)
    return path


expected = {}

# FineWeb: a column of text among others, in several row groups; C4 and others in every packing that pyarrow has.
rows = [text(i) for i in range(60)]
table = pa.table({
    'text': rows,
    'id': [f'<urn:uuid:{i}>' for i in range(60)],
    'url': [f'https://x.org/{i}' for i in range(60)],
    'language_score': [i / 60 for i in range(60)],
    'token_count': list(range(60)),
})
pq.write_table(table, os.path.join(folder('fineweb', 'text', 'data', 'CC-MAIN-2024-10'), '000_00000.parquet'), compression='zstd', row_group_size=25)
expected['fineweb'] = rows
packings = {}
for codec in ['none', 'snappy', 'gzip', 'brotli', 'lz4', 'zstd']:
    for version in ['1.0', '2.0']:
        for dictionary in [True, False]:
            name = f'{codec}-{version}-{dictionary}.parquet'
            part = [f'{name} {t}' for t in rows[:9]] + [name] * 3
            pq.write_table(pa.table({'text': part}), os.path.join(folder('packings', 'text'), name), compression=codec,
                           data_page_version=version, use_dictionary=dictionary, row_group_size=5)
            packings[name] = part
large = pa.table({'content': pa.array(rows[:5], pa.large_string())})
pq.write_table(large, os.path.join(folder('packings-column', 'text'), 'large.parquet'))
expected['packings'] = [t for name in sorted(packings) for t in packings[name]]
expected['packings-column'] = rows[:5]

# C4: packed lines.
lines = b''.join(json.dumps({'text': t, 'timestamp': 'x'}).encode() + b'\n' for t in rows)
import gzip
with open(os.path.join(folder('c4', 'text'), 'c4-train.00000-of-01024.json.gz'), 'wb') as f:
    f.write(gzip.compress(lines))
half = lines.index(b'\n', len(lines) // 2) + 1
with open(os.path.join(folder('pile', 'text'), '00.jsonl.zst'), 'wb') as f:
    # One frame with its size, one that was streamed, with a checksum.
    f.write(zstandard.ZstdCompressor(level=3).compress(lines[:half]))
    stream = zstandard.ZstdCompressor(level=19, write_checksum=True).compressobj()
    f.write(stream.compress(lines[half:]) + stream.flush())
expected['c4'] = expected['pile'] = rows

# img2dataset: shards of webdataset with descriptions, a table and statistics beside them.
captions = [f'a picture of {text(i).strip()}' for i in range(12)]
shards = folder('img2dataset', 'captioned')
for shard in range(2):
    with wds.TarWriter(os.path.join(shards, f'{shard:05d}.tar')) as tar:
        for i in range(shard * 6, shard * 6 + 6):
            key = f'{shard:05d}{i % 6:04d}'
            tar.write({'__key__': key, 'jpg': picture(i), 'txt': captions[i],
                       'json': {'caption': captions[i], 'url': f'https://x.org/{i}.jpg', 'key': key, 'status': 'success',
                                'error_message': None, 'width': 40, 'height': 30, 'exif': '{}', 'similarity': float('nan')}})
    pq.write_table(pa.table({'url': ['x'], 'caption': ['y']}), os.path.join(shards, f'{shard:05d}.parquet'))
    json.dump({'count': 6}, open(os.path.join(shards, f'{shard:05d}_stats.json'), 'w'))
expected['img2dataset'] = captions

# OBELICS: documents as rows, images by URL, fetched with img2dataset or with wget.
documents = []
told = []
for i in range(6):
    texts = [text(i), None, text(i + 1), None] if i % 2 == 0 else [None, text(i)]
    images = [None, f'https://x.org/{i}a.jpg', None, f'https://x.org/{i}b.jpg'] if i % 2 == 0 else [f'https://x.org/{i}a.jpg', None]
    documents.append({'images': images, 'texts': texts, 'metadata': json.dumps([None] * len(texts)), 'general_metadata': '{}'})
    told.append(''.join(t if t is not None else f'<{u}>' for t, u in zip(texts, images)))
pq.write_table(pa.Table.from_pylist(documents), os.path.join(folder('obelics', 'interleaved'), 'train-00000-of-00001.parquet'))
with wds.TarWriter(os.path.join(folder('obelics', 'interleaved', 'fetched'), 'images.tar')) as tar:
    for i in range(6):
        for j, letter in enumerate('ab' if i % 2 == 0 else 'a'):
            tar.write({'__key__': f'{i}-{j}', 'jpg': picture(i * 2 + j), 'json': {'url': f'https://x.org/{i}{letter}.jpg'}})
expected['obelics'] = told

# Token ids.
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer.train_from_iterator(rows, trainers.BpeTrainer(vocab_size=400, show_progress=False,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=['<|endoftext|>']))
tokenizer.save(os.path.join(out, 'tokenizer.json'))
expected['ids'] = [tokenizer.encode(t, add_special_tokens=False).ids for t in rows]

json.dump(expected, open(os.path.join(out, 'expected.json'), 'w'))
