import type { PageError } from '@weft/contracts';

/** What the coordinator refused, as it said it. */
export class ApiError extends Error {
  readonly hint: string | null;

  constructor({ message, hint }: Pick<PageError, 'message' | 'hint'>) {
    super(message);
    this.hint = hint;
  }
}

/** Asks for JSON. @throws ApiError what the coordinator answered, or that it did not. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return request<T>(path, signal === undefined ? {} : { signal });
}

/** Changes something. @throws ApiError as `get` */
export async function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { 'content-type': 'application/json' };
  return request<T>(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function request<T>(path: string, options: RequestInit): Promise<T> {
  const response = await fetch(path, options).catch((thrown: unknown) => {
    if (thrown instanceof DOMException && thrown.name === 'AbortError') throw thrown;
    throw new ApiError({ message: 'the coordinator does not answer', hint: 'it is tried again' });
  });
  const body: unknown = await response.json();
  if (!response.ok) throw new ApiError(body as PageError);
  return body as T;
}

/** A path with its parts made safe. */
export const runPath = (runId: string, ...parts: (string | number)[]): string =>
  ['/api/runs', runId, ...parts].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join('/');
