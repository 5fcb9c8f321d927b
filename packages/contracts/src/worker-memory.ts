/** What a worker has to hold a run in, in bytes. It says so when it connects. */
export interface WorkerMemory {
  /** Of its host or container, with what can be swapped out. */
  readonly hostBytes: number;
  /** The accelerators that it may use; 0 where there are none, or nobody says. */
  readonly devices: number;
  /** Of the smallest of them. */
  readonly deviceBytes: number;
}

/** What all devices of a worker together could compute in a second: floating-point operations of dense matrix products. */
export interface DevicePeak {
  readonly bf16: number;
  readonly fp32: number;
}

/** Why a worker's memory cannot hold a run. */
export interface Shortage {
  /** One clause: what is needed of what is there. */
  readonly message: string;
  /** What could be changed. */
  readonly hint: string;
}
