import type { BlobStatus, ListedBlob } from '@weft/files';

/** Bytes [first, end) of a blob. */
export interface ByteRange {
  readonly first: number;
  readonly end: number;
}

/** A part of a listing, as one request gives it. */
export interface ListingPage {
  readonly blobs: readonly ListedBlob[];
  /** Undefined on the last page. */
  readonly next?: string | undefined;
}

/**
 * One kind of store at a distance. Every call is one attempt: `withRetries` repeats those that fail with `unavailable` or
 * `deadline_exceeded`.
 */
export interface RemoteSource {
  /** Two addresses that may hold different bytes have different names here. */
  cacheName(path: string): string;

  /** @throws WeftError `not_found` */
  status(path: string, signal?: AbortSignal): Promise<BlobStatus>;

  /**
   * Exactly these bytes.
   *
   * @throws WeftError `failed_precondition` when the blob has another version than `known`
   */
  fetch(path: string, range: ByteRange, known: BlobStatus, signal?: AbortSignal): Promise<Uint8Array>;

  /** The names directly in a folder, those of folders with a slash behind; none where a store cannot tell. */
  names(folder: string, signal?: AbortSignal): Promise<readonly string[]>;

  /**
   * Some of the blobs below a folder, and where the others go on.
   *
   * @param from `next` of the page before; default: the first page
   */
  list(folder: string, from?: string, signal?: AbortSignal): Promise<ListingPage>;
}
