import { checkpointDirectory } from '@weft/checkpoint';
import { inMemoryExchange, inMemoryRing } from '@weft/collectives';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, HeldOutLoss, MoeReport } from '@weft/contracts';
import { moeShape } from '@weft/model';
import { placeExperts } from '@weft/topology';
import {
  type CoordinatorPort,
  ExpertSession,
  type GenerationPlan,
  type InitialState,
  TrainingSession,
} from '@weft/training';
import { VoteCounter } from './vote-counter.js';

/** What a step gave, on rank 0. */
export interface ExpertClusterStep {
  readonly loss: number;
  readonly gradNorm: number;
  readonly experts: MoeReport | undefined;
  readonly heldOut: HeldOutLoss | undefined;
}

/**
 * Trains a generation of a MoE run inside this process: real engines, data and checkpoints; ring, exchange and votes in
 * memory. Returns what every step gave, by step.
 */
export async function trainWithExperts(
  config: RunConfig,
  runDirectory: string,
  { firstStep, state }: Pick<GenerationPlan, 'firstStep' | 'state'>,
): Promise<ReadonlyMap<number, ExpertClusterStep>> {
  const { workers: worldSize, expertWorkers, model, microbatchSize } = config;
  const steps = new Map<number, ExpertClusterStep>();
  const signals = { released: new AbortController().signal, stop: { afterStep: undefined } };
  const votes = new VoteCounter(worldSize);
  const parts = new Map<number, CheckpointFile[]>();
  const checkpointPart: CoordinatorPort['checkpointPart'] = ({ step, files }) =>
    void parts.set(step, [...(parts.get(step) ?? []), ...files]);
  const plan = (rank: number): GenerationPlan => ({ generation: 1, rank, worldSize, expertWorkers, firstStep, state });

  const placement = expertWorkers === 0 ? [] : placeExperts(moeShape(model, microbatchSize).experts, expertWorkers);
  const { groups, capacity } = moeShape(model, microbatchSize);
  const shape = { placement, groups, capacity, width: model.decoder.width, precision: 'fp32' } as const;
  const exchange = expertWorkers === 0 ? { ranks: [], hosts: [] } : inMemoryExchange({ worldSize, shape });
  const sessions = await oneByOne(worldSize, () => TrainingSession.open({ runId: 'experts', config, runDirectory }));
  const holders = await oneByOne(expertWorkers, (index) =>
    ExpertSession.open({ config, experts: placement[index]!, runDirectory }),
  );
  const ring = inMemoryRing(worldSize);
  try {
    await Promise.all([
      ...sessions.map((session, rank) => {
        const link: CoordinatorPort = {
          vote: (vote) => votes.vote(vote),
          report: ({ step, moe: experts, heldOut }) => {
            const { loss, gradNorm } = votes.committed.get(step)!;
            steps.set(step, { loss, gradNorm, experts, heldOut });
          },
          checkpointPart,
        };
        return session.train(plan(rank), ring[rank]!, link, signals, exchange.ranks[rank]);
      }),
      ...holders.map((holder, index) => {
        const link = { decision: (step: number) => votes.decision(step), checkpointPart };
        return holder.serve(plan(index), exchange.hosts[index]!, link, signals);
      }),
    ]);
    for (const [step, files] of parts)
      if (files.length === worldSize + expertWorkers) await sessions[0]?.writeManifest(step, files);
  } finally {
    for (const end of [...ring, ...exchange.ranks, ...exchange.hosts, ...sessions, ...holders]) await end.close();
  }
  return steps;
}

export function checkpoint(runDirectory: string, step: number): InitialState {
  return { kind: 'checkpoint', directory: checkpointDirectory(runDirectory, step) };
}

async function oneByOne<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  for (let index = 0; index < count; index++) opened.push(await open(index));
  return opened;
}
