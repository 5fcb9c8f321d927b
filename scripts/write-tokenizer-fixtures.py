#!/usr/bin/env python3
"""Trains a small tokenizer of every family that language models use, with Python's own library, and writes each beside the ids
that it gives odd texts. Needs tokenizers. Usage: write-tokenizer-fixtures.py FOLDER

Test: packages/data/src/formats/python-tokenizers.test.ts, on the files in packages/data/fixtures/tokenizers.
"""
import json, os, random, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

out = sys.argv[1]
CORPUS = (
    ['the loom weaves a plain cloth of many threads, and the weaver counts them again and again.'] * 40
    + ["It's what they'd said: we've 1,234 threads in 56.78 rows; don't count the 9th!"] * 30
    + ['naïve façade, Größe, señor, Ångström, dvě tkaniny, плетёная ткань, ύφασμα, नमस्ते दुनिया, สวัสดี, שלום, مرحبا'] * 20
    + ['織物を織る機械は、糸を数える。 布料由许多线织成。 직물을 짜는 기계'] * 20
    + ['def weave(threads):\n    return [t * 2 for t in threads]  # twice\n\n'] * 20
    + ['🧵🧶 👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 ﬁ ½ ™'] * 10
)
SPECIAL = ['<unk>', '<s>', '</s>', '<pad>']


def odd_texts():
    """200 texts: what people write, what breaks tokenizers, and random mixtures of both."""
    texts = [
        '', ' ', '  ', '\n', '\n\n\n', '\t', '\r\n', ' a', 'a ', '  a  b  ', 'a\tb\nc', '\u00a0', '\u3000全角　空白', '\u200b\u200d\ufeff',
        'The loom weaves.', 'THE LOOM', 'tHe LoOm', "it's don't I'm we've they'd you'll", 'can’t won’t', '...', '?!?!', '---', '___a__b_',
        '1', '12', '123', '1234', '12345678901234567890', '3.14159', '1,000,000.00', '0x1F', '²³½', '٣٤٥', '１２３',
        'naïve façade', 'e\u0301 é', 'n\u0303ñ', 'Å\u212bA\u030a', 'ﬁ ﬂ', 'Straße STRASSE', 'İstanbul ısı', 'ǅ ǆ', 'Σίσυφος ΣΑΣ',
        '織物', '織物を織る', '布料由许多线织成', '직물을 짜는', 'ㅎㅏㄴ', 'สวัสดีชาวโลก', 'नमस्ते', 'שָׁלוֹם', 'مَرْحَبًا', 'ꙮ', '𐍈', '𝕬𝖇𝖈', '㍿',
        '🧵', '🧵🧶🧵', '👩‍👩‍👧‍👦', '🏳️‍🌈', '👍🏽', '🇨🇿🇪🇺', '☃️', '\U0010ffff', '\ue000', '\ufffd', '\u0000', '\u0001\u0002', '\u001b[31m', '\x7f', '\u2028\u2029',
        '<unk>', '<s>', '</s>', '<pad>', '<s>a</s>', 'a<unk>b', '< s >', '<|endoftext|>', '[UNK]', '[CLS] a [SEP]', '##ing', '▁', '▁a', 'a▁b', '▁▁', 'Ġa', 'Ċ', '<0x41>', '<0x0A>',
        'def weave(threads):\n    return [t * 2 for t in threads]', '\tif (a&&b) {\n\t\treturn;\n\t}', '{"a": [1, 2, {"b": null}]}', '<a href="x">y</a>', 'https://example.org/a?b=c&d=%20#e', 'user@example.org',
        'C:\\weave\\loom.txt', '$x^2 + y_1 = \\frac{1}{2}$', '| a | b |\n|---|---|', '# Title\n\n* one\n* two', 'a' * 50, 'ab' * 60, ' ' * 33, '\n' * 9, '!' * 20, 'x' * 130 + ' y', '🧵' * 20, '織' * 30,
        'word' + '\u0301' * 12, 'a\u0300\u0301\u0302b', 'مـــد', 'a\u00adb', 'a\u2060b', '“quotes” ‘single’ «guillemets»', '—–-−', '…', '€£¥', '№ ℃ ™', 'ａｂｃ', 'ｶﾀｶﾅ',
    ]
    draw = random.Random(7)
    pieces = [t for t in texts if t and len(t) < 40] + CORPUS[0].split() + CORPUS[70].split()
    while len(texts) < 200:
        texts.append(draw.choice(['', ' ', '\n', '  ']).join(draw.choice(pieces) for _ in range(draw.randint(2, 8))))
    return texts


def train(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None):
    tokenizer = Tokenizer(model)
    if normalizer is not None: tokenizer.normalizer = normalizer
    if pre_tokenizer is not None: tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None: tokenizer.decoder = decoder
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def bytes_of_vocabulary(size):
    return [f'<0x{byte:02X}>' for byte in range(256)][:size]


def gpt2():
    tokenizer = train(models.BPE(), trainers.BpeTrainer(vocab_size=600, special_tokens=['<|endoftext|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
                        pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False), decoder=decoders.ByteLevel())
    return tokenizer


def llama3():
    """Also Qwen's: words are split by its expression, and a word of the vocabulary needs no merges."""
    expression = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer = train(models.BPE(), trainers.BpeTrainer(vocab_size=600, special_tokens=['<|endoftext|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
                        pre_tokenizer=split, decoder=decoders.ByteLevel())
    description = json.loads(tokenizer.to_str())
    description['model']['ignore_merges'] = True
    return Tokenizer.from_str(json.dumps(description))


def llama2():
    """BPE over characters of the whole text, with bytes for what it lacks: also Mistral's first."""
    normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)])
    # Words are what it learns from, as with sentencepiece: on whole texts the merges would be whole sentences.
    learnt = train(models.BPE(unk_token='<unk>'), trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, limit_alphabet=120, show_progress=False),
                     pre_tokenizer=pre_tokenizers.Metaspace(replacement='▁', prepend_scheme='always'))
    model = json.loads(learnt.to_str())['model']
    vocabulary = {token: at for at, token in enumerate(SPECIAL + bytes_of_vocabulary(256))}
    for token in sorted(model['vocab'], key=model['vocab'].get):
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge) for merge in model['merges']], unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return tokenizer


def unigram():
    """T5's and Llama 1's kin from sentencepiece."""
    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(' {2,}'), ' ')])
    learnt = train(models.Unigram(), trainers.UnigramTrainer(vocab_size=400, special_tokens=SPECIAL, unk_token='<unk>', show_progress=False), normalizer=normalizer,
                     pre_tokenizer=pre_tokenizers.Metaspace(replacement='▁', prepend_scheme='always'))
    pieces = [tuple(piece) for piece in json.loads(learnt.to_str())['model']['vocab']]
    lowest = min(score for _, score in pieces)
    known = {piece for piece, _ in pieces}
    pieces += [(token, lowest - 1) for token in bytes_of_vocabulary(256) if token not in known]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement='▁', prepend_scheme='always')
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement='▁', prepend_scheme='always')])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return tokenizer


def wordpiece():
    """BERT's, uncased."""
    special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    return train(models.WordPiece(unk_token='[UNK]', max_input_chars_per_word=100), trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False),
                   normalizer=normalizers.BertNormalizer(lowercase=True), pre_tokenizer=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece())


texts = odd_texts()
for make in [gpt2, llama3, llama2, unigram, wordpiece]:
    tokenizer = make()
    # A special token that a text spells is text here, as in Weft.
    tokenizer.encode_special_tokens = True
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    with open(os.path.join(out, f'{make.__name__}.tokenizer.json'), 'w') as file:
        file.write(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(',', ':')) + '\n')
    with open(os.path.join(out, f'{make.__name__}.ids.json'), 'w') as file:
        file.write('[' + ',\n'.join(json.dumps(each, separators=(',', ':')) for each in ids) + ']\n')
    print(make.__name__, tokenizer.get_vocab_size(), sum(map(len, ids)))
with open(os.path.join(out, 'texts.json'), 'w') as file:
    file.write('[' + ',\n'.join(json.dumps(text) for text in texts) + ']\n')
