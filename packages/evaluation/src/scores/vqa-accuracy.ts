/**
 * The accuracy of an answer as the evaluation code of VQA v2 computes it: for each annotator left out in turn, a third for
 * every other one who gave the same answer, at most 1; the mean over the annotators. Answers are normalised where the
 * annotators differ; where all wrote the same, the answer must be just that.
 *
 * Data sets with one answer to a question, such as GQA, have no others to agree with: the normalised answers are equal
 * or not.
 *
 * @param answers of the annotators, at least one
 * @returns 0 to 1
 */
export function vqaAccuracy(answer: string, answers: readonly string[]): number {
  const [first = ''] = answers;
  if (answers.length === 1) return normaliseAnswer(trimmed(answer)) === normaliseAnswer(trimmed(first)) ? 1 : 0;
  const given = answers.map(trimmed);
  const differ = given.some((each) => each !== given[0]);
  const compared = differ ? given.map(normaliseAnswer) : given;
  const own = differ ? normaliseAnswer(trimmed(answer)) : trimmed(answer);
  const matches = compared.filter((each) => each === own).length;
  // Leaving out one who agrees leaves one match less.
  const leftOut = compared.map((each) => Math.min(1, (each === own ? matches - 1 : matches) / 3));
  return leftOut.reduce((sum, each) => sum + each, 0) / leftOut.length;
}

/** An answer as answers are compared: small letters, digits for number words, no articles, little punctuation. */
export function normaliseAnswer(answer: string): string {
  return withoutPunctuation(answer)
    .toLowerCase()
    .split(/\s+/u)
    .map((word) => NUMBERS.get(word) ?? word)
    .filter((word) => word !== '' && !ARTICLES.has(word))
    .map((word) => CONTRACTIONS.get(word) ?? word)
    .join(' ');
}

const trimmed = (answer: string) => answer.replace(/[\n\t]/g, ' ').trim();

const PUNCTUATION = [...';/[]"{}()=+\\_-><@`,?!'];

/** The evaluation code passes a flag where the number of replacements belongs. */
const MOST_FULL_STOPS = 32;

/** A mark next to a space goes without a trace, else it leaves a space; all go where a comma stands between digits. */
function withoutPunctuation(answer: string): string {
  const hasThousands = /\p{Nd},\p{Nd}/u.test(answer);
  let stripped = answer;
  for (const mark of PUNCTUATION) {
    const isAtSpace = answer.includes(`${mark} `) || answer.includes(` ${mark}`);
    stripped = stripped.replaceAll(mark, isAtSpace || hasThousands ? '' : ' ');
  }
  let removed = 0;
  return stripped.replace(/\.(?!\p{Nd})/gu, (stop) => (removed++ < MOST_FULL_STOPS ? '' : stop));
}

const ARTICLES: ReadonlySet<string> = new Set(['a', 'an', 'the']);

const NUMBERS: ReadonlyMap<string, string> = new Map([
  ['none', '0'],
  ...['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'].map(
    (word, number): [string, string] => [word, `${number}`],
  ),
]);

/**
 * Contractions with their apostrophes. The list is the evaluation code's, with what is odd in it: some are missing, `I'd've`
 * and its like never match, because words are in small letters, and `somebody'd` loses its apostrophe.
 */
const CONTRACTIONS: ReadonlyMap<string, string> = new Map([
  ...`ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd
    they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've`
    .split(/\s+/)
    .map((word): [string, string] => [word.replaceAll("'", ''), word]),
  ...`couldn't've hadn't've he'd've it'd've mightn't've shouldn't've somebody'd've someone'd've something'd've there'd've
    they'd've we'd've who'd've wouldn't've you'd've she'd've`
    .split(/\s+/)
    .flatMap((word): [string, string][] => {
      const [start = '', middle = '', end = ''] = word.split("'");
      return [
        [`${start}${middle}'${end}`, word],
        [`${start}'${middle}${end}`, word],
      ];
    }),
  ["somebody'd", 'somebodyd'],
  ["ow's'at", "'ow's'at"],
  ["'ows'at", "'ow's'at"],
  ["'ow'sat", "'ow's'at"],
  ["yall'll", "y'all'll"],
  ["y'allll", "y'all'll"],
  ["yall'd've", "y'all'd've"],
  ["y'alld've", "y'all'd've"],
  ["y'all'dve", "y'all'd've"],
]);
