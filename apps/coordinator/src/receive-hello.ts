import { type Clock, WEFT_VERSION, WeftError } from '@weft/common';
import type { Hello, WorkerMessage } from '@weft/proto';

const HELLO_TIMEOUT_MS = 10_000;

/** The first message of a worker. @throws `invalid_argument` for another one, `deadline_exceeded` when none comes. */
export async function receiveHello(messages: AsyncIterator<WorkerMessage>, clock: Clock): Promise<Hello> {
  const patience = new AbortController();
  const late = clock.sleep(HELLO_TIMEOUT_MS, patience.signal).then(() => {
    throw new WeftError('deadline_exceeded', `no hello came within ${HELLO_TIMEOUT_MS / 1000} s`);
  });
  late.catch(() => {});
  try {
    const { value, done } = await Promise.race([messages.next(), late]);
    if (done === true || value.body?.$case !== 'hello' || value.body.hello.workerId === '')
      throw new WeftError('invalid_argument', 'the first message of a worker must be a hello with its id');
    return value.body.hello;
  } finally {
    patience.abort();
  }
}

/** @throws `version_mismatch` naming both versions. */
export function refuseOtherVersion(version: string, who: string): void {
  if (version === WEFT_VERSION) return;
  const other = version === '' ? 'of an unknown version' : `Weft ${version}`;
  throw new WeftError('version_mismatch', `${who} is ${other}, the coordinator is Weft ${WEFT_VERSION}`, {
    cure: 'install the same version of Weft on both sides',
  });
}
