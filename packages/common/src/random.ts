/**
 * Seeded randomness: the same labels give the same stream on every machine.
 * xoshiro128** (Blackman and Vigna, 2018) seeded by hashing the labels with `hash32`.
 */
export class Random {
  readonly #state: Uint32Array;
  #spareNormal: number | undefined;

  /** A stream named by its labels, for instance `Random.of(seed, 'init', 'decoder/0/wq')`. */
  static of(...labels: readonly (string | number)[]): Random {
    const name = labels.join('\u0000');
    return new Random(Uint32Array.from([0, 1, 2, 3], (salt) => hash32(name, salt)));
  }

  private constructor(state: Uint32Array) {
    if (state.every((word) => word === 0)) state[0] = 1;
    this.#state = state;
  }

  /** A uniform integer in [0, 2³²). */
  uint32(): number {
    const s = this.#state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotateLeft(s[3], 11);
    return result;
  }

  /** A uniform number in [0, 1) with 32 random bits. */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /** A uniform integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.uniform() * limit);
  }

  /** A standard normal number (Box–Muller). */
  normal(): number {
    if (this.#spareNormal !== undefined) {
      const spare = this.#spareNormal;
      this.#spareNormal = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

/** A 32-bit hash of a string: FNV-1a with MurmurHash3's finalizer, varied by `salt`. */
export function hash32(text: string, salt = 0): number {
  let hash = 0x811c9dc5 ^ salt;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix32(hash ^ Math.imul(salt, 0x9e3779b9));
}

/** MurmurHash3's finalizer: every input bit changes half of the output bits. */
export function mix32(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
