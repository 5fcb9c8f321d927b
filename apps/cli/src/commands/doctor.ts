import { WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import { type Check, renderChecks, verdict } from '../doctor/check.js';
import { deviceChecks, homeCheck, memoryCheck, pythonCheck, versionCheck } from '../doctor/machine-checks.js';
import { EXIT } from '../report-error.js';
import { printLines } from '../styled-lines.js';
import { asTyped, printJson } from '../terminal.js';

/** `weft doctor`: checks everything a run needs; exit code 1 when training is impossible. */
export async function doctor(context: CommandContext): Promise<number> {
  const { terminal, home, json } = context;
  const found: Check[] = [
    versionCheck(),
    ...(await runChecks('engine', async () => (await import('../doctor/engine-checks.js')).engineChecks())),
    ...(await deviceChecks()),
    memoryCheck(),
    await homeCheck(home),
    ...(await runChecks('data', async () => (await import('../doctor/data-checks.js')).dataChecks(home))),
    ...(await runChecks('coordinator', async () =>
      (await import('../doctor/cluster-checks.js')).clusterChecks(context),
    )),
    ...(await runChecks('Redis', async () => [
      await (await import('../doctor/cluster-checks.js')).redisCheck(context),
    ])),
    await pythonCheck(),
  ];
  const checks = found.map((check) =>
    check.hint === undefined ? check : { ...check, hint: asTyped(check.hint, terminal) },
  );
  const canTrain = checks.every(({ status }) => status !== 'fatal');
  if (json) printJson(terminal, { canTrain, checks });
  else printLines(terminal, [...renderChecks(checks), [], verdict(checks)]);
  return canTrain ? EXIT.done : EXIT.failed;
}

/** Reports a package that cannot be loaded as one more finding. */
async function runChecks(name: string, load: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await load();
  } catch (thrown) {
    return [
      { name, status: 'fatal', finding: WeftError.from(thrown).message, hint: 'run npm ci and npm run build again' },
    ];
  }
}
