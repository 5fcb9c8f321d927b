/** What runs are compared by. JSON-serialisable. */
export interface Metric {
  /** As people call it: `loss`, `heldOutLoss.text`, or a column of their own. */
  readonly name: string;
  readonly better: 'lower' | 'higher';
}

export const LOSS: Metric = { name: 'loss', better: 'lower' };

/** "lowest loss", "highest eight_shot" */
export function bestOf({ name, better }: Metric): string {
  return `${better === 'lower' ? 'lowest' : 'highest'} ${name}`;
}
