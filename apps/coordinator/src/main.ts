import { WeftError } from '@weft/common';
import closeWithGrace from 'close-with-grace';
import { parseOptions } from './options.js';
import type { RunningCoordinator } from './start.js';

/** How long closing may take before the process is ended. */
const CLOSE_TIMEOUT_MS = 4000;

/**
 * `weft coordinator`: runs until SIGTERM, SIGINT or, when asked, the end of stdin, and ends the process with exit
 * code 0. Resolves to an exit code only when there is nothing to run.
 *
 * @throws WeftError when it cannot start; a UsageError for a wrong command line.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const options = parseOptions(argv, process.env);
  if (options === undefined) return 0;
  // Only now, so that help and refusals appear at once.
  const [{ createLogger }, { startCoordinator }] = await Promise.all([import('@weft/telemetry'), import('./start.js')]);
  const log = createLogger({ role: 'coordinator' });
  // A standby may wait for hours. Until it is active, closing only ends the wait.
  const waiting = new AbortController();
  let running: RunningCoordinator | undefined;
  const shutdown = closeWithGrace({ delay: CLOSE_TIMEOUT_MS, logger: false, skip: ['beforeExit'] }, async (cause) => {
    if (cause.err !== undefined) log.error({ error: cause.err }, `unexpected: ${WeftError.from(cause.err).message}`);
    else log.info({ signal: cause.signal }, 'the coordinator shuts down');
    waiting.abort();
    await running?.close();
  });
  if (options.exitWithStdin) process.stdin.once('close', () => shutdown.close()).resume();
  try {
    running = await startCoordinator(options, log, waiting.signal);
  } catch (thrown) {
    if (waiting.signal.aborted && WeftError.is(thrown, 'cancelled')) return 0;
    throw thrown;
  }
  const { address, metricsAddress, pageAddress } = running;
  log.info({ address, metricsAddress, home: options.home.directory }, `the coordinator listens on ${address}`);
  if (pageAddress !== undefined) log.info({ pageAddress }, `the web page is at http://${pageAddress}`);
  const error = await running.failed;
  log.error({ error }, error.sentence);
  await running.close();
  process.exit(1);
}
