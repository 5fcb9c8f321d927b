import { WeftError } from '@weft/common';

/** The name of BullMQ's queue. */
export const QUEUE_NAME = 'runs';

/**
 * Every name that Weft uses in Redis. They share one hash tag, the prefix in braces, so that a cluster keeps them on one
 * node: scripts need the lease and the data at once.
 */
export class RedisKeys {
  /** What BullMQ's keys begin with; `:runs:…` follows. */
  readonly queuePrefix: string;
  /** A number: the fencing token of the last holder of the lease. Never expires. */
  readonly token: string;
  /** The holder of the lease; expires when not renewed. */
  readonly holder: string;
  /** A set: the names of all logs. */
  readonly logNames: string;
  /** The intent of the last change of the queue. */
  readonly intent: string;
  readonly #tag: string;

  /** @throws WeftError `invalid_argument` for a prefix with characters other than letters, digits and `.-_:`. */
  constructor(prefix: string) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._:-]*$/.test(prefix)) {
      throw new WeftError('invalid_argument', `${JSON.stringify(prefix)} cannot be what the keys in Redis begin with`, {
        hint: 'use letters, digits, dots, dashes, underscores and colons',
      });
    }
    this.#tag = `{${prefix}}`;
    this.queuePrefix = `${this.#tag}:queue`;
    this.token = `${this.#tag}:lease:token`;
    this.holder = `${this.#tag}:lease:holder`;
    this.logNames = `${this.#tag}:logs`;
    this.intent = `${this.#tag}:queue:intent`;
  }

  /** The stream of a log. */
  log(name: string): string {
    return `${this.#tag}:log:${name}`;
  }

  /** A key of BullMQ: `wait`, `active`, …, or the id of a job. */
  queue(part: string): string {
    return `${this.queuePrefix}:${QUEUE_NAME}:${part}`;
  }
}
