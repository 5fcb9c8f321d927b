import { findCoordinator } from '@weft/client';
import { plural, WEFT_VERSION, WeftError } from '@weft/common';
import type { CommandContext } from '../context.js';
import type { Check } from './check.js';

/** The coordinator of this home, or the one that was named, and its workers. */
export async function clusterChecks(context: CommandContext): Promise<Check[]> {
  const name = 'coordinator';
  try {
    const found = await findCoordinator(context);
    if (found === undefined)
      return [{ name, status: 'note', finding: 'none is running; launch --local starts its own' }];
    const { client } = found;
    const { coordinatorVersion, workers } = await client.cluster();
    client.close();
    const finding = `at ${client.address}, version ${coordinatorVersion}, ${plural(workers.length, 'worker')}`;
    return coordinatorVersion === WEFT_VERSION
      ? [{ name, status: 'ok', finding }]
      : [
          {
            name,
            status: 'missing',
            finding,
            cure: `run version ${coordinatorVersion} here, or ${WEFT_VERSION} there`,
          },
        ];
  } catch (thrown) {
    const { message, cure } = WeftError.from(thrown);
    return [{ name, status: 'missing', finding: message, ...(cure === undefined ? {} : { cure }) }];
  }
}
