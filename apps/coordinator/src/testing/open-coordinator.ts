import type { RunConfigInput } from '@weft/config';
import type { StoreOptions } from '@weft/store';
import { CoordinatorMetrics, createLogger } from '@weft/telemetry';
import { tinyRun } from '@weft/testing';
import { Coordinator, type CoordinatorOptions } from '../coordinator.js';
import { type HeldStore, holdStore } from '../hold-store.js';

/** What a coordinator logged, as parsed lines. */
export interface LoggedLine {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface OpenedCoordinator extends AsyncDisposable {
  readonly coordinator: Coordinator;
  readonly lines: LoggedLine[];
  readonly keeper: HeldStore;
  close(): Promise<void>;
}

/** A coordinator in this process, closed at the end of the block. */
export async function openCoordinator(
  home: string,
  options: Partial<CoordinatorOptions> = {},
  place: Omit<StoreOptions, 'home'> = {},
): Promise<OpenedCoordinator> {
  const lines: LoggedLine[] = [];
  const stream = { write: (line: string) => void lines.push(JSON.parse(line) as LoggedLine) };
  const log = createLogger({ role: 'coordinator', level: 'debug', stream });
  const keeper = await holdStore({ home, log, waitMs: 200, ...place });
  const settings = { settleMs: 20, ...options.settings };
  const metrics = new CoordinatorMetrics();
  const coordinator = await Coordinator.open({ home, keeper, log, metrics, ...options, settings });
  const close = async () => {
    await coordinator.close();
    await keeper.close();
  };
  return { coordinator, lines, keeper, close, [Symbol.asyncDispose]: close };
}

/** A launch request for the smallest run that passes the rules. */
export function launchRequest(changes: RunConfigInput = {}) {
  const config: RunConfigInput = { ...tinyRun, ...changes };
  return { configJson: JSON.stringify(config), clientVersion: '0.1.0' };
}
