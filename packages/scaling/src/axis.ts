/** An axis between two positions on paper. */
export interface Axis {
  /** The position of a value. */
  readonly place: (value: number) => number;
  /** Values with a label. */
  readonly ticks: readonly number[];
  /** Values with a small mark. */
  readonly smallTicks: readonly number[];
}
