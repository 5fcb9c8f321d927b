import type { CheckpointFile, StepReport, StepVote } from '@weft/contracts';
import type { CoordinatorPort, GenerationPlan, TrainSignals } from '../ports.js';

/** The coordinator of one rank: records what it is sent, and decides as the test wants. */
export class FakeCoordinator implements CoordinatorPort {
  readonly votes: StepVote[] = [];
  readonly reports: StepReport[] = [];
  readonly parts: { readonly step: number; readonly files: readonly CheckpointFile[] }[] = [];
  /** Default: every finite step is applied. */
  decide: (vote: StepVote) => boolean | Promise<boolean> = ({ finite }) => finite;

  async vote(vote: StepVote): Promise<{ readonly apply: boolean }> {
    this.votes.push(vote);
    return { apply: await this.decide(vote) };
  }

  report(report: StepReport): void {
    this.reports.push(report);
  }

  checkpointPart(part: { readonly step: number; readonly files: readonly CheckpointFile[] }): void {
    this.parts.push(part);
  }

  get losses(): readonly number[] {
    return this.votes.map(({ loss }) => loss);
  }
}

/** The plan of a run that one rank trains from the beginning. */
export function planOf(changes: Partial<GenerationPlan> = {}): GenerationPlan {
  return { generation: 1, rank: 0, worldSize: 1, expertWorkers: 0, firstStep: 1, state: { kind: 'fresh' }, ...changes };
}

/** The signals of a generation, with the means to send them. */
export function trainSignals(): TrainSignals & {
  release(): void;
  stopAfter(step: number): void;
  saveAfter(step: number): void;
} {
  const released = new AbortController();
  const stop: { afterStep: number | undefined } = { afterStep: undefined };
  const save: { afterStep: number | undefined } = { afterStep: undefined };
  return {
    released: released.signal,
    stop,
    save,
    release: () => released.abort(),
    saveAfter: (step) => {
      save.afterStep = step;
    },
    stopAfter: (step) => {
      stop.afterStep = step;
    },
  };
}
