import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { type Check, renderChecks, verdict } from '../doctor/check.js';
import { deviceChecks, homeCheck, memoryCheck, pythonCheck, versionCheck } from '../doctor/machine-checks.js';
import { EXIT } from '../report-error.js';
import { paint } from '../spans.js';
import { asTyped, say } from '../terminal.js';

/** `weft doctor`: looks at everything a run needs, each from its own side; exit code 1 when training is impossible. */
export async function doctor(context: CommandContext): Promise<number> {
  const { terminal, home, json } = context;
  const looked: Check[] = [
    versionCheck(),
    ...(await room('engine', async () => (await import('../doctor/engine-checks.js')).engineChecks())),
    ...(await deviceChecks()),
    memoryCheck(),
    await homeCheck(home),
    ...(await room('data', async () => (await import('../doctor/data-checks.js')).dataChecks(home))),
    ...(await room('coordinator', async () => (await import('../doctor/cluster-checks.js')).clusterChecks(context))),
    ...(await room('Redis', async () => [await (await import('../doctor/redis-check.js')).redisCheck(context)])),
    await pythonCheck(),
  ];
  const checks = looked.map((check) =>
    check.cure === undefined ? check : { ...check, cure: asTyped(check.cure, terminal) },
  );
  const canTrain = checks.every(({ status }) => status !== 'fatal');
  if (json) say(terminal, JSON.stringify({ canTrain, checks }));
  else for (const line of [...renderChecks(checks), [], verdict(checks)]) say(terminal, paint(line, terminal.colors));
  return canTrain ? EXIT.done : EXIT.failed;
}

/** A room that cannot even be loaded is a finding, not the end of the report. */
async function room(name: string, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await look();
  } catch (thrown) {
    return [
      { name, status: 'fatal', finding: WeftError.from(thrown).message, cure: 'run npm ci and npm run build again' },
    ];
  }
}
