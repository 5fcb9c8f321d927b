import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { median } from '@weft/common';
import { freePort } from '@weft/testing';
import type { AllReduceBenchOptions } from './arguments.js';
import { CandidateProcesses } from './candidate-processes.js';
import { findPeers } from './candidates.js';
import { pythonOf } from './programs.js';
import { formatTable } from './render.js';

/** Bytes of the vector over the median time of one all-reduce, in GB/s. */
export interface AllReduceResult {
  readonly processes: number;
  readonly mib: number;
  readonly gigabytesPerSecond: { readonly weft: number; readonly gloo?: number };
}

/** `npm run bench -- all-reduce`: the ring all-reduce between processes of this machine, beside gloo with --peers. */
export async function benchAllReduce(options: AllReduceBenchOptions): Promise<void> {
  const { peers, missing } = findPeers(options.peers ? ['torch-ddp'] : []);
  for (const sentence of missing) console.error(sentence);
  const results = await measureAllReduce({ ...options, peers: peers.length > 0 });
  if (options.json) console.log(JSON.stringify({ cores: availableParallelism(), results }, null, 2));
  else console.log(renderAllReduce(results));
}

/**
 * Measures every number of processes on every size, and PyTorch's gloo in the same rounds if wished.
 *
 * @throws Error when a process fails.
 */
export async function measureAllReduce({
  processes,
  mib,
  rounds,
  peers,
}: Omit<AllReduceBenchOptions, 'json' | 'help'>): Promise<readonly AllReduceResult[]> {
  const results: AllReduceResult[] = [];
  for (const count of processes) {
    const candidates = [await startWeft(count), ...(peers ? [await startGloo(count)] : [])];
    try {
      for (const size of mib) {
        const seconds: number[][] = candidates.map(() => []);
        for (let round = 0; round < rounds; round++)
          for (const [index, candidate] of candidates.entries())
            seconds[index]?.push(...(await runRound(candidate, size)));
        const [weft = Number.NaN, gloo] = seconds.map((all) => (size * 2 ** 20) / median(all) / 1e9);
        const gigabytesPerSecond = gloo === undefined ? { weft } : { weft, gloo };
        results.push({ processes: count, mib: size, gigabytesPerSecond });
      }
      for (const candidate of candidates) candidate.send({});
      for (const candidate of candidates) await candidate.exited();
    } finally {
      for (const candidate of candidates) candidate.kill();
    }
  }
  return results;
}

/** A table; the columns of gloo only where it took part. */
export function renderAllReduce(results: readonly AllReduceResult[]): string {
  const hasGloo = results.some(({ gigabytesPerSecond }) => gigabytesPerSecond.gloo !== undefined);
  const titles = ['processes', 'MiB', 'weft GB/s', ...(hasGloo ? ['gloo GB/s', 'weft ×'] : [])];
  const rows = results.map(({ processes, mib, gigabytesPerSecond: { weft, gloo } }) => [
    `${processes}`,
    `${mib}`,
    weft.toFixed(2),
    ...(gloo === undefined ? [] : [gloo.toFixed(2), (weft / gloo).toFixed(2)]),
  ]);
  return `all-reduce\n${formatTable(
    titles.map((title) => ({ title, align: 'right' })),
    rows,
  )}`;
}

// The messages between the bench and a rank; bench/peers/all_reduce.py answers the same ones.

/** From a rank of ours, once it listens. */
export interface RankHello {
  readonly address: string;
}

/** To a rank of ours: the addresses of all ranks. */
export interface RankAddresses {
  readonly addresses: readonly string[];
}

/** To a rank: all-reduce a vector of `mib` MiB so many times. Without `mib`: exit. */
export interface RankRound {
  readonly mib?: number;
  readonly repeats?: number;
}

/** From a rank: the seconds of every all-reduce. */
export interface RankSeconds {
  readonly seconds: readonly number[];
}

const RANK_PROCESS = fileURLToPath(new URL('./all-reduce-process.js', import.meta.url));
const GLOO_SCRIPT = fileURLToPath(new URL('../peers/all_reduce.py', import.meta.url));

async function startWeft(count: number): Promise<CandidateProcesses> {
  const commands = Array.from({ length: count }, (_, rank) => {
    return { program: process.execPath, args: [RANK_PROCESS, `${rank}`], environment: {} };
  });
  const ranks = new CandidateProcesses(commands);
  const addresses = (await ranks.receive<RankHello>()).map(({ address }) => address);
  ranks.send<RankAddresses>({ addresses });
  return ranks;
}

async function startGloo(count: number): Promise<CandidateProcesses> {
  const shared = { WORLD_SIZE: `${count}`, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${await freePort()}` };
  const commands = Array.from({ length: count }, (_, rank) => {
    return { program: pythonOf('torch-ddp'), args: [GLOO_SCRIPT], environment: { ...shared, RANK: `${rank}` } };
  });
  const ranks = new CandidateProcesses(commands);
  await ranks.receive();
  return ranks;
}

/** The seconds of each all-reduce, which are those of the slowest rank. */
async function runRound(ranks: CandidateProcesses, mib: number): Promise<readonly number[]> {
  ranks.send<RankRound>({ mib, repeats: Math.max(3, Math.min(20, Math.round(256 / mib))) });
  const [first, ...others] = (await ranks.receive<RankSeconds>()).map(({ seconds }) => seconds);
  return (first ?? []).map((own, i) => Math.max(own, ...others.map((seconds) => seconds[i] ?? 0)));
}
