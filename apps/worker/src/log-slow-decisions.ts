import type { Logger } from '@weft/telemetry';
import type { CoordinatorPort } from '@weft/training';

/** Ranks vote within moments of each other, and a decision is one write to a disk: longer than this, something is away. */
const FIRST_WARNING_MS = 5000;
const WARNING_INTERVAL_MS = 60_000;

/** The way to the coordinator, which says so when the decision about a step keeps the rank waiting, and when it came. */
export function logSlowDecisions(link: CoordinatorPort, log: Pick<Logger, 'warn' | 'info'>): CoordinatorPort {
  return {
    report: (report) => link.report(report),
    checkpointPart: (part) => link.checkpointPart(part),
    async vote(vote) {
      const { step } = vote;
      const beganMs = performance.now();
      const waitedSeconds = () => Math.round((performance.now() - beganMs) / 1000);
      let hasSpoken = false;
      const speak = () => {
        hasSpoken = true;
        log.warn(
          { step },
          `step ${step} is done and waits for the coordinator to decide it, ${waitedSeconds()} s so far`,
        );
        timer = setTimeout(speak, WARNING_INTERVAL_MS);
      };
      let timer = setTimeout(speak, FIRST_WARNING_MS);
      try {
        const decision = await link.vote(vote);
        if (hasSpoken) log.info({ step }, `step ${step} is decided after ${waitedSeconds()} s: going on`);
        return decision;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
