// The thread of `DecodeThreads`: makes pictures into the squares that encoders read, one after another.
import { parentPort, workerData } from 'node:worker_threads';
import { WeftError } from '@weft/common';
import type { ImagePreprocessing } from '@weft/config';
import { decodeViews } from './decode-image.js';

/** The `workerData` of the thread. */
export interface DecodeThreadData {
  /** Pixels of a side. */
  readonly imageSize: number;
  readonly preprocessing: ImagePreprocessing;
}

/** To the thread: a picture as it is in its shard. */
export interface ToDecodeThread {
  readonly encoded: Uint8Array;
}

/** From the thread: its views, or why it cannot be decoded. */
export type FromDecodeThread =
  | { readonly kind: 'views'; readonly views: readonly Uint8Array[] }
  | { readonly kind: 'failed'; readonly reason: string };

const { imageSize, preprocessing } = workerData as DecodeThreadData;

async function answer({ encoded }: ToDecodeThread): Promise<void> {
  let reply: FromDecodeThread;
  try {
    reply = { kind: 'views', views: (await decodeViews(encoded, imageSize, preprocessing)).map(ownBuffer) };
  } catch (thrown) {
    reply = { kind: 'failed', reason: WeftError.from(thrown).message };
  }
  const buffers = reply.kind === 'views' ? reply.views.map(({ buffer }) => buffer as ArrayBuffer) : [];
  parentPort?.postMessage(reply, buffers);
}

/** Only a whole buffer of JavaScript's own can be given to another thread. */
function ownBuffer(view: Uint8Array): Uint8Array {
  return view.byteLength === view.buffer.byteLength && !Buffer.isBuffer(view) ? view : Uint8Array.from(view);
}

parentPort?.on('message', (message: ToDecodeThread) => void answer(message));
