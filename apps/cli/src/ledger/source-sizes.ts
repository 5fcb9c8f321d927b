import type { PerSource } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { Dataset } from '@weft/data';
import { withAbsolutePaths } from '../resolve-run.js';

/** How many packed sequences each source of a run's data set holds. Errors as `Dataset.open`. */
export async function sourceSizes(config: RunConfig, home: string): Promise<PerSource<number>> {
  const dataset = await Dataset.open(withAbsolutePaths(config, home));
  try {
    return dataset.sequences;
  } finally {
    await dataset.close();
  }
}

/** Sequences of each source that a run never trains on; a run launched by an older version says nothing of it. */
export function heldOutOf({ evaluation }: Partial<Pick<RunConfig, 'evaluation'>>): number {
  return evaluation?.sequencesPerSource ?? 0;
}
