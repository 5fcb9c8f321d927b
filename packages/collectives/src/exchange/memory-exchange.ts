import { memoryWires } from '../memory-wire.js';
import type { ExchangeShape, ExpertExchange, ExpertHost } from './exchange.js';
import { ExpertCallers } from './expert-callers.js';
import { RankConnections } from './rank-connections.js';

export interface InMemoryExchangeOptions {
  readonly worldSize: number;
  readonly shape: ExchangeShape;
  /** Named in errors. Default "in-memory". */
  readonly runId?: string;
  /** Named in errors. Default 1. */
  readonly generation?: number;
  /** Default 120 s. */
  readonly answerTimeoutMs?: number;
}

/** Both ends of an exchange inside this process: the same messages, checks and errors as over TCP, without sockets. */
export function inMemoryExchange(options: InMemoryExchangeOptions): {
  /** By rank. */
  readonly ranks: readonly ExpertExchange[];
  /** By expert worker. */
  readonly hosts: readonly ExpertHost[];
} {
  const { worldSize, shape, runId = 'in-memory', generation = 1, answerTimeoutMs = 120_000 } = options;
  const wires = Array.from({ length: worldSize }, () => shape.placement.map(() => memoryWires()));
  const ranks = wires.map(
    (toWorkers, rank) =>
      new ExpertCallers({
        place: { runId, generation, rank, worldSize },
        shape,
        wires: toWorkers.map(([near]) => near),
        answerTimeoutMs,
      }),
  );
  const hosts = shape.placement.map(
    (_, expertWorker) =>
      new RankConnections({
        runId,
        generation,
        expertWorker,
        shape,
        wires: wires.map((toWorkers) => toWorkers[expertWorker]![1]),
      }),
  );
  return { ranks, hosts };
}
