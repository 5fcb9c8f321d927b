/** What Ctrl-C, or a polite `kill`, does while a run is followed. */
export interface InterruptHandlers {
  readonly first: () => void;
  /** The person does not want to wait; the process leaves right after this. */
  readonly second: () => void;
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Two signals closer than this are one key press that arrived twice, as npm and npx make of it. */
const SAME_PRESS_MS = 250;

/** Installs the handlers; the returned function removes them. */
export function onInterrupts({ first, second }: InterruptHandlers): () => void {
  let firstAtMs: number | undefined;
  const handle = () => {
    if (firstAtMs === undefined) {
      firstAtMs = performance.now();
      first();
    } else if (performance.now() - firstAtMs > SAME_PRESS_MS) {
      second();
    }
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return () => {
    for (const signal of SIGNALS) process.off(signal, handle);
  };
}
