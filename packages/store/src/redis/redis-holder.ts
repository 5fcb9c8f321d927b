import { randomUUID } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { isProcessAlive, startTicks } from '@weft/files';

/** Who has the lease, as it stands in Redis. */
export interface Holder {
  /** For people. */
  readonly name: string;
  readonly nonce: string;
  /** Where `processId` means something: this boot of this machine, in this namespace of process ids. */
  readonly machine: string;
  readonly processId: number;
  readonly startTicks: string;
}

export async function thisHolder(name: string): Promise<Holder> {
  const ticks = (await startTicks(process.pid)) ?? '';
  return { name, nonce: randomUUID(), machine: await thisMachine(), processId: process.pid, startTicks: ticks };
}

/** A holder as it was read. One written by something else has no name that could be told. */
export function parseHolder(text: string): Holder {
  const parts: Partial<Record<keyof Holder, unknown>> = JSON.parse(text);
  return {
    ...{ name: String(parts.name), nonce: String(parts.nonce), machine: String(parts.machine) },
    ...{ processId: Number(parts.processId), startTicks: String(parts.startTicks) },
  };
}

/** Whether it is known to be dead: a process of this machine that is no more. Its lease need not be waited for. */
export async function isDead(holder: Holder): Promise<boolean> {
  const here = await thisMachine();
  return here !== '' && holder.machine === here && !(await isProcessAlive(holder.processId, holder.startTicks));
}

async function thisMachine(): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
}
