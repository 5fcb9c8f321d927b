import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunRecord } from '@weft/coordination';
import { ledgerEntry, type MixtureSchedule, scheduleOf } from '@weft/mixture';
import { recipe } from '@weft/recipes';
import { FileEventLog } from '@weft/store';
import { exampleStep } from './run-fixtures.js';

/** The records of a run, as a coordinator writes them. */
export class RunLog {
  readonly runId: string;
  readonly config = recipe('debugTiny');
  readonly records: RunRecord[] = [];
  readonly #schedule: MixtureSchedule;

  constructor(runId = 'debug-tiny-20261123-0558-k3f9', { launchedAt = timeAt(0) } = {}) {
    this.runId = runId;
    this.#schedule = scheduleOf(this.config);
    this.records.push({ kind: 'launched', time: launchedAt, runId, config: this.config, weftVersion: '0.1.0' });
  }

  assigned(generation: number, firstStep: number, hostName: string): this {
    const workers = [0, 1].map((rank) => ({ workerId: `w${rank}`, hostName, device: 'cpu, 1 thread' }));
    this.records.push({
      kind: 'assigned',
      time: timeAt(firstStep - 1),
      generation,
      firstStep,
      state: 'fresh',
      workers,
    });
    return this;
  }

  committed(first: number, last: number, generation = 1): this {
    for (let step = first; step <= last; step++) {
      const facts = {
        step,
        generation,
        digest: `digest-of-step-${step}`,
        loss: exampleStep(step).loss ?? 0,
        applied: true,
      };
      const entry = ledgerEntry(this.#schedule, this.config.globalBatchSize, facts);
      this.records.push({ kind: 'committed', time: timeAt(step), entry, gradNorm: 1, lossTokens: 700, worldSize: 2 });
    }
    return this;
  }

  checkpoint(step: number): this {
    this.records.push({ kind: 'checkpointWritten', time: timeAt(step), step, directory: `checkpoints/step-${step}` });
    return this;
  }

  add(...records: RunRecord[]): this {
    this.records.push(...records);
    return this;
  }

  /** Writes `events.jsonl` and `metrics.jsonl` into a home, as a coordinator lays them out. */
  async write(home: string, { tail = '' } = {}): Promise<string> {
    const directory = join(home, 'runs', this.runId);
    const path = join(directory, 'events.jsonl');
    const log = await FileEventLog.open(path);
    await log.append(0, this.records);
    await log.close();
    await appendFile(path, tail);
    const steps = this.records.flatMap((record) => (record.kind === 'committed' ? [record.entry.step] : []));
    await writeFile(
      join(directory, 'metrics.jsonl'),
      steps.map((step) => `${JSON.stringify(exampleStep(step))}\n`).join(''),
    );
    return directory;
  }
}

/** The time of the example step. */
export const timeAt = (step: number) => exampleStep(step).time;
