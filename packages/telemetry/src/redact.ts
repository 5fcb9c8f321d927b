const REDACTED = '[redacted]';

/** A JSON field whose name says that it holds a secret: `token`, `ringToken`, `password` … but not `lossTokens`. */
const SECRET_FIELD =
  /"(\w*(?:token|password|passphrase|secret|authorization|credentials?|privateKey|apiKey))":"(?:[^"\\]|\\.)*"/gi;
/** The password in an address such as redis://user:password@host. */
const ADDRESS_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"'\\]*:)[^\s/@"'\\]+@/gi;

/** A text without the passwords of the addresses in it. */
export function redactText(text: string): string {
  return text.replace(ADDRESS_PASSWORD, `$1${REDACTED}@`);
}

/** A line of JSON without its secrets: text fields with a secret's name, at any depth, and passwords in addresses. */
export function redactLine(line: string): string {
  return redactText(line.replace(SECRET_FIELD, `"$1":"${REDACTED}"`));
}
