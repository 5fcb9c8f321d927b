import { join } from 'node:path';
import { checkpointDirectory } from '@weft/checkpoint';
import { inMemoryRing } from '@weft/collectives';
import { applySettings, type RunConfig, resolveRunConfig } from '@weft/config';
import type { CheckpointFile, HeldOutLoss, TaskScores } from '@weft/contracts';
import { recipe } from '@weft/recipes';
import {
  type CoordinatorPort,
  type GenerationPlan,
  type InitialState,
  TrainingSession,
  type TrainOutcome,
} from '@weft/training';
import { VoteCounter } from './vote-counter.js';
import { repository } from './weft.js';

/** `debugTiny` on the demo data, one thread a rank, with settings. */
export function tinyConfig(...settings: string[]): RunConfig {
  return demoConfig('debugTiny', ...settings);
}

/** `debugNano`, for what does not depend on the size of a model: its steps take milliseconds, and its sessions open soonest. */
export function nanoConfig(...settings: string[]): RunConfig {
  return demoConfig('debugNano', ...settings);
}

function demoConfig(name: 'debugTiny' | 'debugNano', ...settings: string[]): RunConfig {
  const always = [`data.directory=${join(repository, '.weft/data/demo')}`, 'engine.threadsPerWorker=1'];
  return resolveRunConfig(applySettings(recipe(name), [...always, ...settings]));
}

/** Every rank of a run in this process: real engines, data and checkpoints, rings and votes in memory. */
export class MemoryCluster {
  readonly losses = new Map<number, number>();
  /** Of the steps that were evaluated. */
  readonly heldOut = new Map<number, HeldOutLoss>();
  /** Of the steps after which tasks were scored. */
  readonly taskScores = new Map<number, TaskScores>();
  readonly #sessions: readonly TrainingSession[];
  readonly #runDirectory: string;

  static async open(worldSize: number, config: RunConfig, runDirectory: string): Promise<MemoryCluster> {
    const sessions: TrainingSession[] = [];
    for (let rank = 0; rank < worldSize; rank++) {
      sessions.push(await TrainingSession.open({ runId: 'memory', config, runDirectory }));
    }
    return new MemoryCluster(sessions, runDirectory);
  }

  private constructor(sessions: readonly TrainingSession[], runDirectory: string) {
    this.#sessions = sessions;
    this.#runDirectory = runDirectory;
  }

  /** Trains a generation on the first `worldSize` sessions until its end, or until `releaseAt` is voted on. */
  async train(
    generation: number,
    firstStep: number,
    state: InitialState,
    { worldSize = this.#sessions.length, releaseAt }: { worldSize?: number; releaseAt?: number } = {},
  ): Promise<PromiseSettledResult<TrainOutcome>[]> {
    const release = new AbortController();
    const votes = new VoteCounter(worldSize, ({ step }) => {
      if (step !== releaseAt) return;
      release.abort();
      throw new Error('released');
    });
    const ring = inMemoryRing(worldSize);
    const parts = new Map<number, CheckpointFile[]>();
    const outcomes = await Promise.allSettled(
      ring.map((group, rank) => {
        const session = this.#sessions[rank] as TrainingSession;
        const plan: GenerationPlan = { generation, rank, worldSize, expertWorkers: 0, firstStep, state };
        const link: CoordinatorPort = {
          vote: (vote) => votes.vote(vote),
          report: ({ step, heldOut, taskScores }) => {
            if (heldOut !== undefined) this.heldOut.set(step, heldOut);
            if (taskScores !== undefined) this.taskScores.set(step, taskScores);
          },
          checkpointPart: ({ step, files }) => void parts.set(step, [...(parts.get(step) ?? []), ...files]),
        };
        return session.train(plan, group, link, { released: release.signal, stop: { afterStep: undefined } });
      }),
    );
    for (const [step, { loss }] of votes.committed) this.losses.set(step, loss);
    for (const group of ring) await group.close();
    for (const [step, files] of parts) {
      if (files.length === worldSize) await this.#sessions[0]?.writeManifest(step, files);
    }
    return outcomes;
  }

  checkpoint(step: number): InitialState {
    return { kind: 'checkpoint', directory: checkpointDirectory(this.#runDirectory, step) };
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) await session.close();
  }
}
