import { WeftError } from '@weft/common';
import { type RunState, replay } from '@weft/coordination';
import type { Logger } from '@weft/telemetry';
import { readRunLog, runIdsIn } from './home.js';

/** The runs of a home, from their logs. One that cannot be read is said and left out; the others are not its hostages. */
export async function replayRuns(home: string, log: Logger): Promise<readonly RunState[]> {
  const runs: RunState[] = [];
  for (const runId of await runIdsIn(home)) {
    try {
      runs.push(replay(await readRunLog(home, runId)));
    } catch (thrown) {
      const error = WeftError.from(thrown);
      log.error({ error, runId }, `run ${runId} is left out: ${error.sentence}`);
    }
  }
  return runs;
}
