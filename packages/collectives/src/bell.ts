import type { Wire } from './link.js';

const STROKE = Uint8Array.of(1);

/** Beside memory that two processes see, a wire wakes the other end. Only that something comes counts. */
export class Bell {
  readonly #wire: Wire;

  /** @param heard called when the other end has rung, at least once for all that came before */
  constructor(wire: Wire, heard: () => void) {
    this.#wire = wire;
    const scratch = new Uint8Array(STROKE.length);
    wire.pull({ target: () => scratch, landed: heard });
  }

  ring(): void {
    this.#wire.write(STROKE, () => {});
  }
}
