import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { captionTokens } from './caption-tokens.js';
import { Cider } from './cider.js';
import { normaliseAnswer, vqaAccuracy } from './vqa-accuracy.js';

/** Made by `scores.py` beside it, from the public Python implementations. */
const fixture: {
  readonly cider: {
    readonly mean: number;
    readonly cases: readonly {
      readonly references: readonly string[];
      readonly candidate: string;
      readonly tokens: readonly string[];
      readonly score: number;
    }[];
  };
  readonly vqa: readonly {
    readonly answer: string;
    readonly answers: readonly string[];
    readonly normalised: string;
    readonly accuracy: number;
  }[];
} = JSON.parse(readFileSync(new URL('../../test-fixtures/scores.json', import.meta.url), 'utf8'));

describe('CIDEr', () => {
  const { cases, mean } = fixture.cider;
  const cider = new Cider(cases.map(({ references }) => references));

  it('reads the words of a caption as the Penn Treebank tokenizer does, on 200 generated captions', () => {
    for (const { candidate, tokens } of cases)
      expect([candidate, captionTokens(candidate)]).toEqual([candidate, tokens]);
  });

  it('equals the reference implementation to 1e-6, on 200 generated captions and in their mean', () => {
    const scores = cases.map(({ candidate }, image) => cider.score(image, candidate));
    for (const [image, { score }] of cases.entries()) expect(Math.abs(scores[image]! - score)).toBeLessThan(1e-6);
    expect(Math.abs(scores.reduce((sum, each) => sum + each, 0) / scores.length - mean)).toBeLessThan(1e-6);
  });

  it('is 10 for the only reference itself, and 0 for a caption that shares nothing or has no words', () => {
    const two = new Cider([['a brown dog runs on grass'], ['two white cats sleep inside']]);
    expect(two.score(0, 'A brown dog runs on grass.')).toBeCloseTo(10, 9);
    expect(two.score(0, 'two white cats sleep inside')).toBe(0);
    expect(two.score(0, '')).toBe(0);
  });

  it.each([
    ["It isn't the dogs' ball, they're gonna say.", "it is n't the dogs ball they 're gon na say"],
    ['a 4x4 truck (in St. Louis) for $5.99…', 'a 4x4 truck -lrb- in st. louis -rrb- for $ 5.99'],
    ['“smart” quotes — and a 👍 sign, medium-dark', 'smart quotes and a sign medium-dark'],
    ['  spaces\n and\tlines ', 'spaces and lines'],
  ])('reads %j as the tokenizer does', (caption, words) => {
    expect(captionTokens(caption).join(' ')).toBe(words);
  });
});

describe('VQA accuracy', () => {
  it('equals the official evaluation exactly, on 200 generated questions', () => {
    for (const { answer, answers, accuracy } of fixture.vqa)
      expect([answer, answers, vqaAccuracy(answer, answers)]).toEqual([answer, answers, accuracy]);
  });

  it('normalises answers as the official evaluation does', () => {
    for (const { answer, normalised } of fixture.vqa)
      expect([answer, normaliseAnswer(answer.replace(/[\n\t]/g, ' '))]).toEqual([answer, normalised]);
  });

  it('counts a third for each other annotator who agrees, and takes the mean over those left out', () => {
    const answers = (yes: number) => [...Array<string>(yes).fill('yes'), ...Array<string>(10 - yes).fill('no')];
    const accuracies = [0, 1, 2, 3, 4].map((yes) => vqaAccuracy('Yes.', answers(yes)));
    expect(accuracies.map((each) => Number(each.toFixed(9)))).toEqual([0, 0.3, 0.6, 0.9, 1]);
  });

  it('asks for just the answer of annotators who all wrote the same, and for an equal one where there is one answer', () => {
    expect(vqaAccuracy('The cat', Array<string>(10).fill('cat'))).toBe(0);
    expect(vqaAccuracy('cat', Array<string>(10).fill('cat'))).toBe(1);
    expect(vqaAccuracy('The cat', ['cat'])).toBe(1);
    expect(vqaAccuracy('dog', ['cat'])).toBe(0);
  });
});
