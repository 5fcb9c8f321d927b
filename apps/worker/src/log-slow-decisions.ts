import type { Logger } from '@weft/telemetry';
import type { CoordinatorPort } from '@weft/training';

/** Ranks vote within moments of each other, and a decision is one write to disk. When it takes longer, something is down. */
const FIRST_WARNING_MS = 5000;
const WARNING_INTERVAL_MS = 60_000;

/** The same port, which logs when the decision about a step takes long, and when it has come. */
export function logSlowDecisions(link: CoordinatorPort, log: Pick<Logger, 'warn' | 'info'>): CoordinatorPort {
  return {
    report: (report) => link.report(report),
    checkpointPart: (part) => link.checkpointPart(part),
    async vote(vote) {
      const { step } = vote;
      const beganMs = performance.now();
      const waitedSeconds = () => Math.round((performance.now() - beganMs) / 1000);
      let hasWarned = false;
      const warn = () => {
        hasWarned = true;
        log.warn(
          { step },
          `step ${step} is done and waits for the coordinator to decide it, ${waitedSeconds()} s so far`,
        );
        timer = setTimeout(warn, WARNING_INTERVAL_MS);
      };
      let timer = setTimeout(warn, FIRST_WARNING_MS);
      try {
        const decision = await link.vote(vote);
        if (hasWarned) log.info({ step }, `step ${step} is decided after ${waitedSeconds()} s: going on`);
        return decision;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
