/**
 * Parses JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` outside strings are null.
 *
 * @throws SyntaxError of `JSON.parse` for all else that is not JSON
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    const plain = withoutPythonNumbers(text);
    if (plain === text) throw thrown;
    return JSON.parse(plain);
  }
}

function withoutPythonNumbers(text: string): string {
  let result = '';
  let position = 0;
  while (position < text.length) {
    const quote = text.indexOf('"', position);
    const end = quote === -1 ? text.length : quote;
    result += text.slice(position, end).replace(/(?<![\w.])-?(?:NaN|Infinity)(?![\w.])/g, 'null');
    const next = quote === -1 ? end : endOfString(text, quote);
    result += text.slice(end, next);
    position = next;
  }
  return result;
}

/** The index after the closing quote of the string that begins at `quote`, or the end of the text. */
function endOfString(text: string, quote: number): number {
  for (let i = quote + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i + 1;
  }
  return text.length;
}
