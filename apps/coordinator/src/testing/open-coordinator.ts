import type { RunConfigInput } from '@weft/config';
import { Home } from '@weft/files';
import type { StoreOptions } from '@weft/store';
import { CoordinatorMetrics, createLogger } from '@weft/telemetry';
import { tinyRun } from '@weft/testing';
import { Coordinator, type CoordinatorOptions } from '../coordinator.js';
import { acquireStore, type LeasedStore } from '../leased-store.js';

/** What a coordinator logged, as parsed lines. */
interface LoggedLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface OpenedCoordinator extends AsyncDisposable {
  readonly coordinator: Coordinator;
  readonly lines: LoggedLine[];
  readonly leasedStore: LeasedStore;
  readonly metrics: CoordinatorMetrics;
  close(): Promise<void>;
}

/** A coordinator in this process, closed at the end of the block. */
export async function openCoordinator(
  directory: string,
  options: Partial<CoordinatorOptions> = {},
  storeOptions: Omit<StoreOptions, 'home'> = {},
): Promise<OpenedCoordinator> {
  const lines: LoggedLine[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as LoggedLine) };
  const log = createLogger({ role: 'coordinator', level: 'debug', stream });
  const home = new Home(directory);
  const leasedStore = await acquireStore({ home: directory, log, waitMs: 200, ...storeOptions });
  // Workers of these tests are new processes, which hold nothing of a run.
  const timeouts = { lossGraceMs: 20, returnMs: 0, ...options.timeouts };
  const metrics = new CoordinatorMetrics();
  const coordinator = await Coordinator.open({ home, leasedStore, log, metrics, ...options, timeouts });
  const close = async () => {
    await coordinator.close();
    await leasedStore.close();
  };
  return { coordinator, lines, leasedStore, metrics, close, [Symbol.asyncDispose]: close };
}

/** A launch request for the smallest run that passes the rules. */
export function launchRequest(changes: RunConfigInput = {}) {
  const config: RunConfigInput = { ...tinyRun, ...changes };
  return { configJson: JSON.stringify(config), clientVersion: '0.1.0' };
}
