import { memoryDuplexPair } from '../transport/memory-duplex.js';
import { ExpertClients } from './client.js';
import type { ExchangeShape, ExpertExchange, ExpertHost } from './exchange.js';
import { ExpertServer } from './server.js';

/** The ranks and the shape of an in-memory exchange. */
export interface InMemoryExchangeOptions {
  readonly worldSize: number;
  readonly shape: ExchangeShape;
  /** Named in errors. Default "in-memory". */
  readonly runId?: string;
  /** Named in errors. Default 1. */
  readonly generation?: number;
  /** How long an expert worker may take to answer. Default 120 s. */
  readonly answerTimeoutMs?: number;
}

/** Both ends of an exchange. */
export interface InMemoryExchange {
  /** By rank. */
  readonly ranks: readonly ExpertExchange[];
  /** By expert worker. */
  readonly hosts: readonly ExpertHost[];
}

/** An exchange within this process: messages, checks and errors are those of an exchange between processes. */
export function inMemoryExchange(options: InMemoryExchangeOptions): InMemoryExchange {
  const { worldSize, shape, runId = 'in-memory', generation = 1, answerTimeoutMs = 120_000 } = options;
  const pairs = Array.from({ length: worldSize }, () => shape.placement.map(() => memoryDuplexPair()));
  const ranks = pairs.map((toWorkers, rank) => {
    const rankId = { runId, generation, rank, worldSize };
    return new ExpertClients({ rankId, shape, duplexes: toWorkers.map(([near]) => near), answerTimeoutMs });
  });
  const hosts = shape.placement.map((_, expertWorker) => {
    const duplexes = pairs.map((toWorkers) => toWorkers[expertWorker]![1]);
    return new ExpertServer({ runId, generation, expertWorker, shape, duplexes });
  });
  return { ranks, hosts };
}
