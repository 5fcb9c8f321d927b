import { LRUCache } from 'lru-cache';
import { type Pointer, viewMemory } from './c-api.js';

const SMALLEST_STEP = 2 ** 26;
const KEPT_WINDOWS = 512;

const windows = new LRUCache<string, ArrayBuffer>({ max: KEPT_WINDOWS });

/**
 * The bytes of a native buffer, without a copy. The caller keeps the buffer alive.
 *
 * V8 takes the memory under every new view for newly allocated, and collects all garbage after each 64 MiB of it: once a
 * step or more, on the threads that the step needs. So these bytes are part of a window, a wide view that is kept:
 * windows stand at every multiple of a power of two and are twice as long, so that any buffer lies whole in one of
 * them. What else lies there is never touched.
 */
export function nativeBytes(pointer: Pointer, bytes: number): Uint8Array<ArrayBuffer> {
  if (bytes === 0) return new Uint8Array(0);
  const step = Math.max(SMALLEST_STEP, 2 ** Math.ceil(Math.log2(bytes)));
  const offset = Number((pointer as bigint) % BigInt(step));
  const start = (pointer as bigint) - BigInt(offset);
  return new Uint8Array(windowAt(start, 2 * step), offset, bytes);
}

function windowAt(start: bigint, bytes: number): ArrayBuffer {
  const key = `${start}:${bytes}`;
  const known = windows.get(key);
  if (known !== undefined) return known;
  const window = viewMemory(start, bytes);
  windows.set(key, window);
  return window;
}
