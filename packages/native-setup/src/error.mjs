/** Set-up that cannot be done: one clear sentence and its hint. This package needs no dependency, so that it runs before any is installed. */
export class NativeLibraryError extends Error {
  /** @type {'native_library'} */
  code = 'native_library';

  /**
   * @param {string} message
   * @param {string} hint an imperative sentence without a final full stop
   * @param {ErrorOptions} [options]
   */
  constructor(message, hint, options) {
    super(message, options);
    this.name = 'NativeLibraryError';
    this.hint = hint;
  }
}

/**
 * What a person reads of something thrown: its first line, without the password of an index address.
 *
 * @param {unknown} thrown
 * @returns {string}
 */
export function sentenceOf(thrown) {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? ` (${thrown.cause.message})` : '';
  return withoutPasswords(`${message}${cause}`.split('\n')[0] ?? '');
}

/**
 * @param {string} text
 * @returns {string}
 */
export function withoutPasswords(text) {
  return text.replaceAll(/\/\/[^/@\s]+@/g, '//***@');
}
