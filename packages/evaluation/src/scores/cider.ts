import { captionTokens } from './caption-tokens.js';

/** N-grams of up to this many words are compared. */
const LONGEST_NGRAM = 4;
/** Of the Gaussian that punishes a difference in length. */
const SIGMA = 6;

/**
 * CIDEr-D as the evaluation code of COCO captions computes it (Vedantam, Zitnick and Parikh, 2015): the similarity of a
 * caption to the reference captions of its image, by the n-grams they share. An n-gram counts the less, the more images
 * have it in a reference; so a score depends on the references of all images, and is 0 where there is one image alone.
 */
export class Cider {
  /** The images whose references have an n-gram. */
  readonly #images = new Map<string, number>();
  readonly #references: readonly (readonly string[])[];
  readonly #logImages: number;

  /** @param references the reference captions of every image, at least one for each */
  constructor(references: readonly (readonly string[])[]) {
    this.#logImages = Math.log(references.length);
    // Their n-grams are counted again when they are compared: kept, they would be the largest part of an evaluation.
    this.#references = references;
    for (const captions of references) {
      const counted = captions.flatMap((caption) => countNgrams(captionTokens(caption)).byLength);
      for (const ngram of new Set(counted.flatMap((counts) => [...counts.keys()])))
        this.#images.set(ngram, (this.#images.get(ngram) ?? 0) + 1);
    }
  }

  /**
   * @param image its number among the references
   * @returns 0 to 10, where papers print a hundred times as much
   */
  score(image: number, caption: string): number {
    const candidate = this.#weigh(countNgrams(captionTokens(caption)));
    const references = this.#references[image] ?? [];
    const weighed = references.map((each) => this.#weigh(countNgrams(captionTokens(each))));
    const sum = weighed.reduce((total, each) => total + similarity(candidate, each), 0);
    return (10 * sum) / references.length;
  }

  #weigh({ byLength, length }: Counts): Weights {
    const weights = byLength.map((counts) => {
      const weighted = new Map<string, number>();
      let squares = 0;
      for (const [ngram, count] of counts) {
        const weight = count * (this.#logImages - Math.log(this.#images.get(ngram) ?? 1));
        weighted.set(ngram, weight);
        squares += weight * weight;
      }
      return { weighted, norm: Math.sqrt(squares) };
    });
    return { byLength: weights, length };
  }
}

/** The n-grams of a caption, by their number of words. */
interface Counts {
  readonly byLength: readonly ReadonlyMap<string, number>[];
  /** Pairs of neighbouring words: what the reference implementation takes for the length of a caption. */
  readonly length: number;
}

interface Weights {
  readonly byLength: readonly { readonly weighted: ReadonlyMap<string, number>; readonly norm: number }[];
  readonly length: number;
}

function countNgrams(words: readonly string[]): Counts {
  const byLength = Array.from({ length: LONGEST_NGRAM }, (_, n) => {
    const counts = new Map<string, number>();
    for (let i = 0; i + n < words.length; i++) {
      const ngram = words.slice(i, i + n + 1).join(' ');
      counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
    }
    return counts;
  });
  return { byLength, length: Math.max(0, words.length - 1) };
}

/** The mean over n of the cosines, where no n-gram of the candidate counts more than it does in the reference. */
function similarity(candidate: Weights, reference: Weights): number {
  const penalty = Math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA ** 2));
  let sum = 0;
  for (const [n, { weighted, norm }] of candidate.byLength.entries()) {
    const other = reference.byLength[n];
    if (other === undefined || norm === 0 || other.norm === 0) continue;
    let product = 0;
    for (const [ngram, weight] of weighted) {
      const reference = other.weighted.get(ngram) ?? 0;
      product += Math.min(weight, reference) * reference;
    }
    sum += product / (norm * other.norm);
  }
  return (penalty * sum) / LONGEST_NGRAM;
}
