import { join } from 'node:path';
import type { RunRows } from '@weft/client';
import { WEFT_VERSION } from '@weft/common';
import { committedAtMs, curveValues, type MetricsRow, type RunView } from '@weft/contracts';
import { buildDirectory, writeFileAtomically } from '@weft/files';
import { scalarsRecord, textRecord, versionRecord } from './event-file.js';

/** What is exported. */
export interface ExportedRun {
  readonly run: RunView;
  readonly rows: RunRows;
  /** The whole configuration. */
  readonly config: object;
}

/** A form in which other tools read curves. */
interface ExportFormat {
  /** The name of the file or folder, where the person gives none. */
  readonly nameOf: (runId: string) => string;
  /** Writes the run; nothing is left at `path` when it fails. */
  readonly write: (path: string, exported: ExportedRun) => Promise<void>;
}

/** A row is a step, a column a curve. */
async function writeCsv(path: string, { rows }: ExportedRun): Promise<void> {
  const names = ordered(rows.names);
  const lines = async function* () {
    yield `${['step', 'time', ...names].map(cell).join(',')}\n`;
    for await (const row of rows) {
      const values = curveValues(row);
      yield `${[row.step, row.time, ...names.map((name) => values.get(name) ?? '')].join(',')}\n`;
    }
  };
  await writeFileAtomically(path, inChunks(lines()));
}

const cell = (text: string) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A folder with one event file: every curve as a scalar, and the configuration as a text. */
async function writeTensorBoard(path: string, { run, rows, config }: ExportedRun): Promise<void> {
  const records = async function* () {
    yield versionRecord(run.createdAtMs);
    yield textRecord(run.createdAtMs, 'config', `\`\`\`json\n${JSON.stringify(config, null, 2)}\n\`\`\``);
    for await (const row of rows) {
      const scalars = [...curvesOf(row)].map(([name, value]) => ({ tag: slashed(name), value }));
      yield scalarsRecord(committedAtMs(row), row.step, scalars);
    }
  };
  const seconds = Math.floor(run.createdAtMs / 1000);
  await buildDirectory(path, (folder) =>
    writeFileAtomically(join(folder, `events.out.tfevents.${seconds}.weft`), inChunks(records())),
  );
}

/** The files that W&B keeps of a run, as lines of JSON: history, summary, configuration. */
async function writeWandb(path: string, { run, rows, config }: ExportedRun): Promise<void> {
  const summary: Record<string, number> = {};
  const lines = async function* () {
    for await (const row of rows) {
      const seconds = committedAtMs(row) / 1000;
      const runtime = seconds - run.createdAtMs / 1000;
      const values = Object.fromEntries([...curvesOf(row)].map(([name, value]) => [slashed(name), value]));
      const line = { _step: row.step, _timestamp: seconds, _runtime: runtime, ...values };
      Object.assign(summary, line);
      yield `${JSON.stringify(line)}\n`;
    }
  };
  // JSON is YAML too.
  const described = Object.fromEntries(Object.entries(config).map(([name, value]) => [name, { desc: null, value }]));
  const { runId, recipe, status, createdAtMs } = run;
  const startedAt = new Date(createdAtMs).toISOString();
  const metadata = { program: 'weft', version: WEFT_VERSION, runId, recipe, state: status, startedAt };
  await buildDirectory(path, async (folder) => {
    await writeFileAtomically(join(folder, 'wandb-history.jsonl'), inChunks(lines()));
    await writeFileAtomically(join(folder, 'wandb-summary.json'), JSON.stringify(summary));
    await writeFileAtomically(join(folder, 'wandb-metadata.json'), JSON.stringify(metadata));
    await writeFileAtomically(join(folder, 'config.yaml'), JSON.stringify(described, null, 2));
  });
}

/** By the name that `--format` takes. */
export const EXPORT_FORMATS = {
  csv: { nameOf: (runId) => `${runId}.csv`, write: writeCsv },
  tensorboard: { nameOf: (runId) => `${runId}-tensorboard`, write: writeTensorBoard },
  wandb: { nameOf: (runId) => `${runId}-wandb`, write: writeWandb },
} as const satisfies Readonly<Record<string, ExportFormat>>;

/** The curves of a row, but for its time, which every format has in its own way. */
function curvesOf(row: MetricsRow): ReadonlyMap<string, number> {
  const values = new Map(curveValues(row));
  values.delete('time');
  return values;
}

/** `loss.captioned` → `loss/captioned`: both tools show together what is before the slash. */
const slashed = (name: string) => name.replace('.', '/');

/** What people look for first comes first. */
const FIRST = [
  'loss',
  'heldOut',
  'score',
  'learningRate',
  'gradNorm',
  'tokensPerSecond',
  'mfu',
  'measure',
  'sequences',
];

function ordered(names: readonly string[]): readonly string[] {
  const orderOf = (name: string) => (FIRST.indexOf(name.split('.')[0] ?? '') + FIRST.length + 1) % (FIRST.length + 1);
  const isCurve = (name: string) => name !== 'time';
  return names.filter(isCurve).sort((a, b) => orderOf(a) - orderOf(b) || (a < b ? -1 : 1));
}

const CHUNK_BYTES = 2 ** 20;

/** Joins small parts, so that each write is worth one. */
async function* inChunks(parts: AsyncIterable<string | Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  for await (const part of parts) {
    const each = Buffer.from(part as Uint8Array);
    waiting.push(each);
    bytes += each.length;
    if (bytes < CHUNK_BYTES) continue;
    yield Buffer.concat(waiting);
    [waiting, bytes] = [[], 0];
  }
  yield Buffer.concat(waiting);
}
