"""Prints scores.json: the numbers that CIDEr and VQA accuracy are compared with, from their public implementations.

python3 -m venv v && v/bin/pip install pycocoevalcap==1.2 numpy && v/bin/pip download --no-deps open-flamingo==2.0.1
v/bin/python scores.py open_flamingo-2.0.1-py3-none-any.whl > scores.json        (needs java)

CIDEr: 200 images, each with 1 to 6 references and a candidate, through pycocoevalcap's PTBTokenizer (Stanford CoreNLP
3.4.1) and Cider. VQA: 200 questions. Both normalisations of answers are open-flamingo's, a copy of the official ones; the
leave-one-out mean, and that answers are normalised only where annotators differ, are written here again, as in
github.com/GT-Vision-Lab/VQA.
"""

import json
import random
import sys
import zipfile

from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

rng = random.Random(15)

SUBJECTS = ["a man", "A woman", "two dogs", "The cat", "people", "a young boy's kite", "an elephant", "Several cows", "a red double-decker bus", "it's a train", "1,000 birds", "Mr. Smith", "a t-shirt", "three 4x4 trucks"]
VERBS = ["is sitting", "stands", "are running", "can't see", "doesn't move", "rides", "holds", "is looking", "were playing", "that's flying", "cannot jump", "is gonna eat"]
PLACES = ["on a bench", "in the park", "next to a \"stop\" sign", "at 5:30 p.m.", "on Main St. in the U.S.", "with a black-and-white ball", "(in the snow)", "near the street's corner", "under an umbrella", "for $5.99", "by the sea-side", "in front of a grey house", "on top of a 1/2 eaten pizza", "w/ friends & family", "on St. Patrick's Day"]
ENDS = ["", ".", " .", "!", "...", ", smiling.", "; it is sunny.", " -- what a day!", " and another one."]


def caption():
    words = f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(PLACES)}"
    if rng.random() < 0.5:
        words += f" {rng.choice(PLACES)}"
    return words + rng.choice(ENDS)


def varied(text):
    """A caption that shares n-grams with another one."""
    words = text.split()
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(words))
        kind = rng.randrange(3)
        if kind == 0 and len(words) > 2:
            del words[at]
        elif kind == 1:
            words.insert(at, rng.choice(words))
        else:
            words[at] = rng.choice(caption().split())
    return " ".join(words)


def cider_cases():
    cases = []
    for i in range(200):
        first = caption()
        references = [first] + [varied(first) if rng.random() < 0.6 else caption() for _ in range(rng.randrange(6))]
        candidate = rng.choice([first, varied(first), varied(rng.choice(references)), caption()])
        cases.append(dict(references=references, candidate=candidate))
    cases[7]["candidate"] = ""
    cases[8]["candidate"] = "..."
    tokenizer = PTBTokenizer()
    gts = tokenizer.tokenize({i: [dict(caption=c) for c in case["references"]] for i, case in enumerate(cases)})
    # The tokenizer loses a trailing empty line, so an empty candidate is put in by hand.
    res = tokenizer.tokenize({i: [dict(caption=case["candidate"] or "empty")] for i, case in enumerate(cases)})
    res[7] = [""]
    mean, scores = Cider().compute_score(gts, res)
    for i, case in enumerate(cases):
        case.update(tokens=res[i][0].split(), score=float(scores[i]))
    return dict(mean=float(mean), cases=cases)


WORDS = ["yes", "no", "red", "blue", "two", "none", "ten", "a dog", "the cat", "an apple", "dont know", "it's", "its", "cant", "couldn'tve", "shed've", "they're", "10", "3.5", "1,000", "1, 000", "u.s.a.", "st. john's", "black/white", "black and white", "t-shirt", "t - shirt", "left-handed", "Yes", "NO", "none!", "what?", "@home", "(maybe)", "10:30", "Id've", "somebody'd", "y'allll", "ow's'at", "100%", "a", "the", "", "5.", ".5", "one two", "e.g.", "  spaces  ", "tab\there", "new\nline", "hes", "oclock", "\"quoted\"", "`tick`", "a_b", "x=y+z", "[list]", "{set}", "back\\slash", "<tag>", "semi;colon", "wait!! now", "Zero", "man's", "..........................................", "İstanbul", "ÉCOLE", "two.5"]


def load_official(wheel):
    source = zipfile.ZipFile(wheel).read("open_flamingo/eval/vqa_metric.py").decode()
    module = {}
    exec(compile(source, "vqa_metric.py", "exec"), module)

    class Ids:
        def getQuesIds(self):
            return []

    return module["VQAEval"](Ids(), Ids())


def vqa_cases(official):
    def normalise(answer):
        return official.processDigitArticle(official.processPunctuation(answer))

    def clean(answer):
        return answer.replace("\n", " ").replace("\t", " ").strip()

    cases = []
    for i in range(200):
        few = [rng.choice(WORDS) for _ in range(rng.choice([1, 1, 2, 3, 5]))]
        answers = [rng.choice(few) for _ in range(10 if i % 4 else rng.choice([2, 3, 5, 10]))]
        answer = rng.choice(few + [rng.choice(few).upper(), f"the {rng.choice(few)}.", rng.choice(WORDS)])
        given, own = [clean(each) for each in answers], clean(answer)
        if len(set(given)) > 1:
            given, own = [normalise(each) for each in given], normalise(own)
        accuracies = []
        for left_out in range(len(given)):
            others = given[:left_out] + given[left_out + 1 :]
            accuracies.append(min(1, float(len([each for each in others if each == own])) / 3))
        accuracy = float(sum(accuracies)) / len(accuracies)
        cases.append(dict(answer=answer, answers=answers, normalised=normalise(clean(answer)), accuracy=accuracy))
    return cases


print(json.dumps(dict(cider=cider_cases(), vqa=vqa_cases(load_official(sys.argv[1]))), indent=1, ensure_ascii=False))
