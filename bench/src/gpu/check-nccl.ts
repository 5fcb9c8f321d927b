import { spawnSync } from 'node:child_process';
import { findNccl } from '@weft/collectives';
import { CandidateProcesses } from '../candidate-processes.js';
import { processScript } from '../programs.js';
import { environmentOn, type Host, pjrtOn } from './host.js';
import type { NcclReady, NcclReply, NcclRequest, NcclSpec } from './nccl-process.js';

/** Sums and exchanges in the memory of devices by NCCL, as workers make them. */
export interface NcclCheck {
  readonly library: string;
  /** One for each GPU, at most four; a process that is alone exchanges with itself. */
  readonly processes: number;
  readonly bytes: number;
  /** Bytes of the array over the seconds of a sum, the slowest process, the better of two generations. */
  readonly gigabytesPerSecond: number;
  /** One sentence for each thing that is wrong. */
  readonly faults: readonly string[];
}

export interface NcclCheckOptions {
  readonly host: Host;
  readonly isSmall: boolean;
  readonly cacheDirectory: string;
  /** Where stderr goes. */
  readonly log: string;
  readonly deadlineMs: number;
}

const MOST_PROCESSES = 4;

/** Whether the library lies where a worker would find it. */
export function hasNccl({ plugin }: Host): boolean {
  return plugin !== undefined && findNccl({ plugin: plugin.path }) !== undefined;
}

/** @throws Error when a process breaks down, or that the time was over */
export async function checkNccl({
  host,
  isSmall,
  cacheDirectory,
  log,
  deadlineMs,
}: NcclCheckOptions): Promise<NcclCheck> {
  const elements = isSmall ? 10_001 : 2 ** 26;
  const cards = cardsOf(host);
  const commands = cards.map((card, rank) => {
    const pjrt = pjrtOn(host, `${cacheDirectory}/executables`, false);
    const spec: NcclSpec = { pjrt, rank, worldSize: cards.length, elements };
    const args = [...process.execArgv, processScript('gpu/nccl-process.js'), JSON.stringify(spec)];
    const environment = { ...environmentOn(host), ...(host.device === 'gpu' ? { CUDA_VISIBLE_DEVICES: card } : {}) };
    return { program: process.execPath, args, environment, log };
  });
  const running = new CandidateProcesses(commands);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    running.kill();
  }, deadlineMs - Date.now());
  try {
    const [first] = await running.receive<NcclReady>();
    const replies: NcclReply[] = [];
    for (const id of first?.ids ?? []) {
      running.send<NcclRequest>({ id });
      const of = await running.receive<NcclReply>();
      const gigabytesPerSecond = Math.min(...of.map((reply) => reply.gigabytesPerSecond));
      replies.push({ gigabytesPerSecond, faults: of.flatMap(({ faults }) => faults) });
    }
    return {
      library: first?.library ?? '',
      processes: cards.length,
      bytes: 4 * elements,
      gigabytesPerSecond: Math.max(...replies.map((reply) => reply.gigabytesPerSecond)),
      faults: replies.flatMap(({ faults }) => faults),
    };
  } catch (thrown) {
    throw isLate ? new Error('its time was over before it was done', { cause: thrown }) : thrown;
  } finally {
    clearTimeout(timer);
    running.kill();
  }
}

/** The GPUs that may be used, as CUDA counts them; processors stand for two. */
function cardsOf({ device }: Host): readonly string[] {
  if (device === 'cpu') return ['0', '1'];
  const given = (process.env.CUDA_VISIBLE_DEVICES ?? '').split(',').filter((each) => each !== '');
  const listed = spawnSync('nvidia-smi', ['--list-gpus'], { encoding: 'utf8', timeout: 20_000 }).stdout ?? '';
  const found = listed
    .split('\n')
    .filter((line) => line.startsWith('GPU '))
    .map((_, index) => `${index}`);
  const cards = given.length > 0 ? given : found;
  return cards.length === 0 ? ['0'] : cards.slice(0, MOST_PROCESSES);
}
