import { Random } from '@weft/common';
import { byteTokenizer } from '@weft/data';
import { describe, expect, test } from 'vitest';
import { TextStream } from './text-stream.js';

/** What comes of each byte of a text, and at the end. */
function streamed(bytes: Iterable<number>, stop: readonly string[] = []) {
  const stream = new TextStream(byteTokenizer, stop);
  const parts: string[] = [];
  for (const byte of bytes) {
    parts.push(stream.add(byte));
    if (stream.stopped) break;
  }
  return { parts, end: stream.end(), stopped: stream.stopped };
}

describe('a stream of text', () => {
  test('gives a character when its last byte has come', () => {
    expect(streamed(Buffer.from('aé€😀b'))).toEqual({
      parts: ['a', '', 'é', '', '', '€', '', '', '', '😀', 'b'],
      end: '',
      stopped: false,
    });
  });

  test('gives bytes that are no character as soon as one follows, or at the end', () => {
    expect(streamed([0xff, 0x61]).parts).toEqual(['', '\uFFFDa']);
    expect(streamed([0x61, 0xe2, 0x82])).toEqual({ parts: ['a', '', ''], end: '\uFFFD', stopped: false });
  });

  test('ends before a stop text, whatever tokens it comes in', () => {
    expect(streamed(Buffer.from('one. two'), ['.'])).toEqual({
      parts: ['o', 'n', 'e', ''],
      end: '',
      stopped: true,
    });
    const { parts, stopped } = streamed(Buffer.from('a, b\n\nQ: c'), ['\n\nQ:']);
    expect(parts.join('')).toBe('a, b');
    expect(stopped).toBe(true);
  });

  test('keeps back what may become a stop text, and gives it out when it does not', () => {
    expect(streamed(Buffer.from('a\n\nb'), ['\n\nQ:']).parts).toEqual(['a', '', '', '\n\nb']);
    expect(streamed(Buffer.from('a\n'), ['\n\nQ:'])).toEqual({ parts: ['a', ''], end: '\n', stopped: false });
    // The second beginning counts, not the first.
    expect(streamed(Buffer.from('aab'), ['ab'])).toEqual({ parts: ['', 'a', ''], end: '', stopped: true });
  });

  test('ends before the first of several stop texts', () => {
    expect(streamed(Buffer.from('x y z'), ['z', 'y', ''])).toMatchObject({ parts: ['x', ' ', ''], stopped: true });
  });

  test('gives in all what the tokenizer gives at once', () => {
    const random = Random.of('bytes');
    for (let i = 0; i < 200; i++) {
      const bytes = Array.from({ length: 12 }, () =>
        random.below(3) === 0 ? random.below(256) : 0x80 + random.below(80),
      );
      const { parts, end } = streamed(bytes);
      expect(parts.join('') + end).toBe(byteTokenizer.decode(bytes));
    }
  });

  test('writes a token as it looks behind the one before it', () => {
    // Like SentencePiece: the space in front of a word belongs to its token, and is left out at the beginning.
    const words = ['▁the', '▁cat', 's', '▁sat'];
    const decode = (ids: Iterable<number>) =>
      [...ids]
        .map((id) => words[id])
        .join('')
        .replaceAll('▁', ' ')
        .trimStart();
    const stream = new TextStream({ decode }, []);
    expect([0, 1, 2, 3].map((id) => stream.add(id))).toEqual(['the', ' cat', 's', ' sat']);
  });
});
