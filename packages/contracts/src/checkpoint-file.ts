/** One file of a checkpoint, as its manifest lists it. */
export interface CheckpointFile {
  /** Within the folder of the checkpoint. */
  readonly name: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}
