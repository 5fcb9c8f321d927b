/**
 * The words of a caption as CIDEr compares them: those of the Penn Treebank tokenizer of Stanford CoreNLP 3.4.1 with
 * `-lowerCase`, without punctuation, as the evaluation code of COCO captions calls it. Written from its behaviour; what
 * it does beyond captions (addresses of the web in all their forms, markup, rare abbreviations) is left out.
 */
export function captionTokens(caption: string): string[] {
  return [...pieces(caption.replace(/\s+/g, ' '))]
    .flatMap(splitClitics)
    .map((token) => token.toLowerCase())
    .map((token) => BRACKETS.get(token) ?? token)
    .filter((token) => !PUNCTUATION.has(token));
}

/** Dropped by the evaluation code. Brackets are not among them: it lists them in capitals, and they come in small letters. */
const PUNCTUATION: ReadonlySet<string> = new Set([
  "''",
  "'",
  '``',
  '`',
  '.',
  '?',
  '!',
  ',',
  ':',
  '-',
  '--',
  '...',
  ';',
]);

const BRACKETS: ReadonlyMap<string, string> = new Map([
  ['(', '-lrb-'],
  [')', '-rrb-'],
  ['[', '-lsb-'],
  [']', '-rsb-'],
  ['{', '-lcb-'],
  ['}', '-rcb-'],
]);

/** Characters that are read as others. Other fractions, symbols and letters stay what they are. */
const SPELLED: Readonly<Record<string, string>> = {
  '‘': '`',
  '’': "'",
  '“': '``',
  '”': "''",
  '–': '--',
  '—': '--',
  '…': '...',
  '"': "''",
  '½': '1/2',
  '¼': '1/4',
  '¾': '3/4',
  '€': '$',
  '£': '#',
};

/** Abbreviations that keep their full stop wherever they stand. */
const ABBREVIATIONS =
  'mr|mrs|ms|dr|prof|sr|jr|st|ave|blvd|rd|mt|ft|vs|etc|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec|e\\.g|i\\.e|a\\.m|p\\.m';

/** Abbreviations of states and titles, which keep their full stop when written with a capital. */
const CAPITALISED =
  'Ala|Ariz|Ark|Calif|Colo|Conn|Del|Fla|Ga|Ill|Ind|Kan|La|Mass|Md|Mich|Minn|Miss|Mo|Mont|Neb|Nev|Okla|Ore|Pa|Tenn|Tex|Va|Vt|Wash|Wis|Wyo|Gen|Lt|Capt|Gov|Col|Sgt|Maj|Rep|Sen|Rev';

/** What a token may be, in the order in which it is tried. The first is the second from last in short, for speed. */
const PATTERNS: readonly RegExp[] = [
  /\p{L}+(?= |$)/uy,
  // Addresses of the web and of people.
  /https?:\/\/[^\s"<>|(){}]+[^\s"<>|.!?(){},]/iuy,
  /[\p{L}\d][\p{L}\d._+-]*@[\p{L}\d-]+(?:\.[\p{L}\d-]+)+/iuy,
  // Names in networks, and two names of programming languages.
  /[@#]\p{L}[\p{L}\d_]*|c(?:\+\+|#)(?![\p{L}\d])/iuy,
  // Tags of markup.
  /<\/?[a-z][^<>]*>/iuy,
  // Words that begin with an apostrophe, and what follows a number: '90s, 747's.
  /['’](?:n['’]|em\b|cause\b|\d0s\b|(?:s|re|ve|ll|d|m)(?![\p{L}\d]))/iuy,
  /['’]t(?=is\b|was\b)/iuy,
  // Abbreviations, and letters with full stops: U.S., a.m.
  new RegExp(`(?:${ABBREVIATIONS})\\.(?![\\p{L}\\d])`, 'iuy'),
  new RegExp(`(?:${CAPITALISED})\\.(?![\\p{L}\\d])`, 'uy'),
  /(?:\p{L}\.)+(?![\p{L}\d])/uy,
  /no\.(?= ?\d)/iuy,
  // Numbers: 1,000 3.5 5:30 1/2 10-12 90s 2nd 4x4.
  /[+-]?\d+(?:[.,:/-]\d+)*[\p{L}\d]*(?:-\p{L}[\p{L}\d]*(?:-[\p{L}\d]+)*)*/uy,
  /\.\d+/uy,
  // Words, with hyphens, inner apostrophes, slashes and full stops between letters.
  /\p{L}[\p{L}\p{M}\d_]*(?:[-_/.!?&'’]\p{L}[\p{L}\p{M}\d_]*|-\d[\p{L}\d]*)*/uy,
  // Runs of punctuation.
  /\.{2,}|[?!]+|-{2,}|``|''/uy,
  /./uy,
];

/** Left out: emoji and other characters of two UTF-16 units, and what varies the character before. */
const UNREADABLE = /^(?:[\u{10000}-\u{10ffff}]|[\ufe00-\ufe0f\u200d])$/u;

function* pieces(line: string): Iterable<string> {
  for (let position = 0; position < line.length; ) {
    const piece = line[position] === ' ' ? ' ' : pieceAt(line, position);
    position += piece.length;
    if (piece !== ' ' && !UNREADABLE.test(piece)) yield SPELLED[piece] ?? piece;
  }
}

function pieceAt(line: string, position: number): string {
  for (const pattern of PATTERNS) {
    pattern.lastIndex = position;
    const [piece] = pattern.exec(line) ?? [];
    if (piece !== undefined) return piece;
  }
  return line.charAt(position);
}

/** Takes what is one word in writing apart: don't, man's, they're, cannot, gonna. */
function splitClitics(token: string): string[] {
  const two = TWO_WORDS.get(token.toLowerCase());
  if (two !== undefined) return [token.slice(0, two), token.slice(two)];
  const [, stem, clitic] = token.match(/^(.+?)(n['’]t|['’](?:s|re|ve|ll|d|m))$/iu) ?? [];
  return stem === undefined || clitic === undefined ? [token] : [...splitClitics(stem), clitic.replace('’', "'")];
}

/** Where whole words are cut. */
const TWO_WORDS: ReadonlyMap<string, number> = new Map([
  ['cannot', 3],
  ['gonna', 3],
  ['gotta', 3],
  ['wanna', 3],
  ['lemme', 3],
  ['gimme', 3],
  ["y'all", 2],
]);
