import { rename } from 'node:fs/promises';
import { newestCheckpoint } from '@weft/checkpoint';
import type { FoundCheckpoint } from '@weft/coordination';

/**
 * The newest checkpoint of a run that verifies and holds no later step than `notAfterStep`. A later one belongs to
 * steps that were rolled back: its folder is renamed, so that nobody takes it for the run's.
 */
export async function findCheckpoint(runDirectory: string, notAfterStep: number): Promise<FoundCheckpoint> {
  const rolledBack: { directory: string; reason: string }[] = [];
  for (;;) {
    const { checkpoint, skipped } = await newestCheckpoint(runDirectory);
    const all = [...rolledBack, ...skipped];
    if (checkpoint === undefined) return { checkpoint: undefined, skipped: all };
    const { directory, manifest } = checkpoint;
    if (manifest.step <= notAfterStep) return { checkpoint: { step: manifest.step, directory }, skipped: all };
    await rename(directory, `${directory}.rolled-back-${new Date().toISOString().replaceAll(/[:.]/g, '')}`);
    rolledBack.push({ directory, reason: `it holds step ${manifest.step}, which was rolled back` });
  }
}
